"""`mahalanobis-online`: distance in the main directions of a mean and a covariance that every event moves on.

Source: the online detector of seldon-core's outlier-detection components and of alibi-detect, by its documentation:
an event's rows are judged in the leading principal components, each by what came before it; what is learned of a row
is clipped. Mean and scatter move by Welford, "Note on a method for calculating corrected sums of squares and
products", Technometrics 4 (1962), whose divisor n - 1 holds for events of any number of rows.
Invariant: `advance` is a pure function of memory and rows; the memory that it gives is finite.
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.mahalanobis import Mahalanobis
from wayside.detectors.kinds.protocol import (
    Arrays,
    Execution,
    FitContext,
    Matrix,
    State,
    StatefulRowDetector,
    Vector,
)
from wayside.eventing.errors import ConfigurationError

_SINGULAR = 1e-8  # a covariance whose determinant is not above it judges nothing
_ROUNDING = 1e-12  # of the variances' product: a determinant as small is made of lost digits
_STEP_VALUES = 1 << 18  # of the rows' own covariances that are held at once
_WARMING_ROWS = 16  # of an event, as far as learning from the fitting rows goes
_MOST_FEATURES = 512  # an event costs their cube
_OPTIONS, _COUNT, _MEAN, _COVARIANCE = "options", "count", "mean", "covariance"


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """`n_components` leading directions are judged in. After `start_clip` rows, a feature is learned no further than
    `std_clip` deviations from its mean. The memory never weighs more than `max_n` rows; 0 lets it grow."""

    n_components: int = 3
    std_clip: float = 3.0
    start_clip: int = 100
    max_n: int = 0

    def __post_init__(self) -> None:
        if self.n_components < 1 or self.start_clip < 0:
            raise ConfigurationError("n_components is at least 1, start_clip at least 0")
        if not 0 < self.std_clip < inf:
            raise ConfigurationError(f"std_clip is {self.std_clip:g}: give a number above 0")
        if self.max_n < 0 or self.max_n in (1, 2):
            raise ConfigurationError(f"max_n is {self.max_n}: give 3 rows or more, or 0 for no end")


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What is remembered: `count` rows, their mean (d,) and covariance (d, d)."""

    count: float
    mean: Vector
    covariance: Matrix

    @classmethod
    def blank(cls, features: int) -> Self:
        """Of no row at all."""
        return cls(0.0, np.zeros(features), np.zeros((features, features)))

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """Raises `KeyError` or `ValueError` where the arrays are no moments."""
        count, mean, covariance = arrays[_COUNT], arrays[_MEAN], arrays[_COVARIANCE]
        if count.shape != (1,) or mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"moments have shapes {count.shape}, {mean.shape} and {covariance.shape}")
        if not (np.isfinite(count[0]) and np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("moments hold a value that is not finite")
        return cls(float(count[0]), mean, covariance)

    def arrays(self) -> Arrays:
        return {_COUNT: np.array([self.count]), _MEAN: self.mean, _COVARIANCE: self.covariance}

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.mean).all() and np.isfinite(self.covariance).all())


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """One event's rows as they were learned: `weight` rows lay behind the first, and before row i the mean was
    `means[i]`. `shared[i]` is how far row i, clipped, lay from it, times a factor: its square is what it adds to the
    scatter."""

    weight: float
    means: Matrix
    shared: Matrix
    after: Moments


