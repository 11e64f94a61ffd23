"""The chi-squared test of two samples over cells, never anti-conservative: not with few rows a cell, not in the tail.

Source: Pearson (1900); Wilks, "The likelihood test of independence in contingency tables", Annals of Mathematical
Statistics 6 (1935); Cochran, "Some methods for strengthening the common χ² tests", Biometrics 10 (1954), for the
pooling of rare cells.
Given both margins, the counts are hypergeometric. Pearson's X² has too heavy a tail where counts are small (with 5 rows
expected in a cell its p-value of 1e-6 comes 27 times too often), the likelihood ratio G the right one, but is some 1.6
times too large in the middle. The larger of the two p-values errs in neither: exact counts over all tables of 3 and 4
cells show 0.4 to 1 times its level, from 1e-1 down to 1e-7.
Invariant: where both samples come from one population, P(p ≤ a) ≤ a for every a, given the margins. What cells are
pooled, and how the level is split, depends on the margins alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, xlogy

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.two_sample import hypergeometric

Table = NDArray[np.int64]
"""Counts of shape (2, k): the window's rows in each cell, and the reference's."""

_LEAST_EXPECTED = 5.0
_RARE_SHARE = 0.1  # of the level, for whether the rare cells together have become more or fewer


def test(table: Table) -> tuple[float, float]:
    """Pearson's X² over all cells that either sample has rows in, 0 where there is one, and whether both may be of one
    population.

    Cells in which fewer than 5 of the window's rows are expected are rare. They are pooled in the order of their rows,
    until 5 are expected in each group; a rest goes to the last group. Where all rare cells together come to fewer than
    5, they have an exact test of their own at a tenth of the level, and the table is that of the other rows. Two cells
    are tested exactly.
    """
    table = table[:, table.any(axis=0)]
    if not table.any(axis=1).all():
        return 0.0, 1.0
    expected = _expected(table)
    statistic = _pearson(table, expected)
    rare = expected[0] < _LEAST_EXPECTED
    if rare.any():
        return statistic, _rare_p_value(table, expected[0], rare)
    return statistic, _p_value(table)


def _rare_p_value(table: Table, expected: Vector, rare: NDArray[np.bool_]) -> float:
    common = table[:, ~rare]
    if expected[rare].sum() >= _LEAST_EXPECTED:
        return _p_value(np.hstack([common, _grouped(table[:, rare], expected[rare])]))
    apart = table[:, rare].sum(axis=1, keepdims=True)
    rarely = _two_cells(np.hstack([apart, table.sum(axis=1, keepdims=True) - apart]))
    if common.shape[1] < 2:
        return rarely
    return min(1.0, rarely / _RARE_SHARE, _p_value(common) / (1 - _RARE_SHARE))


def _grouped(table: Table, expected: Vector) -> Table:
    """Cells of few rows as groups of enough, those of the most rows first."""
    order = np.argsort(-expected, kind="stable")
    upto = np.cumsum(expected[order])
    starts, begun = [0], 0.0
    for at, reached in enumerate(upto[:-1]):
        if reached - begun >= _LEAST_EXPECTED and upto[-1] - reached >= _LEAST_EXPECTED:
            starts.append(at + 1)
            begun = float(reached)
    return np.add.reduceat(table[:, order], starts, axis=1)


def _p_value(table: Table) -> float:
    cells = table.shape[1]
    if cells < 2:
        return 1.0
    if cells == 2:
        return _two_cells(table)
    expected = _expected(table)
    likelihood = 2.0 * float(xlogy(table, table / expected).sum())
    return float(chdtrc(cells - 1, min(_pearson(table, expected), likelihood)))


def _two_cells(table: Table) -> float:
    drawn, marked = int(table[0].sum()), int(table[:, 0].sum())
    return hypergeometric.p_value(int(table[0, 0]), drawn, marked, int(table.sum()))


def _expected(table: Table) -> Matrix:
    sizes = table.sum(axis=1)
    expected: Matrix = np.outer(sizes, table.sum(axis=0)) / max(int(sizes.sum()), 1)
    return expected


def _pearson(table: Table, expected: Matrix) -> float:
    return float(((table - expected) ** 2 / expected).sum())
