"""What `worker.py` does with a saved drift detector: it tests one window against the detector's own reference.

It is loaded by its path beside `worker.py`, imports nothing of Wayside, and needs numpy and what alibi-detect needs.
Source: alibi-detect 0.13.0, `alibi_detect.cd`: the `predict` of its batch and online detectors.
Invariant: an outcome depends on the saved detector and the window alone: what is random is seeded, the reference is
never updated, what is trained is trained anew, and a detector that takes row after row begins each window anew.
"""

from __future__ import annotations

import inspect
import math
import random
import sys
from typing import Any

import numpy as np


class SavedDrift:
    """A loaded drift detector. Raises `ValueError` where it is another kind of detector."""

    def __init__(self, detector: Any) -> None:
        if detector.meta.get("detector_type") != "drift":
            raise ValueError(f"it is a detector of type {detector.meta.get('detector_type')}, which judges no windows")
        self._detector = detector
        self._inner = getattr(detector, "_detector", detector)
        self._name = str(detector.meta.get("name", type(detector).__name__))
        self._is_online = bool(detector.meta.get("online"))
        self._accepts = inspect.signature(detector.predict).parameters
        self._permutations = int(getattr(self._inner, "n_permutations", 0) or 0)
        self._dtype = _input_dtype(self._inner)
        if "c" in self._accepts:
            _mend_calibration()
        self._shape: tuple[int, ...] = ()
        for each in (detector, self._inner):
            vars(each).update({name: value for name, value in _PURE.items() if hasattr(each, name)})
        learned = getattr(self._inner, "clf", None) if "c" in self._accepts else None
        self._fresh = [(each, dict(vars(each))) for each in (detector, self._inner, learned) if each is not None]

    def facts(self) -> dict[str, Any]:
        """What the other side keeps. `input_shape` is null where the detector does not say; `permutations` is 0 for a
        test that permutes nothing, `run_rows` (an online detector's expected run time) 0 for one of windows."""
        return {
            "name": self._name,
            "version": str(self._detector.meta.get("version", "")),
            "input_shape": _input_shape(self._detector, self._inner),
            "permutations": 0 if self._is_online else self._permutations,
            "run_rows": float(self._inner.ert) if self._is_online else 0.0,
            "takes_context": "c" in self._accepts,
        }

    def prepare(self, shape: list[int]) -> None:
        """Rows come as `shape`."""
        self._shape = tuple(shape)

    def test(self, rows: Any, context: Any) -> list[Any]:
        """Statistic and p-value of the whole, (2,), and of each feature a distance and a p-value, (features,) or (0,).

        Of the window's rows (n, d), with their contexts (n, c), c = 0 for none.
        """
        seed()
        shaped = rows.reshape(-1, *self._shape).astype(self._dtype)
        return self._stream(shaped) if self._is_online else self._batch(shaped, context.astype(np.float32))

    def _batch(self, rows: Any, context: Any) -> list[Any]:
        for each, state in self._fresh:  # ContextMMDDrift keeps the first window's classifier and regularisation
            vars(each).clear()
            vars(each).update(state)
        asked: dict[str, Any] = {"drift_type": "batch"} if "drift_type" in self._accepts else {}
        if context.shape[1]:
            asked["c"] = context
        told = self._detector.predict(rows, **asked)["data"]
        p_values, distances = _flat(told["p_val"]), _flat(told["distance"])
        if not (np.isfinite(distances).all() and np.isfinite(p_values).all()):
            raise ValueError("its statistic is not a number")  # ranked among permuted ones it would be the smallest p
        if self._permutations:  # alibi-detect tells k of n; the window itself counts too, or p = 0 would come by chance
            p_values = (np.round(p_values * self._permutations) + 1) / (self._permutations + 1)
        least = int(np.argmin(p_values))
        whole = np.array([distances[min(least, len(distances) - 1)], min(1.0, len(p_values) * p_values[least])])
        is_by_feature = len(p_values) > 1 and len(distances) == len(p_values)
        return [whole, *((distances, p_values) if is_by_feature else (np.empty(0), np.empty(0)))]

    def _stream(self, rows: Any) -> list[Any]:
        """Of a detector of single rows: whether it alarms within the window, and the chance that it does so."""
        self._detector.reset_state()
        highest, alarmed = -math.inf, False
        for row in rows:
            told = self._detector.predict(row)["data"]
            highest = max(highest, float(np.nanmax(_flat(told["test_stat"]), initial=-math.inf)))
            alarmed = alarmed or bool(told["is_drift"])
        self._detector.reset_state()
        chance = 1.0 - (1.0 - 1.0 / float(self._inner.ert)) ** len(rows)
        return [np.array([highest, chance if alarmed else 1.0]), np.empty(0), np.empty(0)]


_PURE = {"update_x_ref": None, "retrain_from_scratch": True}


def seed() -> None:
    """What is drawn from here on is always the same."""
    random.seed(0)
    np.random.seed(0)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _mend_calibration() -> None:
    """ContextMMDDrift calibrates a fitted classifier by a setting that scikit-learn 1.8 took away, which alibi-detect
    0.13.0 allows to be installed; what scikit-learn says to write in its place does the same."""
    try:
        from sklearn.frozen import FrozenEstimator
    except ImportError:  # older than 1.6: it has the setting
        return
    from alibi_detect.cd import _domain_clf
    from sklearn.calibration import CalibratedClassifierCV

    def calibrated(classifier: Any, method: str, cv: str) -> Any:
        assert cv == "prefit", "what alibi-detect 0.13.0 asks for"
        return CalibratedClassifierCV(FrozenEstimator(classifier), method=method)

    _domain_clf.CalibratedClassifierCV = calibrated


def _flat(value: Any) -> Any:
    return np.asarray(value, np.float64).reshape(-1)


def _input_shape(detector: Any, inner: Any) -> list[int] | None:
    for each in (detector, inner):
        shape = getattr(each, "input_shape", None)
        if shape is not None and None not in shape:
            return [int(size) for size in shape] or [1]
    return None


def _input_dtype(inner: Any) -> Any:
    """That of the reference, where it is kept as it was given: equal values have to stay equal. Else float32."""
    reference = getattr(inner, "x_ref", None)
    if reference is None or getattr(inner, "preprocess_fn", None) is not None:
        return np.dtype(np.float32)
    dtype = np.asarray(reference).dtype
    return dtype if dtype.kind in "fiub" else np.dtype(np.float32)
