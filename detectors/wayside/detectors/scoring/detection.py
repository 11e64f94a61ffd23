"""How well windows tell drift on a stream whose drifted rows are known: delay, missed drifts, false alarms.

Source: delays and false alarms are counted as for change points: Basseville and Nikiforov, "Detection of abrupt
changes" (1993), §1.4: from the first drifted row to the end of the first window that tells it.
Invariant: a window that holds no drifted row and is flagged is a false alarm, whatever came before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Detection:
    """`delays` are rows, one a stretch of drifted rows that was told; `ordinary` windows hold no drifted row."""

    stretches: int
    delays: tuple[int, ...]
    ordinary: int
    false_alarms: int

    @classmethod
    def of(cls, drifted: NDArray[np.bool_], windows: Sequence[Ranges], flagged: Sequence[bool]) -> "Detection":
        """Of rows in their order, shape (n,), and of the windows' rows with what was said of each."""
        before = np.concatenate([[0], np.cumsum(drifted)])
        holds = [any(before[end] > before[first] for first, end in ranges) for ranges in windows]
        told = [ranges for ranges, is_flagged in zip(windows, flagged, strict=True) if is_flagged]
        starts, ends = _stretches(drifted)
        delays = [_delay(first, end, told) for first, end in zip(starts, ends, strict=True)]
        return cls(
            len(starts),
            tuple(delay for delay in delays if delay is not None),
            holds.count(False),
            sum(is_flagged and not holding for is_flagged, holding in zip(flagged, holds, strict=True)),
        )

    def lines(self) -> list[str]:
        """For people."""
        found = f"{len(self.delays)} of {self.stretches} stretches of drifted rows told"
        delay = f", after {float(np.median(self.delays)):.0f} rows (median)" if self.delays else ""
        alarms = f"{self.false_alarms} false alarms in {self.ordinary} windows without a drifted row"
        return [f"{found}{delay}", alarms]


def _stretches(drifted: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    edges = np.diff(np.concatenate([[False], drifted, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()


def _delay(first: int, end: int, told: Sequence[Ranges]) -> int | None:
    """From a stretch's first row to the last one of the first window that is told and holds a row of it."""
    for ranges in told:
        if any(begin < end and stop > first for begin, stop in ranges):
            return max(stop for _, stop in ranges) - first
    return None
