"""`adwin`: whether an older and a newer part of all that is remembered of an error stream have different means.

Source: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SIAM SDM 2007 (ADWIN2, with its
exponential histogram and its bound by variance); river's `ADWIN` as the oracle. The statistic is the confidence at
which the paper's test would cut, -log δ, so that the budget sets δ and not the other way round. It starts from the
reference's mean as if `warm_start` rows had shown it, not from none: what drifted before the first row, or lasts after
an alarm, is held against the reference.
Invariant: how remembered rows are grouped follows from how many there were, never from their values.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Execution, Matrix, Sample, State, Vector, WindowFitContext
from wayside.detectors.kinds.sequential.histogram import Histogram
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.single_column import SingleColumn, one_column, varying
from wayside.detectors.kinds.sequential.worlds import Plan
from wayside.eventing.errors import ConfigurationError

_GRACE_ROWS = 10
_STREAMS = 1024
_BLOCK_ROWS = 512


@dataclass(frozen=True, slots=True)
class AdwinOptions:
    """Cuts are looked for every `clock` rows, both parts longer than `min_window_length`; no more than about
    `max_rows` rows are remembered, in at most `max_buckets` groups of each size. `warm_start` rows of the reference's
    mean stand before the first."""

    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    max_rows: int = 4096
    warm_start: int = 500

    def __post_init__(self) -> None:
        if not 1 <= self.clock <= 4096 or not 2 <= self.max_buckets <= 64 or not 1 <= self.min_window_length <= 4096:
            raise ConfigurationError(
                "adwin takes a clock of 1 to 4096, 2 to 64 max_buckets, 1 to 4096 as shortest part"
            )
        if not 128 <= self.max_rows <= 1 << 16:
            raise ConfigurationError(f"max_rows is {self.max_rows}: give 128 to {1 << 16}")
        if not 0 <= self.warm_start <= self.max_rows // 2:
            raise ConfigurationError(f"warm_start is {self.warm_start}: give at most half of max_rows {self.max_rows}")


class AdaptiveWindowing(SingleColumn):
    """A memory is the histogram's groups and the rows that came since the start. `moments` are the mean error and the
    mean squared error of the reference."""

    kind: ClassVar[str] = "adwin"
    summary: ClassVar[str] = "errors one by one: an older against a newer part of them, wherever cut (ADWIN)"
    options: ClassVar[type[AdwinOptions]] = AdwinOptions

    def __init__(self, options: AdwinOptions, moments: Vector, run_lengths: RunLengths) -> None:
        self._options = options
        self._moments = moments
        self._first = _warm(options, moments)
        self._run_lengths = run_lengths

    @classmethod
    def fit(cls, reference: Sample, options: AdwinOptions, context: WindowFitContext) -> Self:
        errors = varying(cls.kind, one_column(cls.kind, reference.rows))
        moments = np.array([errors.mean(), (errors**2).mean()])
        unmeasured = cls(options, moments, RunLengths.unmeasured())
        plan = Plan(_STREAMS, max(8, -(-2 * options.max_rows // _BLOCK_ROWS)), _BLOCK_ROWS)
        return cls(options, moments, unmeasured.measure(errors, plan, context))

    def begin(self, streams: int) -> Arrays:
        groups = {name: np.repeat(part, streams, axis=-1) for name, part in self._first.items()}
        return {"rows": np.zeros((1, streams)), **groups}

    def follow(self, memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
        histogram = Histogram.of(memory, self._options.max_buckets, self._options.max_rows)
        peaks, behind, clock = np.zeros(values.shape[1]), int(memory["rows"][0, 0]), self._options.clock
        pairs = np.stack([values, values**2], axis=1)
        for row, pair in enumerate(pairs, start=1):
            histogram.add(pair)
            if (behind + row) % clock == 0 and behind + row > _GRACE_ROWS:
                np.maximum(peaks, confidence(histogram, self._options.min_window_length), out=peaks)
        # only its place on the clock and whether the grace is over are needed: it stays small
        after = behind + len(values)
        rows = after if after <= 2 * _GRACE_ROWS * clock else _GRACE_ROWS * clock + after % clock
        streams = values.shape[1]
        return peaks, {"rows": np.full((1, streams), float(rows)), **histogram.arrays(streams)}

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Twice as many as the reference stands for."""
        return 2 * max(self._options.warm_start, self._options.clock)

    def state(self) -> State:
        options = self._options
        numbers = [options.clock, options.max_buckets, options.min_window_length, options.max_rows, options.warm_start]
        return self.kept({"options": numbers, "moments": self._moments})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        options = AdwinOptions(*(int(value) for value in state.arrays["options"].tolist()))
        return cls(options, state.arrays["moments"], RunLengths.restore(state.arrays, "runs"))


def _warm(options: AdwinOptions, moments: Vector) -> Arrays:
    """The groups of one stream that so far had the reference's mean error in every row."""
    histogram = Histogram(options.max_buckets, options.max_rows)
    for _ in range(options.warm_start):
        histogram.add(moments[:, None])
    return histogram.arrays(1)


def confidence(histogram: Histogram, shortest: int) -> Vector:
    """The highest -log δ at which a cut would be made, a stream, shape (streams,); 0 where no part is long enough.

    A cut is made where the means differ by more than sqrt(2 m v L) + 2/3 m L, with L = log(2 log(n) / δ), v the
    variance of all n rows and m = 1/(n₀ - s + 1) + 1/(n₁ - s + 1): solved for L it is a quadratic in its root.
    """
    sizes, sums = histogram.groups()
    older, all_rows = np.cumsum(sizes)[:-1], int(sizes.sum())
    chosen = (older > shortest) & (all_rows - older > shortest)
    if not chosen.any():
        return np.zeros(sums.shape[2])
    older, total = older[chosen, None], sums.sum(axis=0)
    before = np.cumsum(sums[:, 0], axis=0)[:-1][chosen]
    difference = np.abs(before / older - (total[0] - before) / (all_rows - older))
    variance = np.maximum(total[1] / all_rows - (total[0] / all_rows) ** 2, 0.0)
    inverse = 1.0 / (older - shortest + 1) + 1.0 / (all_rows - older - shortest + 1)
    linear, root = 2 / 3 * inverse, np.sqrt(2 * inverse * variance)
    log_ratio = ((np.sqrt(root**2 + 4 * linear * difference) - root) / (2 * linear)) ** 2
    highest: Vector = np.maximum(log_ratio.max(axis=0) - np.log(2 * np.log(all_rows)), 0.0)
    return highest
