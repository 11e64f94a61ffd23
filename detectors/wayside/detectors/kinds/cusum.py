"""`cusum`: cumulative sums of every column's normal scores, both ways, starting again where they would fall below 0.

Source: Page, "Continuous inspection schemes", Biometrika 41 (1954). On ranks, so that neither heavy tails nor units
matter (Bakir and Reynolds, Technometrics 21 (1979), for rank CUSUMs); run lengths by resampling the reference.
Invariant: the path over a stream does not hang on where its windows are cut, beyond rounding.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import (
    Array,
    Arrays,
    Execution,
    Matrix,
    Sample,
    State,
    Vector,
    WindowFitContext,
    WindowTest,
)
from wayside.detectors.kinds.sequential.columns import Columns
from wayside.detectors.kinds.sequential.detector import RunLengthDetector, bounded_rows
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.scores import ColumnScores
from wayside.detectors.kinds.sequential.worlds import Indices, Plan, simulate
from wayside.eventing.errors import ConfigurationError

_LEAST_REFERENCE = 500


@dataclass(frozen=True, slots=True)
class CusumOptions:
    """`allowance` is half the shift of a column's mean, in its standard deviations, that is to be found fastest."""

    allowance: float = 0.25

    def __post_init__(self) -> None:
        if not 0.05 <= self.allowance <= 2.0:
            raise ConfigurationError(f"allowance is {self.allowance:g}: give 0.05 to 2 standard deviations")


class CumulativeSums(RunLengthDetector):
    """Two sums a column; the higher of them is what it reaches."""

    kind: ClassVar[str] = "cusum"
    summary: ClassVar[str] = "rows one by one: CUSUM of every column's normal scores, both ways"
    options: ClassVar[type[CusumOptions]] = CusumOptions
    takes_missing: ClassVar[bool] = True
    takes_categories: ClassVar[bool] = True
    transform: ClassVar[str] = "columns"

    def __init__(self, allowance: float, scores: ColumnScores, columns: Columns) -> None:
        self._allowance = allowance
        self._scores = scores
        self._columns = columns

    @property
    def features(self) -> int:
        return len(self._scores.knots)

    @classmethod
    def fit(cls, reference: Sample, options: CusumOptions, context: WindowFitContext) -> Self:
        rows = reference.rows
        if len(rows) < _LEAST_REFERENCE:
            raise ConfigurationError(f"cusum needs {_LEAST_REFERENCE} reference rows or more, there are {len(rows)}")
        scores = ColumnScores.of(rows, context.categories)
        pool = np.concatenate([scores.look_up(rows), scores.extremes])
        plan = Plan.of_cost(pool.shape[1])

        def walk(sums: Array, drawn: Indices) -> tuple[Array, Array]:
            return follow(pool[drawn], sums, options.allowance)

        def start(streams: int) -> Array:
            return np.zeros((streams, 2, pool.shape[1]))

        simulated = simulate(walk, start, len(pool), plan, context.seed, context.progress)
        return cls(options.allowance, scores, Columns.measured(simulated))

    def memory(self) -> Arrays:
        return {"sums": np.zeros((2, self.features))}

    @property
    def run_lengths(self) -> RunLengths:
        return self._columns.together

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Twice what a shift of two allowances takes on average to be found in the column that takes longest."""
        heights = self._columns.heights(level, window_rows)
        return bounded_rows(2 * heights[np.isfinite(heights)].max(initial=0.0) / self._allowance)

    def _walk(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        peaks, sums = follow(self._scores.look_up(rows), memory["sums"], self._allowance)
        return peaks, {"sums": sums}

    def _outcome(self, peaks: Vector, rows: int) -> WindowTest:
        return self._columns.outcome(peaks, rows)

    def state(self) -> State:
        return State({"allowance": np.array([self._allowance]), **self._scores.arrays(), **self._columns.arrays()})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        (allowance,) = state.arrays["allowance"].tolist()
        return cls(allowance, ColumnScores.restore(state.arrays), Columns.restore(state.arrays))


def follow(scores: Array, sums: Array, allowance: float) -> tuple[Array, Array]:
    """What the sums of each column reach over rows (n, …, d), n ≥ 1, shape (…, d), and the sums after, (…, 2, d)."""
    up, down = (_path(sign * scores - allowance, sums[..., at, :]) for at, sign in enumerate((1.0, -1.0)))
    return np.maximum(up.max(axis=0), down.max(axis=0)), np.stack([up[-1], down[-1]], axis=-2)


def _path(steps: Array, start: Array) -> Array:
    """s ← max(0, s + step), from `start` on, for all steps along the first axis: the sum of them all, above the lowest
    that it has been, which is at first the start below 0."""
    path = np.cumsum(steps, axis=0)
    lowest = np.minimum.accumulate(path, axis=0)
    path -= np.minimum(lowest, -start, out=lowest)
    return path
