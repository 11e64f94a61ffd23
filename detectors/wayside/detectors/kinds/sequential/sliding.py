"""Sums over all pairs of rows within a window that slides by one row.

Invariant: each sum is that of its window's pairs alone, whatever came before, beyond rounding.
"""

from collections.abc import Callable

import numpy as np

from wayside.detectors.kinds.protocol import Array


def pair_sums(pair: Callable[[int], Array], rows: int, window: int) -> Array:
    """Sums over the pairs i < j of each window of `window` rows among `rows`, (rows - window + 1, …).

    `pair(lag)` gives the value of each row with the one so many before it, shape (rows - lag, …).
    """
    first = pair(1)
    backward = np.zeros((rows, *first.shape[1:]), first.dtype)
    forward = np.zeros_like(backward)
    for lag in range(1, window):
        values = first if lag == 1 else pair(lag)
        backward[lag:] += values
        forward[: rows - lag] += values
    return from_bands(backward, forward, window)


def from_bands(backward: Array, forward: Array, window: int) -> Array:
    """The same from what each row makes with those before it, and with those after it, within a window's reach.

    A window gains what its new row makes with those before it, and loses what the row that leaves made with the rest.
    """
    sums = np.cumsum(backward, axis=0)[window - 1 :]
    sums[1:] -= np.cumsum(forward, axis=0)[: len(sums) - 1]
    return sums


def row_sums(values: Array, window: int) -> Array:
    """Sums over the rows of each window, (rows - window + 1, …)."""
    upto = np.cumsum(values, axis=0)
    sums = upto[window - 1 :].copy()
    sums[1:] -= upto[: len(sums) - 1]
    return sums
