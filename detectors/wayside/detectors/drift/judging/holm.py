"""Holm's step-down correction: which of several p-values are told as drift, at one level for all of them.

Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
Invariant: whatever the dependence between them, the chance that any true hypothesis is told is at most the level; an
adjusted p-value is at most the level exactly where Holm rejects at that level.
"""

import numpy as np

from wayside.detectors.kinds.protocol import Vector


def adjusted(p_values: Vector) -> Vector:
    """The least level at which Holm rejects each, shape (n,), in the order given, none above 1."""
    order = np.argsort(p_values, kind="stable")
    steps = np.arange(len(p_values), 0, -1) * p_values[order]
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return found
