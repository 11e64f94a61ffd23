"""Rows that miss a value: they stay, or are left out of the test and counted, by what the detector was told.

Invariant: no row that the detector cannot take reaches it, and every row that is left out is counted; where most of a
window's rows would be, the window is not judged.
"""

from dataclasses import dataclass

import numpy as np

from wayside.detectors.drift.settings import MissingValues
from wayside.detectors.kinds.protocol import Matrix, Sample
from wayside.eventing.window_findings import MissingRows

_MOST_DROPPED = 0.5
"""Of a window's rows. What is left of a window that loses more is a choice of rows, not a sample of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The rows that are tested; how many miss a value, None where none does; why they are not tested, if they are not.

    `kept` says of each row of the window whether it is among them.
    """

    sample: Sample
    kept: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    missing: MissingRows | None
    error: str | None


@dataclass(frozen=True, slots=True)
class RowChoice:
    """What of a window is tested. `takes_missing` says that the detector takes values that are missing."""

    policy: MissingValues
    takes_missing: bool
    least_rows: int

    def choose(self, coded: Matrix, sample: Sample) -> Whole:
        """Of coded rows and what the transform made of them. An infinite feature is dropped like one that is absent,
        where the detector does not take it."""
        misses = np.isnan(coded).any(axis=1)
        kept = np.ones(len(coded), np.bool_)
        if not self.takes_missing:
            kept &= np.isfinite(sample.rows).all(axis=1)
        if self.policy is MissingValues.DROP:
            kept &= ~misses
        dropped = len(kept) - int(kept.sum())
        counted = int((misses | ~kept).sum())
        missing = MissingRows(counted, dropped) if counted else None
        rows = sample if not dropped else sample.take(kept)
        return Whole(rows, kept, missing, self._error(len(kept), dropped))

    def _error(self, rows: int, dropped: int) -> str | None:
        if dropped > _MOST_DROPPED * rows:
            return f"{dropped} of {rows} rows miss a value that the test needs: over half of them"
        if rows - dropped < self.least_rows:
            return f"{rows - dropped} rows to test, and {self.least_rows} are the least"
        return None
