"""From the least p-value of a window's columns to one that holds for the window: how columns move together.

Bonferroni's factor (the number of columns) is right for columns that know nothing of each other. Where they repeat each
other, or hold few values, it asks for far fewer alarms than were allowed, and sees less drift. The factor is therefore
measured, on windows drawn of the reference.
Source: Westfall and Young, "Resampling-Based Multiple Testing" (1993), single-step minP.
Invariant: the p-value is never above Bonferroni's, and never falls as the least p-value rises. Beyond what the drawn
windows can tell the factor grows towards Bonferroni's, since dependence fades in the tail (as it does for Gaussian
copulas: Sibuya, Ann. Inst. Stat. Math. 11, 1960).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Vector

_TAIL = 50  # drawn windows that the tail begins with
_FADE = 0.1  # the factor grows by the p-value to this power: a quarter more each decade


@dataclass(frozen=True, slots=True, eq=False)
class JointNull:
    """`least` (windows,) are the least p-values of windows without drift, rising; `columns` is Bonferroni's factor."""

    least: Vector
    columns: int

    @classmethod
    def of(cls, least: Vector, columns: int) -> Self:
        """From the least p-values of drawn windows in any order, more than fifty."""
        if len(least) <= _TAIL:
            raise ValueError(f"{len(least)} windows tell no tail: give more than {_TAIL}")
        return cls(np.sort(least), columns)

    def p_value(self, least: float) -> float:
        """Of a window whose least p-value of a column is `least`."""
        bonferroni = min(1.0, self.columns * least)
        edge, count = float(self.least[_TAIL]), int(np.searchsorted(self.least, least, "right"))
        if least >= edge:
            return min(bonferroni, (1 + count) / (len(self.least) + 1))
        met = count / (len(self.least) + 1)  # many of them at one value, where values are few
        return min(bonferroni, max(met, self._beyond(least, edge)))

    def _beyond(self, least: float, edge: float) -> float:
        if least <= 0.0:
            return 0.0
        share = (_TAIL + 1) / (len(self.least) + 1)
        return float(share * (least / edge) ** (1 - _FADE))
