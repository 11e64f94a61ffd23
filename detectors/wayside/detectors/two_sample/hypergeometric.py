"""Fisher's exact test: the chance of a count among rows drawn without replacement, however far out.

Source: Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98 (1935).
Invariant: probabilities are summed from the smallest on, none is taken from 1, so that small ones keep their digits.
"""

from enum import StrEnum
from math import sqrt

import numpy as np

from wayside.detectors.kinds.protocol import Vector

_TIED = 1e-9  # probabilities that differ by less, relatively, are equal ones
_DEVIATIONS, _MARGIN = 9.0, 40  # what lies further from the mean than that, and than the count, adds below 1e-15 of it


class Alternative(StrEnum):
    """What is taken as evidence: any change, or a larger or a smaller share in the window."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    LESS = "less"


def p_value(count: int, drawn: int, marked: int, total: int, alternative: Alternative = Alternative.TWO_SIDED) -> float:
    """Of `count` marked rows among `drawn` rows, where `marked` of `total` rows are.

    Two-sided, it is the chance of all counts that are no likelier, as scipy's `fisher_exact` has it.
    """
    if marked in (0, total) or drawn in (0, total):
        return 1.0
    counts = _support(count, drawn, marked, total)
    chances = _chances(counts, drawn, marked, total)
    if alternative is Alternative.GREATER:
        chosen = counts >= count
    elif alternative is Alternative.LESS:
        chosen = counts <= count
    else:
        chosen = chances <= chances[count - int(counts[0])] * (1 + _TIED)
    return min(1.0, float(np.sort(chances[chosen]).sum()))


def _support(count: int, drawn: int, marked: int, total: int) -> Vector:
    mean = drawn * marked / total
    reach = int(1.5 * abs(count - mean) + _DEVIATIONS * sqrt(mean * (1 - marked / total)) + _MARGIN)
    least = max(0, drawn + marked - total, int(mean) - reach)
    return np.arange(least, min(drawn, marked, int(mean) + reach) + 1, dtype=np.float64)


def _chances(counts: Vector, drawn: int, marked: int, total: int) -> Vector:
    """By the ratio of each to the one before, and their sum."""
    before = counts[:-1]
    ratios = (marked - before) * (drawn - before) / ((before + 1) * (total - marked - drawn + before + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    chances: Vector = np.exp(logs - logs.max())
    chances /= chances.sum()
    return chances
