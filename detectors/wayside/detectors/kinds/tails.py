"""How far out in the tails of its column a value lies, by the empirical distribution of the rows fitted on.

Source: the empirical tails of Li, Zhao et al., ECOD (TKDE 2022) and COPOD (ICDM 2020).
A row is judged as if it alone were added to the m reference rows: at most one of m + 1 rows is as far out as one beyond
all of them, so no tail is ever empty. (PyOD adds the whole batch, which makes a score depend on its neighbours.)
Invariant: -log of a tail lies between 0 and log(m + 1), and is found by one binary search.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.errors import ConfigurationError

Combine = Callable[[Vector, Vector, int], Vector]
"""(-log P(X ≤ x), -log P(X ≥ x), the column's skew: -1, 0 or 1) to what a value adds to the score."""


class TailTables:
    """What a value of each column adds, from `columns` (d, m) of sorted reference values and their `skew` (d,)."""

    def __init__(self, columns: Matrix, skew: NDArray[np.int64], combine: Combine) -> None:
        if columns.ndim != 2 or not columns.size or skew.shape != (len(columns),):
            raise ValueError(f"'columns' has shape {columns.shape} and 'skew' {skew.shape}")
        self.columns = np.ascontiguousarray(columns)
        self.skew = skew
        self._steps = np.stack([_steps(*pair, combine) for pair in zip(self.columns, skew.tolist(), strict=True)])

    def look_up(self, rows: Matrix) -> Matrix:
        """What each value of rows (n, d) adds, (n, d), none below 0."""
        at_most, equal = _find(self.columns, rows)
        firsts = np.arange(self._steps.size, step=self._steps.shape[1])
        added: Matrix = self._steps.ravel()[firsts + 2 * at_most - equal]
        return added


def sorted_columns(kind: str, rows: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """The columns (d, m) in rising order, and the sign of each one's skew. Raises `ConfigurationError`."""
    if len(rows) < 2:
        raise ConfigurationError(f"{kind} needs at least 2 rows to fit on, there are {len(rows)}")
    with np.errstate(over="ignore", invalid="ignore"):
        third = ((rows - rows.mean(axis=0)) ** 3).mean(axis=0)
    constant = np.ptp(rows, axis=0) == 0
    skew = np.sign(np.where(constant | ~np.isfinite(third), 0.0, third)).astype(np.int64)
    return np.sort(rows.T, axis=1), skew


def skewed_tail(left: Vector, right: Vector, skew: int) -> Vector:
    """The tail that the column is skewed towards; both together where it is not skewed."""
    return left if skew < 0 else right if skew > 0 else left + right


def _steps(column: Vector, skew: int, combine: Combine) -> Vector:
    """What a value adds, (2 m + 1,): at 2 i where it lies above i reference values and equals none, at 2 i - 1 where
    it equals the i-th."""
    count = len(column)
    above = np.arange(count + 1)  # reference values that a value between two of them is above
    upto, below = np.searchsorted(column, column, "right"), np.searchsorted(column, column, "left")
    at_most, at_least = np.empty(2 * count + 1), np.empty(2 * count + 1)
    at_most[0::2], at_most[1::2] = above, upto
    at_least[0::2], at_least[1::2] = count - above, count - below
    # `+ 0.0`: the log of 1 is 0, not -0
    left, right = (-np.log((1 + each) / (count + 1)) + 0.0 for each in (at_most, at_least))
    return combine(left, right, skew)


def _find(columns: Matrix, rows: Matrix) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """How many values of its sorted column each value is not below, and whether it equals one; of rows (n, d).

    Binary searches of all values in step: a call of numpy for each halving, instead of one for each column.
    """
    values, length = columns.ravel(), columns.shape[1]
    firsts = np.arange(columns.size, step=length)
    found = np.broadcast_to(firsts, rows.shape).copy()
    while length > 1:
        half = length // 2
        found += half * (values[found + (half - 1)] <= rows)
        length -= half
    found += values[found] <= rows
    equal = values[np.maximum(found - 1, firsts)] == rows
    return found - firsts, equal
