"""Which arithmetic runs a kernel test: numpy's, or on a GPU Keras's.

Invariant: what is asked for, or an error; never something else in silence.
"""

from wayside.detectors.kernels.arithmetic import Arithmetic, NumpyArithmetic
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.eventing.errors import ConfigurationError


def arithmetic_of(execution: Execution) -> Arithmetic:
    """Raises `ConfigurationError` where a GPU is asked for and Keras is missing, or sees none."""
    if execution.device is Device.CPU:
        return NumpyArithmetic()
    from wayside.detectors.kernels.on_keras import KerasArithmetic
    from wayside.detectors.networks.keras_executor import keras_gpu  # Keras is an extra

    try:
        name = keras_gpu()
    except ConfigurationError as exc:
        raise ConfigurationError(f"kernel tests run on a GPU by Keras: {exc}; or use --device cpu") from exc
    if name is None:
        raise ConfigurationError("kernel tests run on a GPU by Keras, and it sees none: use --device cpu")
    return KerasArithmetic()
