"""From scores to p-values and decisions, by rows that were held out of the fit (split conformal prediction).

Source: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012, and Bates, Candès, Lei, Romano and
Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51 (2023): given the calibration rows, the
rate of false alarms is distributed as Beta(k, n + 1 - k) with k = floor((n + 1)·alpha).
Invariant: p = (1 + #{calibration scores ≥ s}) / (n + 1), and a row is flagged exactly where p ≤ alpha. A score that
is not finite is larger than every calibration score, so such a row is always flagged (as long as alpha allows any).
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.runtimes.protocol import Vector
from wayside.eventing.errors import ConfigurationError

LEAST_EXPECTED_ALARMS = 10
_MANTISSA_BITS = 30


@dataclass(frozen=True, slots=True)
class Interval:
    """Two rates, `low` ≤ `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
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
        n = len(self.scores)
        p: Vector = (1 + n - np.searchsorted(self.scores, scores, side="left")) / (n + 1)
        return p

    def decisions(self, p_values: Vector) -> NDArray[np.bool_]:
        """True where a row is flagged."""
        return p_values <= self.alpha

    @property
    def threshold(self) -> float:
        """The score above which (strictly) a row is flagged: the k-th largest calibration score.

        Raises `ConfigurationError` where alpha is too small for so few rows to flag anything.
        """
        rank = alarm_rank(len(self.scores), self.alpha)
        if rank == 0:
            raise ConfigurationError(
                f"{len(self.scores)} calibration rows can never give p ≤ {self.alpha:g}: "
                f"{rows_needed(self.alpha)} are needed"
            )
        return float(self.scores[-rank])


def quantise(scores: Vector) -> Vector:
    """Scores cut to 30 bits of mantissa (nine digits), and what is not a number read as +inf.

    Kernels of different machines differ in the last bits of a float64. Scores are compared, and written, without
    those bits, so that a repeated row meets its own calibration score as an exact tie, which the rule decides.
    """
    mantissa, exponent = np.frexp(np.where(np.isnan(scores), np.inf, scores))
    rounded = np.rint(np.ldexp(mantissa, _MANTISSA_BITS))
    with np.errstate(over="ignore", under="ignore"):  # the largest float64 may round up, to +inf
        quantised: Vector = np.ldexp(rounded, exponent - _MANTISSA_BITS)
    return quantised


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


def _exact(alpha: float) -> Fraction:
    return Fraction(repr(float(alpha)))
