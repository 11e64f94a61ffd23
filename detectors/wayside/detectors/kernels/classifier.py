"""How well a classifier tells a window from a kept sample of the reference: its AUC on rows it was not trained on.

Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; the classifier is Fisher's linear
discriminant on the columns and on random Fourier features of them (Rahimi and Recht, "Random features for large-scale
kernel machines", NIPS 2007), with the reference's covariance, so that training is a difference of means.
Invariant: a row's score comes from a classifier of the other folds; folds are rows taken in turn, of both samples.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kernels.arithmetic import Arithmetic, Floats, median_width
from wayside.detectors.kernels.mmd import near
from wayside.detectors.kernels.null import Indices, Measure
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector

FOLDS = 5
_MOST_COLUMNS = 64  # more are projected at random
_PENALTY = 0.3  # of the mean variance


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierMeasure:
    """`kept` (m, d) lies about `centre`. Features are rows @ `linear` (d, a) beside the cosines of rows @ `waves`
    (d, b) + `phases` (b,), and `whitening` (a + b, a + b) makes the kept rows' covariance that of the discriminant."""

    kept: Floats
    centre: Vector
    linear: Floats
    waves: Floats
    phases: Floats
    shift: Floats
    whitening: Floats
    features_of_kept: Floats
    arithmetic: Arithmetic

    @classmethod
    def fit(cls, rows: Matrix, features: int, arithmetic: Arithmetic, seed: int) -> Self:
        centre, random = rows.mean(axis=0), np.random.default_rng([seed, 3])
        kept = near(rows, centre)
        columns = kept.shape[1]
        waves = random.normal(size=(columns, features)) / median_width(kept)
        phases = random.uniform(0.0, 2.0 * np.pi, features)
        arrays = {
            "kept": kept,
            "centre": centre,
            "linear": _linear(columns, random),
            "waves": waves.astype(np.float32),
            "phases": phases.astype(np.float32),
        }
        raw = _raw(arrays, kept, arithmetic)
        shift = raw.mean(axis=0, dtype=np.float64)
        return cls.of({**arrays, "shift": shift.astype(np.float32), "whitening": _whitening(raw - shift)}, arithmetic)

    @property
    def features(self) -> int:
        return int(self.kept.shape[1])

    @property
    def sample(self) -> Matrix:
        rows: Matrix = self.kept + self.centre
        return rows

    def statistic(self, rows: Matrix) -> float:
        known = _Folded.of(self.features_of_kept)
        return known.auc(self._features(near(rows, self.centre)))

    def held(self, rows: Matrix) -> Measure:
        found, known = self._features(near(rows, self.centre)), _Folded.of(self.features_of_kept)

        def measure(indices: Indices) -> float:
            return known.auc(found[indices])

        return measure

    def regrouped(self, reference: Matrix, window: Matrix, members: Floats) -> Vector:
        both = self._features(near(np.concatenate([reference, window]), self.centre))
        inside = members.T > 0.5
        return np.array([_Folded.of(both[~each]).auc(both[each]) for each in inside])

    def arrays(self) -> dict[str, Array]:
        names = ("kept", "centre", "linear", "waves", "phases", "shift", "whitening")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, arrays: Arrays, arithmetic: Arithmetic) -> Self:
        kept, linear, waves = arrays["kept"], arrays["linear"], arrays["waves"]
        width = linear.shape[1] + waves.shape[1]
        if len(linear) != kept.shape[1] or len(waves) != kept.shape[1] or arrays["whitening"].shape != (width, width):
            raise ValueError(f"'kept' has shape {kept.shape}, 'linear' {linear.shape}, 'waves' {waves.shape}")
        return cls(
            kept=kept,
            centre=arrays["centre"],
            linear=linear,
            waves=waves,
            phases=arrays["phases"],
            shift=arrays["shift"],
            whitening=arrays["whitening"],
            features_of_kept=_features(arrays, kept, arithmetic),
            arithmetic=arithmetic,
        )

    def _features(self, rows: Floats) -> Floats:
        return _features(self.arrays(), rows, self.arithmetic)


@dataclass(frozen=True, slots=True, eq=False)
class _Folded:
    """The reference's rows by fold, and the mean of all of them but those of each, (folds, f)."""

    parts: tuple[Floats, ...]
    means: Floats

    @classmethod
    def of(cls, rows: Floats) -> Self:
        return cls(tuple(np.ascontiguousarray(rows[fold::FOLDS]) for fold in range(FOLDS)), _directions(rows))

    def auc(self, window: Floats) -> float:
        """The mean over folds of the AUC by which the other folds' difference of means ranks a fold's rows."""
        ways = _directions(window) - self.means
        pairs = zip(self.parts, (window[fold::FOLDS] for fold in range(FOLDS)), ways, strict=True)
        return float(np.mean([_auc(first @ way, second @ way) for first, second, way in pairs if len(second)]))


def _auc(reference: Floats, window: Floats) -> float:
    """P(window's score > reference's), ties counted half."""
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, window, "left") + np.searchsorted(ordered, window, "right")
    return float(below.mean() / (2.0 * len(ordered)))


def _directions(rows: Floats) -> Floats:
    """The mean of all rows but those of each fold, (folds, f)."""
    sums = np.stack([rows[fold::FOLDS].sum(axis=0) for fold in range(FOLDS)])
    counts = np.array([len(rows[fold::FOLDS]) for fold in range(FOLDS)], np.float32)
    found: Floats = (sums.sum(axis=0) - sums) / np.maximum(len(rows) - counts, 1.0)[:, None].astype(np.float32)
    return found


def _linear(columns: int, random: np.random.Generator) -> Floats:
    """The columns as they are, or where they are many so many random combinations of them."""
    if columns <= _MOST_COLUMNS:
        return np.eye(columns, dtype=np.float32)
    drawn: Floats = (random.normal(size=(columns, _MOST_COLUMNS)) / np.sqrt(columns)).astype(np.float32)
    return drawn


def _raw(arrays: Arrays, rows: Floats, arithmetic: Arithmetic) -> Floats:
    waves = np.cos(arithmetic.product(rows, arrays["waves"]) + arrays["phases"])
    found: Floats = np.hstack([arithmetic.product(rows, arrays["linear"]), waves])
    return found


def _features(arrays: Arrays, rows: Floats, arithmetic: Arithmetic) -> Floats:
    return arithmetic.product(_raw(arrays, rows, arithmetic) - arrays["shift"], arrays["whitening"])


def _whitening(rows: Matrix | NDArray[np.float32]) -> Floats:
    """The inverse root of the regularised covariance of the centred rows, each brought to one variance first."""
    spreads = rows.std(axis=0)
    scale = 1.0 / np.where(spreads > 1e-6 * max(float(spreads.max()), 1e-30), spreads, np.inf)
    scaled = rows * scale
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(rows))
    roots = 1.0 / np.sqrt(np.maximum(values, 0.0) + _PENALTY * float(values.mean()))
    found: Floats = (scale[:, None] * (vectors * roots)).astype(np.float32)
    return found
