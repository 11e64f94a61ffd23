"""The two-sample Cramér-von Mises test of many columns, with ties.

Source: Anderson, "On the distribution of the two-sample Cramér-von Mises criterion", Annals of Mathematical Statistics
33 (1962), for the statistic, its moments and their use; Smirnov's integral for the limiting distribution (Durbin,
"Distribution theory for tests based on the sample distribution function", 1973), which keeps its relative accuracy
however far out.
Invariant: without ties the statistic is scipy's. Tied rows are given what they would have on average if their order
were drawn: by Jensen's inequality that is at most the mean of the statistics of all orders, so ties are conservative,
and a constant column has a statistic of 0. P-values are not below the exact ones: in the tail of finite samples the
limiting one is the larger.
"""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.two_sample.reference import Counts, OrderedColumn, ReferenceColumns

_TERMS = 5
_NODES = 48
_NO_EVIDENCE = 0.03  # of the limiting statistic: its chance to be larger is above 0.99
_LIMIT_REACHED = 0.5  # what the limiting p-value lacks in the middle is at most this share over the smaller sample


class CramerColumns:
    """The test against one reference."""

    def __init__(self, reference: ReferenceColumns) -> None:
        self._reference = reference
        self._sums = tuple(_PrefixSums.of(column, reference.rows) for column in reference.columns)

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """The statistics and p-values of sorted columns of shape (d, n), each of shape (d,). `effects` are columns'
        design effects, by which statistics of rows that are alike are too large."""
        pairs = zip(window, self._reference.columns, self._sums, strict=True)
        statistics = np.array([_statistic(*each) for each in pairs])
        independent = statistics if effects is None else statistics / effects
        return statistics, p_values(independent, window.shape[1], self._reference.rows)


@dataclass(frozen=True, slots=True, eq=False)
class _PrefixSums:
    """Of the squared differences between a share f of the window and the reference's own distribution, over the
    reference's rows up to each value: `constant` + f `linear` + f² `upto`, each of shape (k + 1,)."""

    constant: Vector
    linear: Vector

    @classmethod
    def of(cls, column: OrderedColumn, rows: int) -> Self:
        counts = column.counts.astype(np.float64)
        at = column.upto[:-1] / rows
        slope = (counts + 1) / rows
        constant = counts * (at * at + at * slope) + _square_of_steps(counts) / rows**2
        return cls(_summed(constant), _summed(-counts * (2 * at + slope)))


@dataclass(frozen=True, slots=True, eq=False)
class _Ties:
    """The distinct values of a sorted window and where they lie among the reference's: `upto` (t + 1,) of the window's
    rows up to each, from 0 on; `at` the first reference value that is not below; `met` whether it is equal."""

    upto: Counts
    at: NDArray[np.intp]
    met: NDArray[np.bool_]

    @classmethod
    def of(cls, window: Vector, reference: OrderedColumn) -> Self:
        ends = np.flatnonzero(~_same(window[1:], window[:-1]))
        upto = np.concatenate([[0], ends + 1, [len(window)]])
        values = window[upto[1:] - 1]
        at = reference.values.searchsorted(values, "left")
        met = _same(reference.values[np.minimum(at, len(reference.values) - 1)], values)
        return cls(upto, at, met)


def _statistic(window: Vector, reference: OrderedColumn, sums: _PrefixSums) -> float:
    n, m = len(window), int(reference.upto[-1])
    ties = _Ties.of(window, reference)
    share = ties.upto / n
    between = _between(ties, reference, sums, share)
    before = share[:-1] - reference.upto[ties.at] / m
    after = share[1:] - reference.upto[ties.at + ties.met] / m
    tied = np.diff(ties.upto) + reference.upto[ties.at + ties.met] - reference.upto[ties.at]
    step = (after - before) / tied
    at_ties = tied * before * before + before * step * tied * (tied + 1) + step * step * _square_of_steps(tied)
    return max(0.0, float(n * m / (n + m) ** 2 * (between + at_ties.sum())))


def _between(ties: _Ties, reference: OrderedColumn, sums: _PrefixSums, share: Vector) -> float:
    """Over the reference's rows that no row of the window is equal to."""
    first = np.concatenate([[0], ties.at + ties.met])
    last = np.concatenate([ties.at, [len(reference.values)]])
    rows = reference.upto[last] - reference.upto[first]
    squares = sums.constant[last] - sums.constant[first] + share * (sums.linear[last] - sums.linear[first])
    return float((squares + share * share * rows).sum())


def p_values(statistics: Vector, n: int, m: int) -> Vector:
    """By the limiting distribution at the statistic brought to its mean and variance."""
    total = n + m
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * m * n * total - 3 * (m * m + n * n) - 2 * m * n) / (180 * total**2 * m * n)
    limiting = limiting_p_values(1 / 6 + (statistics - mean) / np.sqrt(45 * variance))
    return np.minimum(limiting * (1 + _LIMIT_REACHED / min(n, m)), 1.0)


def limiting_p_values(statistics: Vector) -> Vector:
    """P(ω² > x): an alternating series of integrals over the stretches where sin is negative."""
    nodes, weights = _quadrature()
    series = np.exp(-0.5 * np.maximum(statistics, _NO_EVIDENCE)[:, None] * nodes**2) @ weights
    return np.where(statistics <= _NO_EVIDENCE, 1.0, np.clip(series, 0.0, 1.0))


@cache
def _quadrature() -> tuple[Vector, Vector]:
    """Nodes u and weights for Σ (-1)^(k-1) ∫ 2/(π u) sqrt(-u / sin u) exp(-u² x / 2) du over ((2k - 1) π, 2k π).

    u runs as the sine of an angle, which takes the singularities at both ends away.
    """
    at, weight = leggauss(_NODES)
    angle = at * np.pi / 2
    middle = (2 * np.arange(1, _TERMS + 1)[:, None] - 0.5) * np.pi
    nodes = middle + np.pi / 2 * np.sin(angle)
    widths = np.pi / 2 * np.cos(angle) * np.pi / 2 * weight
    signs = (-1.0) ** np.arange(_TERMS)[:, None]
    weights = signs * widths * 2 / (np.pi * nodes) * np.sqrt(-nodes / np.sin(nodes))
    return _frozen(nodes), _frozen(weights)


def _frozen(values: Matrix) -> Vector:
    flat: Vector = values.ravel()
    flat.flags.writeable = False
    return flat


def _same(left: Vector, right: Vector) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (left == right) | (np.isnan(left) & np.isnan(right))
    return same


def _square_of_steps(count: Vector | Counts) -> Vector:
    """1² + 2² + … + count²."""
    steps = np.asarray(count, np.float64)  # the product of whole numbers would overflow from two million on
    squares: Vector = steps * (steps + 1) * (2 * steps + 1) / 6
    return squares


def _summed(values: Vector) -> Vector:
    return np.concatenate([[0.0], np.cumsum(values)])
