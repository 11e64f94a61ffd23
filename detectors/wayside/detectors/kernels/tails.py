"""The law of a statistic from many draws of it: counted where they are dense, a fitted tail beyond.

Source: Pearson's type III (gamma) by three moments, as Solomon and Stephens fit it to weighted sums of chi-squares,
"Distribution of a sum of weighted chi-square variables", JASA 72 (1977), which kernel statistics are; it takes over at
a high quantile, with its excesses stretched so that their mean is the one that was drawn.
Invariant: the p-value never rises with the statistic, is at most 1, and is never below `LEAST`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Vector

LEAST = 1e-9
"""No number of draws that is made in practice bears a smaller p-value."""

_SHARE = 0.05
_LEAST_EXCESSES = 25
_LEAST_SKEW = 0.02  # of less, the gamma is a normal law to all digits that matter
_STRETCH = (0.7, 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """`draws` are sorted. Beyond `draws[start]` it is a gamma law's of this `shape` for (x - mean) / deviation, the
    excess divided by `stretch`."""

    draws: Vector
    start: int
    mean: float
    deviation: float
    shape: float
    stretch: float

    @classmethod
    def of(cls, draws: Vector) -> Self:
        """Of draws in any order, at least one."""
        ordered = np.sort(np.asarray(draws, np.float64))
        count = min(len(ordered), max(_LEAST_EXCESSES, round(_SHARE * len(ordered))))
        start, mean, deviation = len(ordered) - count, float(ordered.mean()), float(ordered.std())
        if not deviation > 0:
            return cls(ordered, start, mean, 0.0, 1.0, 1.0)
        standard = (ordered - mean) / deviation
        shape = 4.0 / max(float((standard**3).mean()), _LEAST_SKEW) ** 2
        drawn = float((standard[start:] - standard[start]).mean())
        stretch = float(np.clip(drawn / _mean_excess(shape, float(standard[start])), *_STRETCH))
        return cls(ordered, start, mean, deviation, shape, stretch)

    def p_value(self, statistic: float) -> float:
        """The chance of a statistic at least as large; 1 for one that is no number."""
        if np.isnan(statistic):
            return 1.0
        count = len(self.draws)
        if statistic <= self.draws[self.start]:
            at_least = count - int(np.searchsorted(self.draws, statistic, "left"))
            return (1 + at_least) / (count + 1)
        beyond = (1 + count - self.start) / (count + 1)
        return max(LEAST, beyond * self._survival(statistic))

    def _survival(self, statistic: float) -> float:
        """Of a statistic beyond the start, given that it is beyond."""
        if self.deviation == 0:
            return 0.0
        start = (float(self.draws[self.start]) - self.mean) / self.deviation
        excess = (statistic - float(self.draws[self.start])) / (self.deviation * self.stretch)
        return _survival(self.shape, start + excess) / _survival(self.shape, start)


def _survival(shape: float, standard: float) -> float:
    """P(X ≥ mean + standard · deviation) of a gamma law."""
    from scipy.special import gammaincc  # a second to import, which other kinds need not pay

    return float(gammaincc(shape, max(shape + standard * np.sqrt(shape), 1e-300)))


def _mean_excess(shape: float, standard: float) -> float:
    """E[X - x | X > x] in deviations, where x lies `standard` of them above the mean."""
    from scipy.special import gammaincc

    value = max(shape + standard * np.sqrt(shape), 1e-300)
    excess = shape * gammaincc(shape + 1.0, value) / gammaincc(shape, value) - value
    return float(excess / np.sqrt(shape))
