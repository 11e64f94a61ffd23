"""`ddm`: how far the error rate has risen above the lowest that it was, in the deviations of then.

Source: Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004; river's `DDM` as the oracle.
It starts from the reference's error rate as if `warm_start` rows had shown it, not from none: without that a first
stretch free of errors makes any later error an alarm. It starts so again after `horizon` rows, since a mean over ever
more rows would move ever less. Errors need not be 0 or 1: the deviation is that of their mean.
Invariant: only more errors raise the statistic; fewer never do.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Execution, Matrix, Sample, State, Vector, WindowFitContext
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.single_column import SingleColumn, one_column, varying
from wayside.detectors.kinds.sequential.worlds import Plan
from wayside.eventing.errors import ConfigurationError

_BLOCKS = 16
_STREAMS = 1024


@dataclass(frozen=True, slots=True)
class DdmOptions:
    """`warm_start` rows of the reference's error rate stand before the first; after `horizon` rows it starts anew."""

    warm_start: int = 100
    horizon: int = 4096

    def __post_init__(self) -> None:
        if not 2 <= self.warm_start <= 1 << 20:
            raise ConfigurationError(f"warm_start is {self.warm_start}: give 2 to {1 << 20} rows")
        if not 256 <= self.horizon <= 1 << 16:
            raise ConfigurationError(f"horizon is {self.horizon}: give 256 to {1 << 16} rows")


class DriftDetectionMethod(SingleColumn):
    """`moments` are the mean error and the mean squared error of the reference."""

    kind: ClassVar[str] = "ddm"
    summary: ClassVar[str] = "errors one by one: how far their rate has risen above its lowest (DDM)"
    options: ClassVar[type[DdmOptions]] = DdmOptions

    def __init__(self, options: DdmOptions, moments: Vector, run_lengths: RunLengths) -> None:
        self._options = options
        self._moments = moments
        self._run_lengths = run_lengths

    @classmethod
    def fit(cls, reference: Sample, options: DdmOptions, context: WindowFitContext) -> Self:
        errors = varying(cls.kind, one_column(cls.kind, reference.rows))
        moments = np.array([errors.mean(), (errors**2).mean()])
        unmeasured = cls(options, moments, RunLengths.unmeasured())
        plan = Plan(_STREAMS, _BLOCKS, -(-options.horizon // _BLOCKS))
        return cls(options, moments, unmeasured.measure(errors, plan, context))

    def begin(self, streams: int) -> Arrays:
        rows = float(self._options.warm_start)
        mean, square = self._moments.tolist()
        deviation = np.sqrt((square - mean**2) / rows)
        sums = np.repeat([[rows], [rows * mean], [rows * square]], streams, axis=1)
        return {"sums": sums, "lowest": np.repeat([[mean + deviation], [deviation]], streams, axis=1)}

    def follow(self, memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
        end = self._options.warm_start + self._options.horizon
        found, at = np.full(values.shape[1], -np.inf), 0
        while at < len(values):
            rows = min(len(values) - at, end - int(memory["sums"][0, 0]))
            peaks, memory = advance(memory, values[at : at + rows])
            found, at = np.maximum(found, peaks), at + rows
            if memory["sums"][0, 0] >= end:
                memory = self.begin(values.shape[1])
        return found, memory

    def settling_rows(self, level: float, window_rows: int) -> int:
        """As many as outweigh the reference four to one."""
        return 4 * self._options.warm_start

    def state(self) -> State:
        return self.kept({"options": [self._options.warm_start, self._options.horizon], "moments": self._moments})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        warm_start, horizon = state.arrays["options"].tolist()
        options = DdmOptions(int(warm_start), int(horizon))
        return cls(options, state.arrays["moments"], RunLengths.restore(state.arrays, "runs"))


def advance(memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
    """The recurrence alone, over values (rows, streams): how many deviations the rate was, at most, above its lowest.

    `sums` (3, streams) are rows, errors and their squares; `lowest` (2, streams) rate and deviation together where they
    were lowest, and that deviation.
    """
    rows = memory["sums"][0] + np.arange(1, len(values) + 1)[:, None]
    errors, squares = memory["sums"][1] + values.cumsum(axis=0), memory["sums"][2] + (values**2).cumsum(axis=0)
    rate = errors / rows
    deviation = np.sqrt(np.maximum(squares / rows - rate**2, 0.0) / rows)
    upper, deviations = (
        np.vstack([memory["lowest"][:1], rate + deviation]),
        np.vstack([memory["lowest"][1:], deviation]),
    )
    lowest = np.minimum.accumulate(upper, axis=0)
    places = np.maximum.accumulate(np.where(upper <= lowest, np.arange(len(upper))[:, None], 0), axis=0)
    then = np.take_along_axis(deviations, places, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        risen = np.where(upper > lowest, (upper - lowest) / then, 0.0) + 1.0
    sums = np.stack([rows[-1] + np.zeros(values.shape[1]), errors[-1], squares[-1]])
    return risen[1:].max(axis=0), {"sums": sums, "lowest": np.stack([lowest[-1], then[-1]])}
