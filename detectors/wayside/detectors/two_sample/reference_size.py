"""What a fixed reference costs: the rate of false alarms is then conditional on it, and p-values say so.

Over references of m rows and windows of n, P(p ≤ a) is a; given one reference it is a times a factor that spreads the
more the smaller m / n is, and the further out a lies: what the reference has too much of by chance, every window has
too little of. For the tests here the 95th percentile of that factor over references is at most exp(L),

    L = u / (1 + 0.4 u),    u = 2 ln(2 / a) / (m / n + 2).

Derivation: for a test of one direction the statistic's mean is off by δ ~ N(0, n / m) at a critical value t, t² ≈
2 ln(2 / a), so that the log of the factor has a deviation of about sqrt(u). The two constants are an envelope of exact
figures, at a from 1e-1 to 1e-7 and m / n from 1 to 80: for Kolmogorov-Smirnov the chance that the window's counts leave
the band around 2 000 uniform references' (a recursion over the reference's rows, after Noé, "The calculation of
distributions of two-sided Kolmogorov-Smirnov type statistics", Annals of Mathematical Statistics 43, 1972); for
chi-squared of 1, 3, 10 and 40 degrees of freedom the non-central chi-squared with a non-centrality of χ² n / m.
`tests/detectors/test_kinds_univariate_reference.py` draws some of them again. Several columns do not add to it: where
they are independent their factors average out, where they are equal they are as one.

A p-value is raised where exp(L) is above 2, by exp(L) / 2, and stands as it is where it is not. Holding out a part of
the reference to recalibrate on is not done: it judges by two samples that are both smaller, and spreads more.
Invariant: with p-values corrected, for 95 of 100 references P(p ≤ a | reference) ≤ 2 a, at every a; larger p-values
stay larger.
"""

from dataclasses import dataclass
from math import ceil, exp, log
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Array, Vector

TOLERATED = 2.0
_LEAST_P = 1e-300
_BEND = 0.4
_OFFSET = 2.0


def corrected(p_values: Vector, ratio: float) -> Vector:
    """P-values that hold for this reference, which has `ratio` times the window's rows."""
    clipped = np.maximum(p_values, _LEAST_P)
    return np.minimum(p_values * np.maximum(_spread(clipped, ratio) / TOLERATED, 1.0), 1.0)


def ratio_needed(level: float) -> float:
    """Of the reference's rows to the window's, from which on p-values down to `level` stand as they are."""
    bound = log(TOLERATED)
    return 2.0 * log(2.0 / level) * (1.0 - _BEND * bound) / bound - _OFFSET


def _spread(level: Vector, ratio: float) -> Vector:
    u = 2.0 * np.log(2.0 / level) / (ratio + _OFFSET)
    spread: Vector = np.exp(u / (1.0 + _BEND * u))
    return spread


@dataclass(frozen=True, slots=True)
class ReferenceSize:
    """What a reference of `rows` rows promises for windows of `window_rows` (None: of any size) at `level` a window."""

    rows: int
    window_rows: int | None
    level: float

    def described(self) -> str:
        """One line, for people: whether the reference is large enough, and if not what was done and what would be."""
        if self.window_rows is None:
            most = int(self.rows / max(ratio_needed(self.level), 1.0))
            return (
                f"a reference of {self.rows} rows: p-values of windows up to {most} rows stand as they are at a level "
                f"of {self.level:.2g}; those of larger ones are raised, so that 95 of 100 references keep within "
                "twice the budget"
            )
        ratio = self.rows / self.window_rows
        said = f"a reference of {self.rows} rows, {ratio:.3g} times the window"
        if ratio >= ratio_needed(self.level):
            return f"{said}: 95 of 100 such references keep within twice the budget at a level of {self.level:.2g}"
        return f"{said}, is {self._recalibrated(ratio, self.window_rows)}"

    def _recalibrated(self, ratio: float, window_rows: int) -> str:
        factor = float(_spread(np.array(self.level), ratio)) / TOLERATED
        median = exp(-0.42 * log(2.0 / self.level) / ratio) / factor
        return (
            f"small for a level of {self.level:.2g}: p-values are raised {factor:.2f}-fold, so that 95 of 100 such "
            f"references keep within twice the budget; half of them spend less than {median:.0%} of it. "
            f"{ceil(ratio_needed(self.level) * window_rows)} rows need no such correction"
        )

    def array(self) -> Array:
        """As a state holds it."""
        return np.array([self.rows, self.window_rows or 0, self.level])

    @classmethod
    def restore(cls, array: Array) -> Self:
        """What gave the array. Raises `ValueError` for another."""
        if array.shape != (3,) or not (np.isfinite(array).all() and array[0] >= 1 and 0 < array[2] < 1):
            raise ValueError("the reference's size is not one")
        return cls(int(array[0]), int(array[1]) or None, float(array[2]))
