"""How often a statistic that is followed row by row reaches a height where nothing drifts, as a small table.

Source: Page, "Continuous inspection schemes", Biometrika 41 (1954), for run lengths; Cobb, Van Looveren and Klaise,
"Sequential multivariate change detection with calibrated and memoryless false detection rates", AISTATS 2022, for
estimating them on resampled reference rows among the streams that have raised no alarm before.
Invariant: the rate never rises with the height. Beyond what was simulated it falls log-linearly, 5 % more slowly than
the simulated tail does.
"""

from dataclasses import dataclass
from functools import cached_property
from math import expm1, inf, log, log1p
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector
from wayside.detectors.kinds.sequential.worlds import Simulated

_GRID = 48
_ANCHOR = 100  # alarms at the height from which on the table is continued: a tenth is the error of its rate
_SPREAD = 300  # alarms at the height at which worlds are compared
_TAIL = 1000  # alarms at the height that the tail's slope is taken from
_SHADE = 0.95
_FEWEST = 5  # alarms that say anything of a tail


@dataclass(frozen=True, eq=False)
class RunLengths:
    """At the rising `heights` (k,), the log of the rate of first passages a row, `log_rates` (k,), none above 0.

    Above the last height the log falls by `slope` ≥ 0 a unit of height.
    """

    heights: Vector
    log_rates: Vector
    slope: float

    def __post_init__(self) -> None:
        shapes = self.heights.shape, self.log_rates.shape
        if len(set(shapes)) > 1 or self.heights.ndim != 1 or not self.heights.size:
            raise ValueError(f"run lengths have shapes {shapes}")
        if (np.diff(self.heights) <= 0).any() or (np.diff(self.log_rates) > 0).any() or not self.slope >= 0:
            raise ValueError("run lengths' heights do not rise, or their rates do")

    @classmethod
    def measured(cls, simulated: Simulated, shade: float = _SHADE, raised: float = 1.0) -> Self:
        """From simulated streams with one statistic each, which count up to their first passage.

        Where worlds differ in their rates, so do references: the rate is raised by half of their deviation, so that
        fewer references are unlucky enough to give twice the false alarms that were asked for; `raised` times at least,
        for a statistic whose rate hangs on rare rows that no resample of a reference without them can show.
        """
        peaks, block_rows = simulated.peaks, simulated.block_rows
        records = np.maximum.accumulate(peaks, axis=0)
        heights = _heights(peaks[1:])
        crossed = np.array([((records[-1] >= h) & (records[0] < h)).sum() for h in heights])
        exposed = np.array([(records[:-1] < h).sum() for h in heights])
        if crossed.max() < _FEWEST:
            return cls._unreached(float(peaks.max()), peaks[1:].size * block_rows)
        told = crossed >= _FEWEST
        rates = -np.log1p(-np.minimum(crossed / np.maximum(exposed, 1), 1 - 1e-9)) / block_rows
        rates *= max(raised, 1 + _spread(records, heights, crossed, simulated.worlds) / 2)
        log_rates = np.maximum.accumulate(np.log(np.clip(rates, 1e-300, 1.0))[::-1])[::-1]
        return cls._continued(heights[told], log_rates[told], crossed[told], shade)

    @classmethod
    def unmeasured(cls) -> Self:
        """What stands in until they are: any height is reached at once."""
        return cls(np.zeros(1), np.zeros(1), 0.0)

    @classmethod
    def _unreached(cls, height: float, rows: int) -> Self:
        """Where nothing rose above a height in so many rows, what does may do so once in as many."""
        return cls(np.array([height, np.nextafter(height, np.inf)]), np.array([0.0, -np.log(rows)]), 0.0)

    @classmethod
    def _continued(cls, heights: Vector, log_rates: Vector, crossed: NDArray[np.intp], shade: float) -> Self:
        """Cut where alarms become too few to tell a rate, and continued by the slope before."""
        # among low heights streams that never were below are no passages: alarms first rise with the height
        top = int(crossed.argmax())
        anchor = top + int(np.flatnonzero(crossed[top:] >= min(_ANCHOR, crossed.max()))[-1])
        many = np.flatnonzero(crossed[top : anchor + 1] >= min(_TAIL, crossed[top]))
        base = top + int(many[-1])
        if base == anchor:  # few streams: the tail is all that is told
            base, anchor = (anchor, len(heights) - 1) if anchor < len(heights) - 1 else (0, anchor)
        run = heights[anchor] - heights[base]
        slope = (log_rates[base] - log_rates[anchor]) / run if run > 0 else 0.0
        return cls(heights[: anchor + 1], log_rates[: anchor + 1], float(shade * slope))

    def described(self, level: float, rows: int) -> str:
        """What a level of windows of so many rows means, for people."""
        return (
            f"at {level:g} a window of {rows} rows the statistic reaches {self.height(level, rows):.4g}; where nothing "
            f"drifts, the expected run time until it does is {-rows / log1p(-level):,.0f} rows, by streams resampled "
            "from the reference, whose own chance is allowed for"
        )

    def log_rate(self, height: Array) -> Array:
        """The log of the rate a row at which a height is first reached, of any shape."""
        inside = np.interp(height, self.heights, self.log_rates)
        return np.asarray(inside - self.slope * np.maximum(height - self.heights[-1], 0.0))

    def p_value(self, height: float, rows: int) -> float:
        """The chance that a window of so many rows reaches the height."""
        return float(-expm1(-rows * float(np.exp(self.log_rate(np.array(height))))))

    def height(self, level: float, rows: int) -> float:
        """The height that a window of so many rows reaches with chance `level`."""
        return self.height_at(log(-log1p(-level) / rows))

    def height_at(self, log_rate: float) -> float:
        """The height that is reached at a rate a row; infinite where none is seen to be as rare."""
        if log_rate < self.log_rates[-1]:
            if self.slope == 0:
                return inf
            return float(self.heights[-1] + (self.log_rates[-1] - log_rate) / self.slope)
        return float(np.interp(-log_rate, -self.log_rates, self.heights))

    def arrays(self, name: str) -> Arrays:
        """As a state holds them, under names that begin with `name`."""
        return {f"{name}.heights": self.heights, f"{name}.log_rates": self.log_rates, f"{name}.slope": self._slope}

    @cached_property
    def _slope(self) -> Vector:
        return np.array([self.slope])

    @classmethod
    def restore(cls, arrays: Arrays, name: str) -> Self:
        """What `arrays` gave. Raises `KeyError` or `ValueError`."""
        (slope,) = arrays[f"{name}.slope"].tolist()
        return cls(arrays[f"{name}.heights"], arrays[f"{name}.log_rates"], slope)


