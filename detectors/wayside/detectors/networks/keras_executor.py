"""Scores rows with Keras, on a GPU of its backend: the second executor, where onnxruntime has no CUDA.

Invariant: the weights are those of the artifact's arrays, and the scores agree with the graph's to 1e-5 relative.
"""

from importlib import import_module

import numpy as np

from wayside.detectors.kinds.protocol import Matrix, OutOfMemory
from wayside.detectors.networks.blocks import Floats, run_in_blocks
from wayside.detectors.networks.graph import FEATURE_SCORES
from wayside.detectors.networks.keras_models import load_keras, scoring_model
from wayside.detectors.networks.memory import is_out_of_memory
from wayside.detectors.networks.reconstruction import Reconstruction

_GPU_BLOCK_ROWS = 8192
_LEAST_SHAPE_ROWS = 16


class KerasExecutor:
    """Scores on the device that Keras's backend prefers, a GPU where it sees one.

    Raises `MissingExtra` without Keras.
    """

    def __init__(self, network: Reconstruction) -> None:
        self.features = network.features
        self._measure = network.measure
        self._model = scoring_model(load_keras(), network)

    def run(self, rows: Matrix, output: str | None = None) -> Floats:
        """`score` (n,), or `feature_scores` (n, features), for rows of shape (n, features); n ≥ 1.

        Raises `OutOfMemory`.
        """
        by_feature = run_in_blocks(self._run, rows, _GPU_BLOCK_ROWS)
        return by_feature if output == FEATURE_SCORES else self._measure.row_scores(by_feature)

    def _run(self, block: Floats) -> Floats:
        """Rows up to the next power of two, so that few shapes are ever compiled."""
        count = max(_LEAST_SHAPE_ROWS, 1 << (len(block) - 1).bit_length())
        filled = np.zeros((count, self.features), np.float32)
        filled[: len(block)] = block
        try:
            errors: Floats = np.asarray(self._model.predict_on_batch(filled), np.float32)
        except Exception as exc:  # each backend has errors of its own, and none may be imported to name them
            if is_out_of_memory(exc):
                raise OutOfMemory(f"no memory for {count} rows: {str(exc)[:200]}") from exc
            raise
        return errors[: len(block)]


def keras_gpu() -> str | None:
    """The GPU that Keras would score on, for people, or None. Raises `MissingExtra` without Keras."""
    backend = load_keras().backend.backend()
    return f"gpu:0 (keras, {backend})" if _sees_gpu(backend) else None


def _sees_gpu(backend: str) -> bool:
    library = import_module(backend)
    if backend == "tensorflow":
        return bool(library.config.list_physical_devices("GPU"))
    if backend == "jax":
        return any(device.platform == "gpu" for device in library.devices())
    return bool(library.cuda.is_available())
