"""The program that runs one saved alibi-detect detector, by another interpreter than Wayside's own.

It is started by its path, imports nothing of Wayside, and needs numpy and alibi-detect alone. Its first argument is the
number of a connected socket that it inherits; its second the folder to work in, which it removes when it ends.
Source: alibi-detect 0.13.0, `alibi_detect.saving` and the `predict` of its outlier and adversarial detectors.
Invariant: a row's score depends on the saved detector, the noise given, and that row alone. What is random is fixed,
what learns while it scores is set back, and each block is padded to a multiple of 16 rows (a BLAS picks its rounding by
shape).
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import math
import os
import queue
import shutil
import socket
import struct
import sys
import threading
import time
from typing import Any

import numpy as np

MOST_BLOCK_ROWS, PADDED_TO_ROWS = 2048, 16
_BLOCK_VALUES = 1 << 18  # of rows given to the detector at once; images make many times as many inside of it
_HEAD_LIMIT_BYTES, _ARRAYS_LIMIT_BYTES, _MOST_ARRAYS, _MOST_AXES = 1 << 20, 2 << 30, 4, 8
_DTYPES = ("<f8", "<f4")
_HERE = os.path.dirname(os.path.abspath(__file__))
_LENGTH = struct.Struct("<I")
_ERROR_CHARACTERS = 400


class FrameError(Exception):
    """The other side said something that is no frame."""


class Refusal(Exception):
    """The detector cannot be loaded, or not be asked in this way. `reason` is a word that the other side acts on."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def send_frame(connection: socket.socket, head: dict[str, Any], arrays: list[Any], deadline_s: float | None) -> None:
    """One frame: the length of its head (4 bytes, little endian), the head (JSON), then the arrays' bytes in row-major
    order. `deadline_s` is `time.monotonic()`'s. Raises `OSError`, `TimeoutError` being one."""
    plain = [np.asarray(array, array.dtype.newbyteorder("<"), order="C") for array in arrays]
    said = [{"dtype": array.dtype.str, "shape": list(array.shape)} for array in plain]
    text = json.dumps({**head, "arrays": said}).encode()
    bodies: list[Any] = [array.reshape(-1).view(np.uint8).data for array in plain]
    for part in (_LENGTH.pack(len(text)), text, *bodies):
        _set_deadline(connection, deadline_s)
        connection.sendall(part)


