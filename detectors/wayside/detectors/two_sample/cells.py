"""Columns of few values as cells: each value that the reference has is one, and each that it does not have another.

Invariant: every row of a window is in exactly one cell. A missing value is a value. Values that only the window has are
cells of the table of both, as those are that only the reference has: where values are many, a window always has some.
"""

import numpy as np

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.two_sample import chi_squared, hypergeometric
from wayside.detectors.two_sample.chi_squared import Table
from wayside.detectors.two_sample.hypergeometric import Alternative
from wayside.detectors.two_sample.reference import ReferenceColumns


class Cells:
    """The cells of each column of a reference."""

    def __init__(self, reference: ReferenceColumns) -> None:
        self._values = tuple(column.values for column in reference.columns)
        self._counts = tuple(np.append(column.counts, 0) for column in reference.columns)

    def tables(self, window: Matrix, effects: Vector | None = None, apart: bool = False) -> list[Table]:
        """The table of each sorted column of shape (d, n), of shape (2, k + 1): its own rows, and the reference's; of
        so many independent ones, where `effects` says how many rows are worth one (Rao and Scott 1981). `apart` gives
        each value that the reference does not have a cell of its own, in the place of one for all."""
        tables = [self._table(at, column, apart) for at, column in enumerate(window)]
        if effects is None:
            return tables
        return [np.rint(table / effect).astype(np.int64) for table, effect in zip(tables, effects, strict=True)]

    def _table(self, at: int, window: Vector, apart: bool) -> Table:
        values, reference = self._values[at], self._counts[at]
        table = np.empty((2, len(reference)), np.int64)
        table[0, :-1] = window.searchsorted(values, "right") - window.searchsorted(values, "left")
        table[0, -1] = len(window) - table[0, :-1].sum()
        table[1] = reference
        return _with_apart(table[:, :-1], values, window) if apart and table[0, -1] else table


def _with_apart(table: Table, values: Vector, window: Vector) -> Table:
    """With a cell for each value of a sorted window that is none of `values`, all in the order of their values: no cell
    is told by its place which sample it comes from."""
    unseen = np.setdiff1d(window, values)
    rows = window.searchsorted(unseen, "right") - window.searchsorted(unseen, "left")
    added = np.stack([rows, np.zeros_like(rows)])
    return np.hstack([table, added])[:, np.argsort(np.concatenate([values, unseen]), kind="stable")]


class CategoryColumns:
    """The chi-squared test against one reference."""

    def __init__(self, reference: ReferenceColumns) -> None:
        self._cells = Cells(reference)

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """Pearson's statistics and p-values of sorted columns of shape (d, n), each of shape (d,), over rows worth one
        by `effects`."""
        tables = self._cells.tables(window, effects, apart=True)
        statistics, p_values = np.array([chi_squared.test(table) for table in tables]).T
        return statistics, p_values


class BinaryColumns:
    """Fisher's exact test against one reference, of columns that have two values, or one; of more, of the two that most
    of the reference's rows have."""

    def __init__(self, reference: ReferenceColumns, alternative: Alternative) -> None:
        self._cells = Cells(reference)
        self._alternative = alternative

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """By how much the shares of the larger value differ, and p-values, of sorted columns of shape (d, n): each of
        shape (d,), over rows worth one by `effects`."""
        tables = [_of_two(table) for table in self._cells.tables(window, effects)]
        return np.array([_moved(table) for table in tables]), np.array([self._p_value(table) for table in tables])

    def _p_value(self, table: Table) -> float:
        """Values of neither kind, where there are any, have half the level, and the two kinds the other half."""
        binary = 1.0
        if table.shape[1] == 3 and table[0, :-1].any():
            known = table[:, :-1]
            drawn, marked = int(known[0].sum()), int(known[:, 1].sum())
            binary = hypergeometric.p_value(int(known[0, 1]), drawn, marked, int(known.sum()), self._alternative)
        strange, usual = (int(count) for count in table[:, -1])
        if not strange and not usual:
            return binary
        sides = Alternative.TWO_SIDED if usual else Alternative.GREATER
        strangely = hypergeometric.p_value(strange, int(table[0].sum()), strange + usual, int(table.sum()), sides)
        return min(1.0, 2 * binary, 2 * strangely)


def _of_two(table: Table) -> Table:
    """Of a table of more than two known values the two of the most rows of the reference, in their order, and all
    others as strange."""
    known = table.shape[1] - 1
    if known <= 2:
        return table
    chosen = np.sort(np.argsort(-table[1, :-1], kind="stable")[:2])
    others = table.sum(axis=1) - table[:, chosen].sum(axis=1)
    return np.column_stack([table[:, chosen], others])


def _moved(table: Table) -> float:
    """The larger value is a constant column's only one where there are no two."""
    window, reference = table[:, -2] / table.sum(axis=1)
    return abs(float(window - reference))
