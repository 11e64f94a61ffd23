"""The products of kernel tests by Keras's operations, on the device that its backend prefers: a GPU where it sees one.

Source: `keras.ops`, the same on TensorFlow, JAX and PyTorch.
Invariant: the results are numpy's to float32's rounding; shapes are padded to powers of two, so that few are compiled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from wayside.detectors.kernels.arithmetic import Floats
from wayside.detectors.kinds.protocol import Matrix, OutOfMemory, Vector
from wayside.detectors.networks.keras_models import load_keras
from wayside.detectors.networks.memory import is_out_of_memory

_FARTHEST = 1e30


class KerasArithmetic:
    """Raises `MissingExtra` without Keras, `OutOfMemory` where the device has no memory left."""

    def __init__(self) -> None:
        self._ops = load_keras().ops

    def kernel(self, x: Floats, y: Floats, width: float) -> Floats:
        return self._run(lambda: self._kernel(_padded(x), _padded(y), width))[: len(x), : len(y)]

    def sums(self, x: Floats, y: Floats, width: float) -> Vector:
        counted = (np.arange(len(_padded(y))) < len(y)).astype(np.float32)
        summed = self._run(lambda: self._ops.matmul(self._kernel(_padded(x), _padded(y), width), counted))
        return summed[: len(x)].astype(np.float64)

    def quadratics(self, x: Floats, width: float, members: Floats) -> Matrix:
        rows, chosen = _padded(x), _padded(members)

        def both() -> Any:
            counted = (np.arange(len(rows)) < len(x)).astype(np.float32)
            kernel = self._kernel(rows, rows, width) * (1.0 - np.eye(len(rows), dtype=np.float32)) * counted[:, None]
            reached = self._ops.matmul(kernel, chosen)
            return self._ops.stack([self._ops.sum(reached * chosen, axis=0), self._ops.sum(reached, axis=0)])

        return self._run(both).astype(np.float64)

    def product(self, x: Floats, y: Floats) -> Floats:
        return self._run(lambda: self._ops.matmul(_padded(x), y))[: len(x)]

    def _kernel(self, x: Floats, y: Floats, width: float) -> Any:
        ops = self._ops
        squared = ops.sum(x * x, axis=1)[:, None] + ops.sum(y * y, axis=1)[None, :] - 2.0 * ops.matmul(x, y.T)
        within = ops.clip(ops.where(ops.isfinite(squared), squared, _FARTHEST), 0.0, _FARTHEST)
        return ops.exp(within * (-0.5 / width**2))

    def _run(self, work: Callable[[], Any]) -> Floats:
        try:
            found: Floats = np.asarray(load_keras().ops.convert_to_numpy(work()), np.float32)
        except Exception as exc:  # each backend has errors of its own, and none may be imported to name them
            if is_out_of_memory(exc):
                raise OutOfMemory(f"no memory for a kernel: {str(exc)[:200]}") from exc
            raise
        return found


def _padded(rows: Floats) -> Floats:
    """Up to the next power of two by rows of zeros."""
    count = max(16, 1 << (len(rows) - 1).bit_length())
    filled = np.zeros((count, *rows.shape[1:]), np.float32)
    filled[: len(rows)] = rows
    return filled
