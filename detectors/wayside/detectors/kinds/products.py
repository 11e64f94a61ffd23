"""Matrix products in which a row's result does not depend on the rows beside it.

A BLAS picks its kernel, and with it the order of its sums, by the shape of the matrices.
Invariant: every product has one shape, `BLOCK_ROWS` rows, whatever the batch: equal rows give equal bits.
"""

from collections.abc import Iterator

import numpy as np

from wayside.detectors.kinds.protocol import Matrix

BLOCK_ROWS = 16


def product(rows: Matrix, weights: Matrix) -> Matrix:
    """`rows @ weights`, of shapes (n, d) and (d, m). What overflows comes out as not finite."""
    padded = _padded(rows)
    stacked = padded.reshape(len(padded) // BLOCK_ROWS, BLOCK_ROWS, rows.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        whole: Matrix = np.matmul(stacked, weights)
    return whole.reshape(len(padded), weights.shape[1])[: len(rows)]


def blocks(rows: Matrix) -> Iterator[tuple[slice, Matrix]]:
    """At most `BLOCK_ROWS` rows at a time, with where they lie: for products too wide to hold for a whole batch."""
    for start in range(0, len(rows), BLOCK_ROWS):
        part = slice(start, min(start + BLOCK_ROWS, len(rows)))
        yield part, rows[part]


def _padded(rows: Matrix) -> Matrix:
    count = -(-len(rows) // BLOCK_ROWS) * BLOCK_ROWS
    if count == len(rows):
        return np.ascontiguousarray(rows)
    padded = np.zeros((count, rows.shape[1]))
    padded[: len(rows)] = rows
    return padded