def _heights(peaks: Matrix) -> Vector:
    """Where the rate is told: heights that ever fewer of the blocks reach, down to a few."""
    values = np.sort(peaks, axis=None)
    shares = np.geomspace(1.0, min(1.0, _FEWEST / len(values)), _GRID)
    places = np.minimum((len(values) * (1 - shares)).astype(np.intp), len(values) - 1)
    heights: Vector = np.unique(values[places])
    return heights


def _spread(records: Matrix, heights: Vector, crossed: NDArray[np.intp], worlds: int) -> float:
    """By how much worlds differ in their rates, as a share of the rate, beyond what chance makes of one.

    It is told at the height that is reached rarely, but often enough to tell. A stream that has passed is at risk no
    more: each world's passages are held against those to be expected of the blocks in which it still was.
    """
    enough = np.flatnonzero(crossed >= min(_SPREAD, crossed.max()))
    height = heights[enough[-1]]
    at_risk = records[:-1] < height
    passed = (records[-1] >= height) & at_risk[0]
    counts = passed.reshape(-1, worlds).sum(axis=0)
    exposed = at_risk.sum(axis=0).reshape(-1, worlds).sum(axis=0)
    expected = exposed * (counts.sum() / exposed.sum())
    excess = float(((counts - expected) ** 2 - expected).sum() / (expected**2).sum())
    return float(np.sqrt(max(0.0, excess)))
