"""An ONNX graph that scores rows through onnxruntime, on the CPU or on a CUDA device.

Source: onnxruntime's Python API. Its arena never gives memory back and is switched off: it saved no time here, and a
process that scores for weeks stays as small as it started.
Invariant: what is asked for is what runs: a graph that could reach another file, or a GPU that is not there, is refused
when the session is made; onnxruntime's own fall back to the CPU is never silent here.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from wayside.detectors.kinds.protocol import Device, Execution, Matrix, OutOfMemory
from wayside.detectors.networks.blocks import BLOCK_ROWS, Floats, run_in_blocks
from wayside.detectors.networks.graph_check import check_graph
from wayside.detectors.networks.memory import is_out_of_memory
from wayside.eventing.errors import ConfigurationError

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
_FATAL_ONLY = 4  # what goes wrong comes as an exception
_FLOAT = "tensor(float)"
# float32 as it is: TF32 would round to 10 bits; and memory in pieces as they are needed, not in powers of two
_CUDA_OPTIONS = {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
_REFUSED = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NotImplemented,
    errors.RuntimeException,
    errors.EPFail,
)


class Session:
    """A graph of one float32 input (n, d) and the `outputs` that are named: the first has one number a row, (n,) or
    (n, 1), and comes as (n,); any other one a feature, (n, d).

    At most `block_rows` rows are scored at once, which bounds the memory of a call.
    May be called from several threads. Raises `ValueError` where the graph is broken, or another one, and
    `ConfigurationError` where a GPU is asked for and onnxruntime has none.
    """

    def __init__(
        self,
        graph: bytes,
        execution: Execution,
        outputs: Sequence[str] = ("score",),
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        check_graph(graph)
        providers = _providers(execution.device)
        try:
            self._session = onnxruntime.InferenceSession(graph, _options(execution.threads), providers=providers)
        except _REFUSED as exc:
            raise ValueError(f"onnxruntime cannot run the graph: {str(exc)[:200]}") from exc
        self._input, self.features = _only_input(self._session)
        _check_outputs(self._session, outputs)
        shapes = [(), *[(self.features,)] * (len(outputs) - 1)]
        self._runners = {name: partial(self._run, [name], shape) for name, shape in zip(outputs, shapes, strict=True)}
        self._first = outputs[0]
        self._block_rows = block_rows
        if execution.device is Device.GPU and self._session.get_providers()[0] != CUDA:
            raise ConfigurationError("no GPU here: onnxruntime has CUDA, and found no device it can use")

    def run(self, rows: Matrix, output: str | None = None) -> Floats:
        """One output, the first if none is named, for rows of shape (n, d); n ≥ 1.

        A row's values are the same bits in whatever batch it travels, on one thread of a CPU; on several threads, or on
        another device, they agree to about 1e-6. Raises `OutOfMemory`.
        """
        return run_in_blocks(self._runners[output or self._first], rows, self._block_rows)

    def _run(self, names: list[str], row_shape: tuple[int, ...], block: Floats) -> Floats:
        try:
            values: Floats = self._session.run(names, {self._input: block})[0]
        except _REFUSED as exc:
            if is_out_of_memory(exc):
                raise OutOfMemory(f"no memory for {len(block)} rows: {str(exc)[:200]}") from exc
            raise ValueError(f"the graph failed on {len(block)} rows: {str(exc)[:200]}") from exc
        wanted = (len(block), *row_shape)
        if values.shape == wanted:
            return values
        if row_shape or values.shape != (len(block), 1):
            raise ValueError(f"the graph gives results of shape {values.shape} for {len(block)} rows")
        return values.reshape(wanted)


def has_cuda() -> bool:
    """Whether onnxruntime was built for CUDA; whether there is a device shows only when a session is made."""
    return CUDA in onnxruntime.get_available_providers()


def _providers(device: Device) -> list[Any]:
    if device is Device.CPU:
        return [CPU]
    if not has_cuda():
        raise ConfigurationError("no GPU here: this onnxruntime has no CUDA (install onnxruntime-gpu)")
    return [(CUDA, _CUDA_OPTIONS), CPU]


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never onnxruntime's own, unchecked one
    return options


def _only_input(session: onnxruntime.InferenceSession) -> tuple[str, int]:
    inputs = [(each.name, each.type, each.shape) for each in session.get_inputs()]
    if len(inputs) != 1:
        raise ValueError(f"the graph has {len(inputs)} inputs, not one")
    name, type_name, shape = inputs[0]
    if type_name != _FLOAT or len(shape) != 2 or isinstance(shape[0], int) or not isinstance(shape[1], int):
        raise ValueError(f"the graph's input is {type_name} of shape {shape}, not float rows of a fixed width")
    return name, shape[1]


def _check_outputs(session: onnxruntime.InferenceSession, wanted: Sequence[str]) -> None:
    outputs = {each.name: each.type for each in session.get_outputs()}
    if set(outputs) != set(wanted):
        raise ValueError(f"the graph gives {', '.join(outputs)[:200]}, not {', '.join(wanted)}")
    if any(type_name != _FLOAT for type_name in outputs.values()):
        raise ValueError("the graph gives another type than float")