class OnlineMahalanobis(StatefulRowDetector):
    """Squared Mahalanobis distance in the leading directions. A row that its memory cannot judge scores NaN."""

    kind: ClassVar[str] = "mahalanobis-online"
    summary: ClassVar[str] = "Mahalanobis distance whose mean and covariance follow the traffic"
    options: ClassVar[type[OnlineOptions]] = OnlineOptions

    def __init__(self, options: OnlineOptions, start: Moments) -> None:
        self._options = options
        self._start = start
        self._components = min(options.n_components, len(start.mean))

    @property
    def features(self) -> int:
        return len(self._start.mean)

    @classmethod
    def fit(cls, rows: Matrix, options: OnlineOptions, context: FitContext) -> Self:
        _check_enough(rows, options)
        blank = cls(options, Moments.blank(rows.shape[1]))
        moments = blank._start
        for first in range(0, len(rows), _WARMING_ROWS):
            moments = blank._walk(moments, rows[first : first + _WARMING_ROWS]).after
            context.progress("fitting", min(first + _WARMING_ROWS, len(rows)), len(rows))
        variances = np.linalg.eigvalsh(moments.covariance)[-blank._components :]
        if not np.prod(variances) > _SINGULAR:
            raise ConfigurationError(
                f"the rows hardly vary in {blank._components} directions: give a smaller n_components, or scale them"
            )
        return cls(options, moments)

    def memory(self) -> Arrays:
        return self._start.arrays()

    def advance(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        """Scores, shape (n,), and the memory after these rows.

        Rows so large that the memory would overflow are judged by the memory before them, and none is learned.
        """
        moments = Moments.of(memory)
        if not len(rows):
            return np.empty(0), memory
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the caller judges what is not finite
            walk = self._walk(moments, rows)
            if not walk.after.is_finite:
                return self._by(moments).score(rows) ** 2, memory
            return self._judge(moments, walk, rows), walk.after.arrays()

    def score(self, rows: Matrix) -> Vector:
        """By the memory that it was fitted with, which stays as it is."""
        with np.errstate(over="ignore"):
            scores: Vector = self._fitted.score(rows) ** 2
        return scores

    def state(self) -> State:
        options = self._options
        kept = np.array([options.n_components, options.std_clip, options.start_clip, options.max_n], np.float64)
        return State({_OPTIONS: kept, **self._start.arrays()})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        components, std_clip, start_clip, max_n = state.arrays[_OPTIONS].tolist()
        options = OnlineOptions(int(components), std_clip, int(start_clip), int(max_n))
        return cls(options, Moments.of(state.arrays))

    @cached_property
    def _fitted(self) -> Mahalanobis:
        return self._by(self._start)

    def _by(self, moments: Moments) -> Mahalanobis:
        """The distance that these moments alone mean, in their leading directions."""
        variances, directions = np.linalg.eigh(moments.covariance)
        whitening = np.zeros_like(directions)
        leading = slice(-self._components, None)  # the others may have no variance, or by rounding less than none
        whitening[:, leading] = directions[:, leading] / np.sqrt(variances[leading])
        return Mahalanobis(moments.mean, whitening)

    def _walk(self, before: Moments, rows: Matrix) -> _Walk:
        weight = min(before.count, self._options.max_n or inf)
        learned = self._clip(before, rows)
        behind = weight + np.arange(len(rows))
        ends = before.mean + np.cumsum(learned - before.mean, axis=0) / (behind + 1.0)[:, None]
        means = np.concatenate([before.mean[None], ends[:-1]])
        steps = learned - means
        shared = np.sqrt(behind / (behind + 1.0))[:, None] * steps
        scatter = (weight - 1.0) * before.covariance + shared.T @ shared
        covariance = scatter / max(weight + len(rows) - 1.0, 1.0)
        return _Walk(weight, means, shared, Moments(before.count + len(rows), ends[-1], covariance))

    def _clip(self, before: Moments, rows: Matrix) -> Matrix:
        if before.count <= self._options.start_clip:
            return rows
        reach = self._options.std_clip * np.sqrt(np.diag(before.covariance))
        return np.clip(rows, before.mean - reach, before.mean + reach)

    def _judge(self, before: Moments, walk: _Walk, rows: Matrix) -> Vector:
        """Each row by the mean and covariance before it, in the leading directions after them all."""
        directions = np.linalg.eigh(walk.after.covariance)[1][:, -self._components :]
        scatter = (walk.weight - 1.0) * (directions.T @ before.covariance @ directions)
        gaps, shared = (rows - walk.means) @ directions, walk.shared @ directions
        scores, usable = np.full(len(rows), np.nan), False
        step = max(1, _STEP_VALUES // self._components**2)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            squares = shared[part, :, None] * shared[part, None, :]
            sums = scatter + np.cumsum(squares, axis=0)
            behind = np.concatenate([scatter[None], sums[:-1]])
            degrees = walk.weight + first + np.arange(len(behind)) - 1.0
            covariances = behind / np.maximum(degrees, 1.0)[:, None, None]
            able = np.logical_or.accumulate(_invertible(covariances) | usable)
            scores[part][able] = _quadratic(gaps[part][able], covariances[able])
            scatter, usable = sums[-1], bool(able[-1])
        return scores


def _invertible(covariances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of them have a determinant that is more than rounding, by itself and beside their variances."""
    determinants = np.linalg.det(covariances)
    variances = np.prod(np.diagonal(covariances, axis1=1, axis2=2), axis=1)
    enough: NDArray[np.bool_] = (determinants > _SINGULAR) & (determinants > _ROUNDING * variances)
    return enough


def _quadratic(gaps: Matrix, covariances: NDArray[np.float64]) -> Vector:
    """gᵀ C⁻¹ g for each gap g and its own covariance C."""
    solved = np.linalg.solve(covariances, gaps[:, :, None])[:, :, 0]
    distances: Vector = (gaps * solved).sum(axis=1)
    return distances


def _check_enough(rows: Matrix, options: OnlineOptions) -> None:
    if len(rows) <= max(options.start_clip, 2):
        raise ConfigurationError(
            f"mahalanobis-online needs more than start_clip = {options.start_clip} rows to fit on, there are"
            f" {len(rows)}: only fitting rows are learned unclipped; give more rows, or a smaller start_clip"
        )
    if rows.shape[1] > _MOST_FEATURES:
        raise ConfigurationError(
            f"mahalanobis-online takes {_MOST_FEATURES} features at most, there are {rows.shape[1]}: leave some out"
        )
