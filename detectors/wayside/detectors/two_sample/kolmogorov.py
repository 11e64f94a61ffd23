"""The two-sample Kolmogorov-Smirnov test of many columns at once.

Source: Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för Matematik 3 (1958), for the
exact p-value by paths on a lattice; Wei and Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", Statistics &
Probability Letters 82 (2012), for the bound.
Invariant: distances are exact, from whole counts, ties or none, so that equal samples give exactly 0. P-values are
never below the exact one, which is conservative itself where values are tied.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln, kolmogorov

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.two_sample.reference import Counts, OrderedColumn, ReferenceColumns

_KNOTS = 128
_WIDEST_EXACT = 512  # rows of the smaller sample: the exact p-value takes 2 ms of 200 rows, 30 ms of 512
_EXACT_FROM, _EXACT_TO = 1e-12, 0.02  # the bound is within a quarter of the exact value: elsewhere nothing hangs on it
_BOUND = 2.16863 / 2  # of the limiting value; Wei and Dudley's constant for samples of whatever sizes


class KolmogorovColumns:
    """The test against one reference.

    The distance is found by branch and bound. The counts of both samples at 128 knots, quantiles of the reference,
    bound it in each cell between knots; only the rows of cells that may hold the largest distance are looked up among
    the reference's values: about a tenth of a window of 1 000 rows.
    """

    def __init__(self, reference: ReferenceColumns) -> None:
        self._reference = reference
        self._knots = _Knots.of(reference)

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """The distances and p-values of sorted columns of shape (d, n), each of shape (d,). `effects` are columns'
        design effects, by which both samples have fewer rows than they seem to; without them p-values are exact where
        a verdict may hang on that."""
        widest = self._widest(window)
        sizes = window.shape[1], self._reference.rows
        return widest / (sizes[0] * sizes[1]), p_values(widest, *sizes, effects)

    def _widest(self, window: Matrix) -> Counts:
        """The largest distances, times the rows of both samples."""
        m, n, knots = self._reference.rows, window.shape[1], self._knots
        below, upto = _window_counts(window, knots.values)
        after = upto * m - knots.upto * n
        before = below * m - knots.below * n
        widest: Counts = np.maximum(np.abs(after).max(axis=1), np.abs(before).max(axis=1))
        reach = np.maximum(
            below[:, 1:] * m - knots.upto[:, :-1] * n, knots.below[:, 1:] * n - upto[:, :-1] * m
        )  # within a cell both counts only rise
        open_cells = (reach > widest[:, None]) & (below[:, 1:] > upto[:, :-1])
        if open_cells.any():
            self._look_closer(window, _rows_in(open_cells, below, upto, n), widest)
        return widest

    def _look_closer(self, window: Matrix, chosen: NDArray[np.bool_], widest: Counts) -> None:
        """Raises `widest` by what the chosen rows, shape (d, n), have."""
        m, n = self._reference.rows, window.shape[1]
        rows = np.flatnonzero(chosen)
        column, rank = np.divmod(rows, n)
        ends = np.searchsorted(column, np.arange(len(window) + 1))
        values = window.ravel()[rows]
        upto, below = np.empty_like(rows), np.empty_like(rows)
        for at, each in enumerate(self._reference.columns):
            part = slice(ends[at], ends[at + 1])
            if part.start < part.stop:
                upto[part], below[part] = _reference_counts(each, values[part])
        # of rows that are tied the last has the largest rank + 1, and the first the smallest rank: no tie needs care
        np.maximum.at(widest, column, np.maximum((rank + 1) * m - upto * n, below * n - rank * m))


@dataclass(frozen=True, slots=True, eq=False)
class _Knots:
    """Some of the reference's values, shape (d, 128), the first and the last among them, and how many of its rows are
    below each and up to each. A column of fewer values repeats its last one."""

    values: Matrix
    below: Counts
    upto: Counts

    @classmethod
    def of(cls, reference: ReferenceColumns) -> Self:
        chosen = [_quantiles(column) for column in reference.columns]
        pairs = list(zip(reference.columns, chosen, strict=True))
        return cls(
            np.array([column.values[at] for column, at in pairs]),
            np.array([column.upto[at] for column, at in pairs]),
            np.array([column.upto[at + 1] for column, at in pairs]),
        )


def p_values(widest: Counts, window_rows: int, reference_rows: int, effects: Vector | None = None) -> Vector:
    """Of largest distances times the rows of both samples, one a column: bounds; that of the largest is exact where a
    verdict may hang on it and rows are independent (no `effects`)."""
    n, m = sorted((window_rows, reference_rows))
    reached = widest / np.sqrt(float(n) * m * (n + m))
    if effects is not None:
        reached /= np.sqrt(effects)
    bounds: Vector = np.minimum(_BOUND * kolmogorov(reached), 1.0)
    if effects is not None:
        return bounds
    decisive = int(widest.argmax())
    if n <= _WIDEST_EXACT and _EXACT_FROM <= bounds[decisive] * len(bounds) <= _EXACT_TO:
        bounds[decisive] = min(bounds[decisive], exact_p_value(int(widest[decisive]), n, m))
    return bounds


def exact_p_value(widest: int, n: int, m: int) -> float:
    """P(D ≥ widest / (n m)) of samples of n and m rows without ties, n ≤ m, n rows being some hundreds.

    Twice the chance that F_n - G_m reaches it. That both signs reach it counts twice, which adds less than 1e-4 of it
    where it is below 0.05.
    """
    log_factorial = gammaln(np.arange(n + m + 1) + 1.0)

    def log_paths(right: Counts, up: Counts) -> Vector:
        paths: Vector = log_factorial[right + up] - log_factorial[right] - log_factorial[up]
        return paths

    right = np.arange(1, n + 1)
    up = (right * m - widest) // n  # the highest point above which a path at `right` is still that far off
    right, up = right[up >= 0], up[up >= 0]
    if not len(right):
        return 0.0
    onwards = log_paths(n - right, m - up)
    reached = np.exp(log_paths(right, up) + onwards - log_paths(np.array(n), np.array(m)))
    later, earlier = np.tril_indices(len(right), -1)
    again = np.eye(len(right))
    between = log_paths(right[later] - right[earlier], up[later] - up[earlier])
    again[later, earlier] = np.exp(between + onwards[later] - onwards[earlier])
    first = solve_triangular(again, reached, lower=True, unit_diagonal=True, check_finite=False)
    return min(1.0, 2.0 * float(first.sum()))


def _quantiles(column: OrderedColumn) -> NDArray[np.intp]:
    shares = np.linspace(1, column.upto[-1], _KNOTS)
    found = np.unique(np.searchsorted(column.upto[1:], shares))
    return np.pad(found, (0, _KNOTS - len(found)), mode="edge")


def _window_counts(window: Matrix, knots: Matrix) -> tuple[Counts, Counts]:
    """How many of each sorted column are below each knot, and up to it: both of shape (d, knots)."""
    below = np.array([column.searchsorted(at, "left") for column, at in zip(window, knots, strict=True)])
    met = np.take_along_axis(window, np.minimum(below, window.shape[1] - 1), axis=1) == knots
    tied = (met.any(axis=1)) | np.isnan(window[:, -1])
    if not tied.any():
        return below, below
    upto = below.copy()
    for at in np.flatnonzero(tied):
        upto[at] = window[at].searchsorted(knots[at], "right")
    return below, upto


def _rows_in(open_cells: NDArray[np.bool_], below: Counts, upto: Counts, n: int) -> NDArray[np.bool_]:
    """Which rows lie strictly between the knots of the cells, shape (d, n)."""
    column, cell = np.nonzero(open_cells)
    edges = np.zeros((len(open_cells), n + 1), np.int8)
    edges[column, upto[column, cell]] += 1
    edges[column, below[column, cell + 1]] -= 1
    return np.cumsum(edges[:, :n], axis=1, dtype=np.int8) > 0


def _reference_counts(column: OrderedColumn, values: Vector) -> tuple[Counts, Counts]:
    """How many of the reference's rows are up to each value, and below it."""
    at = column.values.searchsorted(values, "right")
    return column.upto[at], column.upto[at - (column.values[at - 1] == values)]
