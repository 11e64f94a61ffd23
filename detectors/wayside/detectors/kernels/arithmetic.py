"""The few products that kernel tests are made of, in numpy; `on_keras` has the same on a GPU.

Source: Gretton et al., "A kernel two-sample test", JMLR 13 (2012), for the kernel and its bandwidth.
Invariant: products are of float32, sums of them of float64, and equal arguments give equal bits on one thread.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector

Floats = NDArray[np.float32]

_FARTHEST = 1e30  # what overflows is as far as anything can be: its kernel value is 0
_MEDIAN_ROWS = 1000


class Arithmetic(Protocol):
    """Of rows (n, d) of float32, and k(x, y) = exp(-|x - y|² / 2 width²)."""

    def kernel(self, x: Floats, y: Floats, width: float) -> Floats:
        """k(x_i, y_j), shape (n, m)."""

    def sums(self, x: Floats, y: Floats, width: float) -> Vector:
        """Σ_j k(x_i, y_j) of each row of `x`, shape (n,)."""

    def quadratics(self, x: Floats, width: float, members: Floats) -> Matrix:
        """Of `members` (n, p), 0 or 1: Σ_ij k(x_i, x_j) by column, i ≠ j, over both in, shape (2, p) in row 0; and over
        i in and j any in row 1."""

    def product(self, x: Floats, y: Floats) -> Floats:
        """The matrix product."""


class NumpyArithmetic:
    """On the processor, by the BLAS that numpy has."""

    def kernel(self, x: Floats, y: Floats, width: float) -> Floats:
        values = squared_distances(x, y)
        values *= np.float32(-0.5 / width**2)
        found: Floats = np.exp(values, out=values)
        return found

    def sums(self, x: Floats, y: Floats, width: float) -> Vector:
        total: Vector = self.kernel(x, y, width).sum(axis=1, dtype=np.float64)
        return total

    def quadratics(self, x: Floats, width: float, members: Floats) -> Matrix:
        kernel = self.kernel(x, x, width)
        np.fill_diagonal(kernel, 0.0)
        reached = kernel @ members
        within = np.einsum("ij,ij->j", reached, members, dtype=np.float64)
        return np.stack([within, reached.sum(axis=0, dtype=np.float64)])

    def product(self, x: Floats, y: Floats) -> Floats:
        with np.errstate(over="ignore", invalid="ignore"):
            found: Floats = x @ y
        return found


def squared_distances(x: Floats, y: Floats) -> Floats:
    """|x_i - y_j|², (n, m), from a product: rows are near their centre, lest digits cancel. None below 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = x @ (np.float32(-2.0) * y).T
        values += np.einsum("ij,ij->i", x, x)[:, None]
        values += np.einsum("ij,ij->i", y, y)
    np.nan_to_num(values, copy=False, nan=_FARTHEST, posinf=_FARTHEST, neginf=_FARTHEST)
    found: Floats = np.maximum(values, np.float32(0.0), out=values)
    return found


def median_width(rows: Floats) -> float:
    """The median heuristic: √(median |x - y|² / 2) over pairs of different rows, of at most 1000 of them.

    Where half of the pairs coincide, it is taken over those that do not; 1 where all do.
    """
    some = rows[:_MEDIAN_ROWS]
    squared = squared_distances(some, some)[np.triu_indices(len(some), 1)].astype(np.float64)
    rounding = 1e-5 * max(1e-30, float(np.einsum("ij,ij->i", some, some).max(initial=0.0)))
    apart = squared[squared > rounding]
    median = float(np.median(squared)) if len(squared) else 0.0
    if median <= rounding:
        median = float(np.median(apart)) if len(apart) else 2.0
    return float(np.sqrt(median / 2.0))
