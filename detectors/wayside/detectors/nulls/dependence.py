"""How alike rows are that lie together: the design effect of windows of a reference, a column each.

Tests of two samples take rows for independent. Traffic is not: an hour's rows share its weather, a batch's rows their
client. Then a window says less than its number of rows, and such a test alarms in nearly every window. The design
effect is by how much: windows of n rows scatter about the reference as n / effect independent ones would.
Source: Kish, "Survey Sampling" (1965), for the term; Rao and Scott, "The analysis of categorical data from complex
sample surveys", JASA 76 (1981), who divide chi-squared by it; the Cramér-von Mises distance of windows, whose mean is
the integral of F(1 - F) / n for independent rows (Anderson and Darling, Ann. Math. Statist. 23, 1952).
Invariant: an effect is at least 1: rows that scatter less than independent ones (a fixed cycle in each window) are no
licence to believe more.
"""

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector

Flags = NDArray[np.bool_]

_GRID = 64  # thresholds a column, at the reference's quantiles
_STEPS = 4  # windows begin every quarter of one: more say no more
_LEAST_WINDOWS = 4  # fewer that do not overlap say nothing of scatter
_FEWEST_ROWS = 2


def design_effects(reference: Matrix, window_rows: int, categories: tuple[int, ...] = ()) -> Vector:
    """One a column, shape (d,), of a reference (m, d) in the order of its time, for windows of so many rows.

    `categories` has the number of categories a column, 0 for numbers; none given are all numbers. NaN is a value of its
    own, the largest. A reference of fewer than four windows is cut into four.
    """
    rows = len(reference)
    size = max(_FEWEST_ROWS, min(window_rows, rows // _LEAST_WINDOWS))
    if rows < _LEAST_WINDOWS * _FEWEST_ROWS:
        return np.ones(reference.shape[1])
    starts = np.arange(0, rows - size + 1, max(1, size // _STEPS))
    return np.array([
        _effect(_places(reference[:, at], at < len(categories) and categories[at] > 0), starts, size)
        for at in range(reference.shape[1])
    ])  # fmt: skip


def _places(values: Vector, is_category: bool) -> Flags:
    """Which thresholds each value is at or below, or which category it is: shape (rows, thresholds) of 0 and 1."""
    known = np.where(np.isnan(values), np.inf, values)
    cells = np.unique(known) if is_category else np.unique(np.quantile(known, _quantiles(), method="lower"))
    flags: Flags = (known[:, None] == cells) if is_category else (known[:, None] <= cells)
    return flags


def _quantiles() -> Vector:
    return (np.arange(_GRID) + 0.5) / _GRID


def _effect(flags: Flags, starts: NDArray[np.intp], size: int) -> float:
    """The mean squared deviation of windows' shares over what independent rows drawn of the reference would have."""
    shares = flags.mean(axis=0)
    expected = float((shares * (1 - shares)).sum()) / size * (1 - size / len(flags))
    if expected <= 0:
        return 1.0  # a constant column
    counts = np.concatenate([np.zeros((1, flags.shape[1])), np.cumsum(flags, axis=0, dtype=np.float64)])
    windows = (counts[starts + size] - counts[starts]) / size
    return max(1.0, float(((windows - shares) ** 2).sum(axis=1).mean()) / expected)
