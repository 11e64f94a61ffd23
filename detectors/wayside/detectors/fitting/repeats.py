"""How many rows have been seen before: what was fitted on is known to a detector, and so no fair test of it.

Source: splitmix64's finalizer (Steele, Lea, Flood 2014), by which rows are told apart in one word each.
Invariant: equal rows are found, a missing value being like another and 0 like -0; among 10 million rows two that differ
are taken for equal with a probability below 1e-5.
"""

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix

Words = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def words_of(rows: Matrix) -> Words:
    """A word for each row of shape (n, c), equal for equal rows: shape (n,)."""
    words: Words = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        plain = np.where(np.isnan(column), np.nan, column + 0.0)
        words = _mixed((words + _STEP) ^ plain.view(np.uint64))
    return words


def count_repeats(words: Words, known: Words) -> int:
    """How many of the rows are among those that are known; where none are, how many were there before."""
    if not len(known):
        return len(words) - len(np.unique(words))
    return int(np.isin(words, known).sum())


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> _SHIFTS[0])) * _FACTORS[0]
    words = (words ^ (words >> _SHIFTS[1])) * _FACTORS[1]
    return words ^ (words >> _SHIFTS[2])
