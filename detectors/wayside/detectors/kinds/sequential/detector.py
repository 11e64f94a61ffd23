"""What the kinds that follow rows one after another share: from the peaks of a window to its outcome.

Invariant: a window's p-value is the chance that, where nothing drifts, as many rows reach within them what these did.
"""

from abc import abstractmethod
from math import ceil
from typing import ClassVar

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, Sample, Vector, WindowDetector, WindowTest
from wayside.detectors.kinds.sequential.run_lengths import RunLengths

_MOST_SETTLING_ROWS = 1 << 20


class RunLengthDetector(WindowDetector):
    """A `SequentialDetector` that says what its columns reach, and how often they would."""

    kind: ClassVar[str]

    @property
    def least_rows(self) -> int:
        return 1

    @abstractmethod
    def memory(self) -> Arrays:
        """What every key starts from."""

    @property
    @abstractmethod
    def run_lengths(self) -> RunLengths:
        """How often the statistic of a window reaches a height where nothing drifts."""

    def run_length(self, level: float, window_rows: int) -> str:
        """See `TellsRunLength`."""
        return self.run_lengths.described(level, window_rows)

    def test(self, window: Sample) -> WindowTest:
        return self.advance(self.memory(), window)[0]

    def advance(self, memory: Arrays, window: Sample) -> tuple[WindowTest, Arrays]:
        """See `SequentialDetector`. Without rows nothing is known against the null, and nothing moves on."""
        held = self._checked(memory)
        if not len(window):
            return WindowTest(0.0, 1.0, np.empty(0), np.empty(0)), memory
        peaks, after = self._walk(held, window.rows)
        return self._outcome(peaks, len(window)), after

    @abstractmethod
    def settling_rows(self, level: float, window_rows: int) -> int:
        """See `SequentialDetector`."""

    @abstractmethod
    def _walk(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        """The highest that each column's statistic was, shape (c,), and the memory after the rows."""

    @abstractmethod
    def _outcome(self, peaks: Vector, rows: int) -> WindowTest:
        """The test's outcome from the peaks of a window of so many rows."""

    def _checked(self, memory: Arrays) -> Arrays:
        """Raises `KeyError` or `ValueError` where a memory is not of this detector."""
        for name, start in self.memory().items():
            if memory[name].shape != start.shape or not np.isfinite(memory[name]).all():
                raise ValueError(f"memory {name!r} has shape {memory[name].shape}, or a value that is not finite")
        return memory


def bounded_rows(rows: float) -> int:
    """Whole rows, and no more of them than an alert can be expected to wait for."""
    return ceil(min(rows, _MOST_SETTLING_ROWS))
