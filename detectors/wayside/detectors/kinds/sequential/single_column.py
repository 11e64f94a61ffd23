"""What the kinds that follow one column share: errors of a model, or p-values of an outlier detector.

Invariant: what is simulated and what is served is one function, `follow`, of many streams or of one.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, State, Vector, WindowFitContext, WindowTest
from wayside.detectors.kinds.sequential.detector import RunLengthDetector
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.worlds import Indices, Plan, simulate
from wayside.eventing.errors import ConfigurationError

_LEAST_REFERENCE = 500


class SingleColumn(RunLengthDetector):
    """One column of finite numbers. A memory's arrays have the streams as their last axis, of which one is served."""

    transform: ClassVar[str] = "columns"
    _run_lengths: RunLengths

    @property
    def run_lengths(self) -> RunLengths:
        return self._run_lengths

    @property
    def features(self) -> int:
        return 1

    @abstractmethod
    def begin(self, streams: int) -> Arrays:
        """The memories that so many streams start from."""

    @abstractmethod
    def follow(self, memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
        """How high each stream's statistic was within `values` (rows, streams), rows ≥ 1, and the memories after."""

    def memory(self) -> Arrays:
        return self.begin(1)

    def _walk(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        return self.follow(memory, rows)

    def _outcome(self, peaks: Vector, rows: int) -> WindowTest:
        height = float(peaks[0])
        p_value = self._run_lengths.p_value(height, rows)
        return WindowTest(height, p_value, peaks, np.array([p_value]))

    def measure(self, pool: Vector, plan: Plan, context: WindowFitContext) -> RunLengths:
        """The run lengths on streams drawn from `pool`, from their first row on."""

        def walk(memory: Arrays, drawn: Indices) -> tuple[Vector, Arrays]:
            return self.follow(memory, pool[drawn])

        simulated = simulate(walk, self.begin, len(pool), plan, context.seed, context.progress)
        fresh = np.full((1, plan.streams), -np.inf)  # none has passed anything before it starts
        return RunLengths.measured(replace(simulated, peaks=np.concatenate([fresh, simulated.peaks])))

    def kept(self, numbers: Mapping[str, Any]) -> State:
        """A state of these numbers and the run lengths."""
        arrays = {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in numbers.items()}
        return State({**arrays, **self._run_lengths.arrays("runs")})


def one_column(kind: str, rows: Matrix) -> Vector:
    """The column that is followed. Raises `ConfigurationError` where there are more, or too few rows."""
    if rows.shape[1] != 1:
        raise ConfigurationError(f"{kind} follows one column, errors or p-values; the reference has {rows.shape[1]}")
    if len(rows) < _LEAST_REFERENCE:
        raise ConfigurationError(f"{kind} needs {_LEAST_REFERENCE} reference rows or more, there are {len(rows)}")
    if not np.isfinite(rows).all():
        raise ConfigurationError(f"{kind} takes finite numbers: leave rows out in which the value is missing")
    column: Vector = rows[:, 0]
    return column


def varying(kind: str, column: Vector) -> Vector:
    """A column that holds two different values, in which alone run lengths can be told."""
    if np.ptp(column) == 0:
        raise ConfigurationError(f"{kind} cannot tell how errors vary: all {len(column)} of the reference are equal")
    return column
