"""From scores to p-values and decisions, by rows that were held out of the fit (split conformal prediction).

Source: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, and Bates, Candès, Lei, Romano and
Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51 (2023): given the calibration rows, the
rate of false alarms is distributed as Beta(k, n + 1 - k) with k = floor((n + 1)·alpha).
Invariant: p = (1 + #{calibration scores ≥ s}) / (n + 1), and a row is flagged exactly where p ≤ alpha. A score that
lies within `TIE` of a calibration score is a tie with it, and counts as not above it: a repeated row is decided by this
rule and never by the last bits of a sum. A score that is not finite is larger than every calibration score, so such a
row is always flagged (as long as alpha allows any).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Scores, Vector
from wayside.eventing.errors import ConfigurationError

LEAST_EXPECTED_ALARMS = 10
TIE = 1e-5  # relative; kernels of different batches and machines differ by less
_LARGEST = float(np.finfo(np.float64).max)
_UNIT = 1 << (53 - 30)  # of the last bit that is kept, where a float64 has 53 in its mantissa
_HALF_UNIT, _KEPT_BITS = np.array(_UNIT // 2), np.array(-_UNIT)  # arrays: scalars would be made into them each time


@dataclass(frozen=True, slots=True)
class Interval:
    """Two rates, `low` ≤ `high`."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration scores in rising order, all finite, and the budget `alpha` in (0, 1)."""

    scores: Vector
    alpha: float

    @classmethod
    def of(cls, scores: Vector, alpha: float) -> Self:
        """From raw scores in any order. Raises `ConfigurationError` where one is not finite."""
        if not np.isfinite(scores).all():
            raise ConfigurationError("a calibration row has no finite score: its values are too large for float64")
        return cls(np.sort(quantise(scores)), alpha)

    def p_values(self, scores: Vector) -> Vector:
        """One p-value a score, for scores that went through `quantise`."""
        p: Vector = self._p_values.take(self._reach.searchsorted(scores))
        return p

    @cached_property
    def _reach(self) -> Vector:
        """The largest score that each calibration score still counts as at least as large as: it, or a tie with it."""
        return tie_reach(self.scores)

    @cached_property
    def _p_values(self) -> Vector:
        """The p-value of a score by how many calibration scores are below it."""
        n = len(self.scores)
        p: Vector = (1 + n - np.arange(n + 1)) / (n + 1)
        return p

    def decisions(self, p_values: Vector) -> NDArray[np.bool_]:
        """True where a row is flagged."""
        return p_values <= self.alpha

    @property
    def threshold(self) -> float:
        """The score above which, beyond ties, a row is flagged: the k-th largest calibration score.

        Raises `ConfigurationError` where alpha is too small for so few rows to flag anything.
        """
        rank = alarm_rank(len(self.scores), self.alpha)
        if rank == 0:
            raise ConfigurationError(
                f"{len(self.scores)} calibration rows can never give p ≤ {self.alpha:g}: "
                f"{rows_needed(self.alpha)} are needed"
            )
        return float(self.scores[-rank])


def feature_thresholds(feature_scores: Matrix, alpha: float) -> Vector:
    """For each column of calibration rows' feature scores (n, c) its k-th largest, shape (c,), finite: a column alone
    is above its own in a share alpha of rows, whereas one of several columns is in more."""
    rank = max(1, alarm_rank(len(feature_scores), alpha))
    thresholds: Vector = np.partition(quantise(feature_scores), -rank, axis=0)[-rank]
    return np.minimum(thresholds, _LARGEST)


def above(feature_scores: Matrix, thresholds: Vector) -> NDArray[np.bool_]:
    """Which columns of rows, shape (n, c), are above their own threshold, by more than a tie; one that is not finite
    is."""
    return quantise(feature_scores) > tie_reach(thresholds)


def tie_reach(scores: Vector) -> Vector:
    """The largest score that each of these still ties with; finite, so that what is not finite is above them all."""
    with np.errstate(over="ignore"):
        return np.minimum(scores / (1.0 - np.copysign(TIE, scores)), _LARGEST)


def quantise(scores: Vector) -> Vector:
    """Scores cut to 30 bits of mantissa (nine digits), and what is not a number read as +inf.

    Kernels of different machines differ in the last bits of a float64. Scores are compared, and written, without
    those bits, so that a repeated row meets its own calibration score as an exact tie, which the rule decides.
    """
    return cut(np.where(np.isnan(scores), np.inf, scores))


def cut(scores: Scores) -> Vector:
    """`quantise` for scores none of which is NaN, which is known where speed counts."""
    if scores.dtype == np.float32:
        return np.asarray(scores, np.float64)  # its 24 bits of mantissa are fewer than those that are kept
    # a carry out of the mantissa is one into the exponent: the largest float64 becomes +inf, as it should
    bits = scores.view(np.int64) + _HALF_UNIT
    bits &= _KEPT_BITS
    kept: Vector = bits.view(np.float64)
    return kept


def alarm_rank(n: int, alpha: float) -> int:
    """k = floor((n + 1)·alpha) in exact arithmetic on alpha as it is written: 100 · 0.29 is 29, not 28.99…"""
    return floor((n + 1) * _exact(alpha))


def rows_needed(alpha: float) -> int:
    """The fewest calibration rows n with (n + 1)·alpha ≥ 10."""
    return ceil(LEAST_EXPECTED_ALARMS / _exact(alpha)) - 1


def false_alarm_interval(n: int, alpha: float, level: float = 0.9) -> Interval:
    """Where the rate of false alarms lies for the detector that these very n rows calibrate, at probability `level`.

    Exact for scores without ties; with ties the rate is lower.
    """
    rank = alarm_rank(n, alpha)
    if rank == 0:
        return Interval(0.0, 0.0)
    from scipy.stats import beta  # a second to import, which serving a row detector need not pay

    tail = (1 - level) / 2
    rate = beta(rank, n + 1 - rank)
    return Interval(float(rate.ppf(tail)), float(rate.ppf(1 - tail)))


def measured_interval(n: int, alpha: float, rows: int, level: float = 0.9) -> Interval:
    """Where the rate of false alarms lies that is measured on `rows` ordinary rows (1 or more), none of them among the
    n that calibrate, at probability `level` or more: their number is beta-binomial, over draws of both."""
    rank = alarm_rank(n, alpha)
    if rank == 0:
        return Interval(0.0, 0.0)
    from scipy.stats import betabinom  # as above

    tail = (1 - level) / 2
    alarms = betabinom(rows, rank, n + 1 - rank)
    return Interval(float(alarms.ppf(tail)) / rows, float(alarms.ppf(1 - tail)) / rows)


def _exact(alpha: float) -> Fraction:
    return Fraction(repr(float(alpha)))
