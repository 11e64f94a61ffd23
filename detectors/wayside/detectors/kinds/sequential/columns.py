"""Many columns followed side by side, each held against how rarely it reaches what it did.

Invariant: the p-value of a window is that of its furthest column as the furthest of them all: columns that move
together cost no power, and one that is heavily tied weighs no more than another.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector, WindowTest
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.worlds import Simulated


class Columns:
    """The run lengths of every column, and of the largest rarity among them: -log of the rate a row at which a column
    reaches what it did."""

    def __init__(self, each: Sequence[RunLengths], together: RunLengths) -> None:
        self.each = each
        self.together = together
        self._heights, self._rarities, self._slopes = _padded(each)

    @classmethod
    def measured(cls, simulated: Simulated, raised: float = 1.0) -> Self:
        """From simulated streams with a statistic a column, `peaks` (blocks, streams, columns); `raised` as
        `RunLengths.measured` has it."""
        peaks = simulated.peaks
        columns = [replace(simulated, peaks=peaks[:, :, at]) for at in range(peaks.shape[2])]
        each = [RunLengths.measured(column, shade=1.0) for column in columns]
        rarest = cls(each, RunLengths.unmeasured()).rarities(peaks).max(axis=-1)
        return cls(each, RunLengths.measured(replace(simulated, peaks=rarest), raised=raised))

    def rarities(self, peaks: Array) -> Array:
        """Of peaks (…, columns), of the same shape."""
        columns = np.arange(len(self.each))
        places = np.zeros(peaks.shape, np.intp)
        for heights in self._heights[:, 1:].T:
            places += peaks >= heights
        from_height = np.maximum(peaks, self._heights[:, 0]) - self._heights[columns, places]
        return np.asarray(self._rarities[columns, places] + self._slopes[columns, places] * from_height)

    def outcome(self, peaks: Vector, rows: int) -> WindowTest:
        """Of the peaks of each column, shape (columns,), in a window of so many rows."""
        rarities = self.rarities(peaks)
        height = float(rarities.max())
        return WindowTest(height, self.together.p_value(height, rows), peaks, -np.expm1(-rows * np.exp(-rarities)))

    def heights(self, level: float, rows: int) -> Vector:
        """What each column reaches in a window of so many rows where all of them do with chance `level`; infinite for
        one that never does."""
        rarity = self.together.height(level, rows)
        return np.array([column.height_at(-rarity) for column in self.each])

    def arrays(self) -> Arrays:
        """As a state holds them: the columns' tables end to end."""
        return {
            **self.together.arrays("together"),
            "each.heights": np.concatenate([column.heights for column in self.each]),
            "each.log_rates": np.concatenate([column.log_rates for column in self.each]),
            "each.slopes": np.array([column.slope for column in self.each]),
            "each.sizes": np.array([len(column.heights) for column in self.each], np.int64),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """What `arrays` gave. Raises `KeyError` or `ValueError`."""
        ends = np.cumsum(arrays["each.sizes"])[:-1]
        heights, rates = np.split(arrays["each.heights"], ends), np.split(arrays["each.log_rates"], ends)
        each = zip(heights, rates, arrays["each.slopes"].tolist(), strict=True)
        return cls([RunLengths(*parts) for parts in each], RunLengths.restore(arrays, "together"))


def _padded(each: Sequence[RunLengths]) -> tuple[Matrix, Matrix, Matrix]:
    """Heights, rarities there, and how these rise up to the next height, (columns, most heights)."""
    most = max(len(column.heights) for column in each)
    heights, rarities, slopes = (
        np.full((len(each), most), np.inf),
        np.zeros((len(each), most)),
        np.zeros((len(each), most)),
    )
    for at, column in enumerate(each):
        count = len(column.heights)
        heights[at, :count], rarities[at, :count] = column.heights, -column.log_rates
        slopes[at, : count - 1] = -np.diff(column.log_rates) / np.diff(column.heights)
        slopes[at, count - 1] = column.slope
    return heights, rarities, slopes
