"""Which device scores: what is asked for, or an error; never something else in silence.

Invariant: a name that comes back is that of a device on which a graph was seen to run, or that Keras's backend lists.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from wayside.detectors.kinds.protocol import Device, Execution, Matrix
from wayside.detectors.networks.blocks import BLOCK_ROWS, Floats
from wayside.detectors.networks.keras_executor import KerasExecutor, keras_gpu
from wayside.detectors.networks.reconstruction import Reconstruction
from wayside.detectors.networks.session import Session
from wayside.eventing.errors import ConfigurationError

CPU, CUDA = "cpu", "cuda:0 (onnxruntime)"
# y = Identity(x), one column, operator set 13: the smallest graph by which a provider can show that it runs
_PROBE = bytes.fromhex(
    "08073a410a100a017812017922084964656e746974791201705a140a0178120f"
    "0a0d080112090a0312016e0a02080162140a0179120f0a0d080112090a031201"
    "6e0a02080142040a00100d"
)


class Executor(Protocol):
    """Runs a scoring graph, or the network that it was made of."""

    @property
    def features(self) -> int:
        """The width of the rows."""

    def run(self, rows: Matrix, output: str | None = None) -> Floats:
        """One of the graph's outputs, the first if none is named, for rows of shape (n, features); n ≥ 1."""


def check_device(device: Device) -> str:
    """The device in use where `device` is asked for: `cpu`, `cuda:0 (onnxruntime)` or `gpu:0 (keras, BACKEND)`.

    Raises `ConfigurationError` where a GPU is asked for and neither onnxruntime nor Keras has one.
    """
    if device is Device.CPU:
        return CPU
    try:
        Session(_PROBE, Execution(device), ("y",))
    except (ConfigurationError, ValueError) as exc:  # no CUDA, or one that cannot run even this
        return _keras_device(exc)
    return CUDA


def network_executor(
    graph: bytes,
    network: Callable[[], Reconstruction],
    execution: Execution,
    outputs: Sequence[str],
    block_rows: int = BLOCK_ROWS,
) -> Executor:
    """What runs a network where `execution` says: its graph, or where only Keras has a GPU the network itself.

    Raises `ValueError` where the graph or the network is broken, and as `check_device` does.
    """
    if check_device(execution.device) in (CPU, CUDA):
        return Session(graph, execution, outputs, block_rows)
    return KerasExecutor(network())


def _keras_device(no_cuda: Exception) -> str:
    try:
        name = keras_gpu()
    except ConfigurationError as exc:
        raise ConfigurationError(f"{no_cuda}, and there is no Keras that could see one: use --device cpu") from exc
    if name is None:
        raise ConfigurationError(f"{no_cuda}, and Keras sees none either: use --device cpu") from no_cuda
    return name
