"""`kswin`: the Kolmogorov-Smirnov distance of the latest errors from those before them, in a window that slides.

Source: Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416
(2020). The latest are held against all that come before in the window, not against as many drawn from them at random:
no draw, and more to go by. Distributions are compared at quantiles of the reference, exactly where it has few values.
It starts from values of the reference, not from none: what drifted before the first row, or lasts after an alarm, is
held against them.
Invariant: a memory holds the window's values and nothing else.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.protocol import Array, Arrays, Execution, Matrix, Sample, State, Vector, WindowFitContext
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.single_column import SingleColumn, one_column, varying
from wayside.detectors.kinds.sequential.worlds import Plan
from wayside.eventing.errors import ConfigurationError

_MOST_PLACES = 32
_STEP_ROWS = 4096  # that are held at once
_STREAMS = 1024
_SIMULATED_ROWS = 2048


@dataclass(frozen=True, slots=True)
class KswinOptions:
    """Of the last `window_size` rows the latest `stat_size` are held against the rest."""

    window_size: int = 300
    stat_size: int = 100

    def __post_init__(self) -> None:
        if not 10 <= self.stat_size <= self.window_size // 2 or self.window_size > 1 << 14:
            raise ConfigurationError(
                f"window_size {self.window_size} and stat_size {self.stat_size}: give a window of at most {1 << 14} "
                "rows, and 10 rows to half of it as the latest"
            )


class SlidingKolmogorovSmirnov(SingleColumn):
    """`places` (g,) are the values at which distributions are compared, `first` (window_size,) the window that a
    stream starts from."""

    kind: ClassVar[str] = "kswin"
    summary: ClassVar[str] = "errors one by one: the latest against those before them (KSWIN)"
    options: ClassVar[type[KswinOptions]] = KswinOptions

    def __init__(self, options: KswinOptions, places: Vector, first: Vector, run_lengths: RunLengths) -> None:
        self._options = options
        self._places = places
        self._first = first
        self._run_lengths = run_lengths

    @classmethod
    def fit(cls, reference: Sample, options: KswinOptions, context: WindowFitContext) -> Self:
        errors = varying(cls.kind, one_column(cls.kind, reference.rows))
        places = _places(errors)
        first = _spread(errors, options.window_size)
        unmeasured = cls(options, places, first, RunLengths.unmeasured())
        blocks = -(-(_SIMULATED_ROWS + options.window_size) // 256)
        return cls(options, places, first, unmeasured.measure(errors, Plan(_STREAMS, blocks, 256), context))

    def begin(self, streams: int) -> Arrays:
        return {"window": np.repeat(self._first[:, None], streams, axis=1)}

    def follow(self, memory: Arrays, values: Matrix) -> tuple[Vector, Arrays]:
        peaks = np.zeros(values.shape[1])
        for first in range(0, len(values), _STEP_ROWS):
            part = values[first : first + _STEP_ROWS]
            held = np.concatenate([memory["window"], part])
            distance = distances(held, self._places, self._options.stat_size, len(part))
            peaks = np.maximum(peaks, distance.max(axis=0))
            memory = {"window": held[len(part) :]}
        return peaks, memory

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Until half of the window's rest are not the reference's any more."""
        return self._options.stat_size + self._options.window_size // 2

    def state(self) -> State:
        sizes = [self._options.window_size, self._options.stat_size]
        return self.kept({"options": sizes, "places": self._places, "first": self._first})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        window_size, stat_size = state.arrays["options"].tolist()
        options = KswinOptions(int(window_size), int(stat_size))
        return cls(options, state.arrays["places"], state.arrays["first"], RunLengths.restore(state.arrays, "runs"))


def distances(held: Matrix, places: Vector, latest: int, rows: int) -> Matrix:
    """For each of the last `rows` of `held` (window + rows, streams): the distance of the `latest` before and with it
    from the rest of its window, (rows, streams)."""
    window = len(held) - rows
    found: Matrix = np.zeros((rows, held.shape[1]))
    for place in places:
        upto = np.zeros((len(held) + 1, held.shape[1]), np.int32)
        np.cumsum(held <= place, axis=0, out=upto[1:])
        ends, middles, starts = upto[window + 1 :], upto[window + 1 - latest : len(upto) - latest], upto[1 : rows + 1]
        near: Array = (ends - middles) / latest - (middles - starts) / (window - latest)
        np.maximum(found, np.abs(near), out=found)
    return found


def _places(errors: Vector) -> Vector:
    """All values but the largest where they are few, at which every distribution is 1; else quantiles."""
    values = np.unique(errors)[:-1]
    if len(values) > _MOST_PLACES:
        values = np.unique(np.quantile(errors, np.arange(1, _MOST_PLACES) / _MOST_PLACES, method="lower"))
    return values


def _spread(errors: Vector, count: int) -> Vector:
    """Evenly spread quantiles of the errors, in an order that keeps what is left of them evenly spread."""
    golden = (np.arange(1, count + 1) * 0.6180339887498949) % 1.0
    spread: Vector = np.quantile(errors, golden, method="inverted_cdf")
    return spread
