"""Large batches in blocks of bounded size, padded so that a row's result does not depend on its block.

Source: onnxruntime's MLAS multiplies a matrix of one row by another kernel than one of several, and all others by one;
elementwise kernels take 4 values or more at a time. Measured: bits are equal in every batch from 2 rows on.
Invariant: a runner only ever sees a multiple of `PADDING_ROWS` rows, and at most `BLOCK_ROWS` of them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, OutOfMemory

PADDING_ROWS = 4
BLOCK_ROWS = 1024  # what it needs stays near the core; more rows at once are no faster
LEAST_BLOCK_ROWS = 16

Floats = NDArray[np.float32]
Runner = Callable[[Floats], Floats]


def run_in_blocks(run: Runner, rows: Matrix, block_rows: int = BLOCK_ROWS) -> Floats:
    """`run` over rows of shape (n, d) in blocks; n results in order, n ≥ 1.

    A block that does not fit into the device's memory is tried again in halves, down to `LEAST_BLOCK_ROWS`; then
    `OutOfMemory` is raised.
    """
    count = len(rows)
    if count <= block_rows:
        return _run_or_halve(run, rows, block_rows)
    starts = range(0, count, block_rows)
    return np.concatenate([_run_or_halve(run, rows[at : at + block_rows], block_rows) for at in starts])


def _run_or_halve(run: Runner, rows: Matrix, block_rows: int) -> Floats:
    try:
        return run(padded(rows))[: len(rows)]
    except OutOfMemory:
        tried = min(block_rows, len(rows))
        if tried <= LEAST_BLOCK_ROWS:
            raise
    smaller = max(LEAST_BLOCK_ROWS, tried // 2 // PADDING_ROWS * PADDING_ROWS)
    return run_in_blocks(run, rows, smaller)


def padded(rows: Matrix) -> Floats:
    """The rows as float32, zeros after them up to a multiple of `PADDING_ROWS`. What overflows becomes infinite."""
    count, width = rows.shape
    block = np.zeros((-(-count // PADDING_ROWS) * PADDING_ROWS, width), np.float32)
    with np.errstate(over="ignore"):
        block[:count] = rows
    return block