def receive_frame(connection: socket.socket, deadline_s: float | None) -> tuple[dict[str, Any], list[Any]]:
    """The next frame's head and arrays. Raises `EOFError`, `OSError` or `FrameError`."""
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size, deadline_s))
    if length > _HEAD_LIMIT_BYTES:
        raise FrameError(f"a head of {length} bytes")
    try:
        head = json.loads(_receive(connection, length, deadline_s))
        forms = [_form(said) for said in head.pop("arrays")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise FrameError(f"a head that is damaged ({exc})") from exc
    if len(forms) > _MOST_ARRAYS or sum(size for _, _, size in forms) > _ARRAYS_LIMIT_BYTES:
        raise FrameError("too many arrays, or too large ones")
    return head, [
        np.frombuffer(_receive(connection, size, deadline_s), dtype).reshape(shape) for dtype, shape, size in forms
    ]


def _form(said: dict[str, Any]) -> tuple[str, list[int], int]:
    dtype, shape = said["dtype"], [int(size) for size in said["shape"]]
    if dtype not in _DTYPES or len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise ValueError(f"an array of type {dtype!r} with {len(shape)} axes")
    return dtype, shape, math.prod(shape) * np.dtype(dtype).itemsize


def _receive(connection: socket.socket, size: int, deadline_s: float | None) -> bytearray:
    content = bytearray(size)
    view, at = memoryview(content), 0
    while at < size:
        _set_deadline(connection, deadline_s)
        got = connection.recv_into(view[at:])
        if not got:
            raise EOFError("the other side has closed")
        at += got
    return content


def _set_deadline(connection: socket.socket, deadline_s: float | None) -> None:
    connection.settimeout(None if deadline_s is None else max(deadline_s - time.monotonic(), 1e-3))


class SavedDetector:
    """A detector that alibi-detect has loaded from a folder. Raises `Refusal` where it cannot."""

    def __init__(self, folder: str) -> None:
        self._detector = _load(folder)
        self._name = str(self._detector.meta.get("name", type(self._detector).__name__))
        _check_kind(self._detector, self._name)
        if getattr(self._detector, "threshold", None) is None:
            self._detector.threshold = 0.0  # `predict` compares with it; whether a row is flagged is decided elsewhere
        self._accepts = inspect.signature(self._detector.predict).parameters
        self._is_series = self._name == "SpectralResidual"
        self._model = _model_of(self._detector)
        self._dtype = _input_dtype(self._detector, self._model)
        self._learns = bool(self._detector.meta.get("online"))
        self._is_alone = self._learns or self._is_series
        self._gives_feature_scores = self._is_series or "return_feature_score" in self._accepts
        self._shape: tuple[int, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What the other side keeps: `input_shape` and `noise_shape` are null where the detector does not say."""
        return {
            "name": self._name,
            "version": str(self._detector.meta.get("version", "")),
            "input_shape": _input_shape(self._detector, self._model),
            "noise_shape": self._noise_shape(),
            "by_feature": self._gives_feature_scores,
        }

    @property
    def is_alone(self) -> bool:
        """Whether rows are scored one by one, which takes many times as long: known once it is prepared."""
        return self._is_alone

    def prepare(self, shape: list[int], noise: Any) -> None:
        """Rows come as `shape`; `noise` of shape (samples, latent) takes the place of what the detector would draw.

        What draws otherwise is found by scoring two rows in both orders, and is then scored row by row, seeded.
        """
        self._shape = tuple(shape)
        if self._noise_shape() is not None:
            if list(noise.shape) != self._noise_shape():
                raise Refusal("failed", f"noise of shape {noise.shape} for draws of {self._noise_shape()}")
            _encoder(self._detector).sampling = _fixed_sampling(noise)
        if not self._is_alone:
            self._is_alone = self._differs_by_position()

    def score(self, rows: Any, by_feature: bool) -> tuple[Any, Any, str | None]:
        """Scores (n,) of rows (n, d), what each feature adds (n, d) where asked, and why a row could not be scored
        (its scores are NaN then)."""
        shaped = rows.reshape(-1, *self._shape).astype(self._dtype)
        step = 1 if self._is_alone else self._block_rows()
        parts, error = [], None
        for start in range(0, len(shaped), step):
            part, failed = self._score_or_split(shaped[start : start + step])
            parts.append(part)
            error = error or failed
        scores = np.concatenate([part[0] for part in parts]) if parts else np.empty(0)
        if not by_feature:
            return scores, None, error
        return scores, np.concatenate([part[1] for part in parts]) if parts else np.empty(rows.shape), error

    def _block_rows(self) -> int:
        rows = _BLOCK_VALUES // math.prod(self._shape) // PADDED_TO_ROWS * PADDED_TO_ROWS
        return min(max(rows, PADDED_TO_ROWS), MOST_BLOCK_ROWS)

    def _score_or_split(self, rows: Any) -> tuple[tuple[Any, Any], str | None]:
        """One block; where that fails its rows one by one, so that a row that cannot be scored harms no other."""
        try:
            return self._score_block(rows), None
        except Exception as exc:
            error = describe(exc)
        if len(rows) == 1:
            width = math.prod(self._shape) if self._gives_feature_scores else 0
            return (np.full(1, np.nan), np.full((1, width), np.nan)), error
        singles = [self._score_or_split(rows[at : at + 1])[0] for at in range(len(rows))]
        return (np.concatenate([each[0] for each in singles]), np.concatenate([each[1] for each in singles])), error

    def _score_block(self, rows: Any) -> tuple[Any, Any]:
        if self._is_alone:
            return self._score_alone(rows)
        padding = [(0, -len(rows) % PADDED_TO_ROWS)] + [(0, 0)] * (rows.ndim - 1)
        return self._predict(np.pad(rows, padding, mode="edge"), len(rows))

    def _score_alone(self, rows: Any) -> tuple[Any, Any]:
        if self._is_series:  # a row is a series; its score is that of its last point, a feature score that of a point
            points = self._predict(rows.reshape(-1), rows.size)[0]
            return points[-1:], points.reshape(1, -1)
        before = dict(vars(self._detector)) if self._learns else {}
        try:
            _seed()
            return self._predict(rows, 1)
        finally:
            vars(self._detector).update(before)

    def _predict(self, rows: Any, count: int) -> tuple[Any, Any]:
        asked = {"return_instance_score": True, "return_feature_score": True, "outlier_type": "instance"}
        told = self._detector.predict(rows, **{name: asked[name] for name in asked if name in self._accepts})["data"]
        scores = np.asarray(told["instance_score"], np.float64).reshape(-1)
        if len(scores) < count:
            raise ValueError(f"{len(scores)} scores for {count} rows")
        by_feature = told.get("feature_score")
        if by_feature is None:
            return scores[:count], np.empty((count, 0))
        return scores[:count], _per_feature(np.asarray(by_feature, np.float64)[:count], math.prod(self._shape))

    def _differs_by_position(self) -> bool:
        probe = np.zeros((PADDED_TO_ROWS, *self._shape), self._dtype)
        probe[1::2] = 1
        try:
            there, back = (self._predict(rows, PADDED_TO_ROWS)[0] for rows in (probe, probe[::-1]))
        except Exception:  # told by the first call that scores: these rows may be ones that no user would send
            return False
        return not np.allclose(there, back[::-1], rtol=1e-4, atol=1e-6, equal_nan=True)

    def _noise_shape(self) -> list[int] | None:
        encoder = _encoder(self._detector)
        if not hasattr(encoder, "sampling"):
            return None
        return [int(self._detector.samples), int(encoder.fc_mean.units)]


def describe(exc: BaseException) -> str:
    """An error in one short line."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:_ERROR_CHARACTERS]


def _load(folder: str) -> Any:
    try:
        load_detector = _import_loader()
    except ImportError as exc:
        raise Refusal("missing", describe(exc)) from exc
    try:
        return load_detector(folder)
    except Exception as exc:
        raise Refusal("unloadable", describe(exc)) from exc


def _import_loader() -> Any:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when TensorFlow is imported: saved detectors are in Keras 2's form
    from alibi_detect.saving import load_detector

    return load_detector


def _check_kind(detector: Any, name: str) -> None:
    if detector.meta.get("detector_type") not in ("outlier", "adversarial"):
        raise Refusal("unloadable", f"{name} is a {detector.meta.get('detector_type')} detector, which scores no rows")
    if name == "OutlierProphet":
        raise Refusal("unloadable", "OutlierProphet scores dated points of one series, and no rows")
    if name == "Mahalanobis" and detector.n == 0:
        raise Refusal("unloadable", "Mahalanobis has seen no rows: let it score its reference before it is saved")


def _encoder(detector: Any) -> Any:
    """The encoder of a variational detector, an autoencoder's, or None."""
    for attribute in ("vae", "vaegmm", "ae", "aegmm"):
        if getattr(detector, attribute, None) is not None:
            return getattr(detector, attribute).encoder
    return None


def _model_of(detector: Any) -> Any:
    """The network that is given the rows first, or None."""
    encoder = _encoder(detector)
    if encoder is not None:
        return getattr(encoder, "encoder_net", encoder)
    return getattr(detector, "dist_s", getattr(detector, "distilled_model", None))


def _input_shape(detector: Any, model: Any) -> list[int] | None:
    if hasattr(detector, "isolationforest"):
        return [int(detector.isolationforest.n_features_in_)]
    if hasattr(detector, "seq2seq"):
        return [int(size) for size in detector.shape[1:]]
    if np.ndim(getattr(detector, "mean", 0)) == 1 and not detector.ohe:
        return [len(detector.mean)]
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:]:
        return None
    first, *rest = (int(size) for size in shape[1:])
    return [first + bool(getattr(detector, "sequential", False)), *rest]


def _input_dtype(detector: Any, model: Any) -> Any:
    """Networks are given float32, or the integers that they ask for; all else float64."""
    if model is None and not hasattr(detector, "seq2seq"):
        return np.dtype(np.float64)
    asked = np.dtype(model.inputs[0].dtype.as_numpy_dtype) if getattr(model, "inputs", None) else np.dtype(np.float32)
    return asked if asked.kind in "iu" else np.dtype(np.float32)


def _fixed_sampling(noise: Any) -> Any:
    """alibi-detect repeats a row `samples` times in a run and draws for each anew; here the draws are given."""
    import tensorflow as tf

    class FixedSampling(tf.keras.layers.Layer):  # type: ignore[misc,name-defined,unused-ignore]
        def call(self, inputs: Any) -> Any:
            mean, log_variance = inputs
            drawn = tf.tile(tf.constant(noise, mean.dtype), [tf.shape(mean)[0] // len(noise), 1])
            return mean + tf.exp(0.5 * log_variance) * drawn

    return FixedSampling()


def _seed() -> None:
    np.random.seed(0)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)


def _per_feature(by_feature: Any, features: int) -> Any:
    """(n, features); where a detector tells less (a likelihood ratio of a sequence from its second step on) the first
    ones are 0."""
    flat = by_feature.reshape(len(by_feature), -1)
    return np.pad(flat, [(0, 0), (max(features - flat.shape[1], 0), 0)])[:, :features]


class Answers:
    """What is answered to each request: `load`, `prepare`, then `score` or `test`. A second `load` replaces the
    first."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._saved: Any = None  # a `SavedDetector`, or a `SavedDrift`

    def answer(self, head: dict[str, Any], arrays: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        try:
            return self._answer(head, arrays)
        except Refusal as exc:
            return {"refused": exc.reason, "text": str(exc)}, []
        except Exception as exc:
            return {"refused": "failed", "text": describe(exc)}, []

    def _answer(self, head: dict[str, Any], arrays: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        if head["call"] == "load":
            self._saved = _open(os.path.join(self._folder, head["folder"]), head["judges"])
            _check_device(head["device"])
            return self._saved.facts(), []
        if self._saved is None:
            raise Refusal("failed", "nothing is loaded")
        if head["call"] == "prepare":
            self._saved.prepare(head["shape"], *arrays)
            return {}, []
        if head["call"] == "test":
            return {}, self._saved.test(*arrays)
        scores, by_feature, error = self._saved.score(arrays[0], head["by_feature"])
        told = {"error": error, "alone": self._saved.is_alone}
        return told, [scores] if by_feature is None else [scores, by_feature]


def _open(folder: str, judges: str) -> Any:
    """Raises `Refusal`."""
    if judges == "rows":
        return SavedDetector(folder)
    drift = _drift_worker()
    drift.seed()  # online detectors draw their thresholds when they are loaded
    detector = _load(folder)
    try:
        return drift.SavedDrift(detector)
    except ValueError as exc:
        raise Refusal("unloadable", str(exc)) from exc


def _drift_worker() -> Any:
    """The module beside this file; its folder is on no path."""
    spec = importlib.util.spec_from_file_location("drift_worker", os.path.join(_HERE, "drift_worker.py"))
    assert spec is not None, "it is a Python file"
    assert spec.loader is not None, "and so has a loader"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_device(device: str) -> None:
    if device == "gpu" and not sys.modules["tensorflow"].config.list_physical_devices("GPU"):
        raise Refusal("unloadable", "TensorFlow sees no GPU here: leave out '--device gpu'")


def resident_bytes() -> int:
    """What this process holds in memory; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _receive_forever(connection: socket.socket, requests: queue.Queue[Any], folder: str) -> None:
    """Also sees, in the middle of a call, that the other side is gone: then this process ends, whatever it does."""
    try:
        while True:
            requests.put(receive_frame(connection, None))
    except (EOFError, OSError, FrameError):
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def main(descriptor: str, folder: str) -> None:
    connection = socket.socket(fileno=int(descriptor))
    requests: queue.Queue[Any] = queue.Queue(maxsize=1)
    threading.Thread(target=_receive_forever, args=(connection.dup(), requests, folder), daemon=True).start()
    with contextlib.suppress(ImportError):  # `load` says so
        _import_loader()  # takes seconds, so it does not wait for the first request
    answers = Answers(folder)
    while True:
        reply, arrays = answers.answer(*requests.get())
        send_frame(connection, {**reply, "resident_bytes": resident_bytes()}, arrays, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
