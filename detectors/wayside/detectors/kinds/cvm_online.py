"""`cvm-online`: Cramér-von Mises distance from the reference of the latest rows of every column, at every row.

Source: Cobb, Van Looveren and Klaise, "Sequential multivariate change detection with calibrated and memoryless false
detection rates", AISTATS 2022; Ross and Adams, "Two nonparametric control charts for detecting arbitrary distribution
changes", J. Quality Technology 44 (2012); Anderson, Annals of Mathematical Statistics 33 (1962), for the distance.
n ∫ (F_window - F)² dF is a sum over pairs of rows of min(S, S') - A - A' + C, with S = P(X ≥ x), A = ∫ F dF from x on
and C = ∫ F² dF, so that a window that slides costs a pass over its rows. Ties are exact.
Invariant: the statistic at a row follows from the window's rows and the reference alone.
"""

from collections.abc import Sequence
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
from wayside.detectors.kinds.sequential.detector import RunLengthDetector
from wayside.detectors.kinds.sequential.ordering import knots_of, ordered, rarity
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.sliding import pair_sums, row_sums
from wayside.detectors.kinds.sequential.worlds import Indices, Plan, simulate
from wayside.eventing.errors import ConfigurationError

LEAST_RATIO = 20  # reference rows a row of the window
_STEP_ROWS = 2048
_CELLS = 4e8  # of the simulation, a pair of values each
_RAISED = 1.4  # measured on KDD: so much for references that are twice as unlucky as a resample shows


@dataclass(frozen=True, slots=True)
class CvmOnlineOptions:
    """The latest `window_size` rows are held against the reference."""

    window_size: int = 50

    def __post_init__(self) -> None:
        if not 5 <= self.window_size <= 1000:
            raise ConfigurationError(f"window_size is {self.window_size}: give 5 to 1000 rows")


@dataclass(frozen=True, slots=True, eq=False)
class Survival:
    """Of each column rising `knots` (m,), S at each place among them, (m + 1,), and A, (m + 1,); `constants` (d,)."""

    knots: Sequence[Vector]
    above: Sequence[Vector]
    areas: Sequence[Vector]
    constants: Vector
    ranks: Matrix

    @classmethod
    def of(cls, knots: Sequence[Vector], weights: Sequence[Vector], ranks: Matrix) -> Self:
        """From the shares of the reference that the knots stand for, (m,), which sum to 1."""
        upto = [np.cumsum(shares) for shares in weights]
        above = [np.append(np.cumsum(shares[::-1])[::-1], 0.0) for shares in weights]
        parts = [shares * distribution for shares, distribution in zip(weights, upto, strict=True)]
        areas = [np.append(np.cumsum(part[::-1])[::-1], 0.0) for part in parts]
        constants = np.array([part @ distribution for part, distribution in zip(parts, upto, strict=True)])
        return cls(knots, above, areas, constants, ranks)

    def look_up(self, rows: Matrix) -> Array:
        """S and A of each value of rows (n, d), shape (n, 2, d)."""
        found = np.empty((len(rows), 2, rows.shape[1]))
        for at, values in enumerate(ordered(rows, self.ranks).T):
            places = np.searchsorted(self.knots[at], values, "left")
            found[:, 0, at], found[:, 1, at] = self.above[at][places], self.areas[at][places]
        return found


class OnlineCramerVonMises(RunLengthDetector):
    """`weights` are the shares of the reference that each column's knots stand for."""

    kind: ClassVar[str] = "cvm-online"
    summary: ClassVar[str] = "rows one by one: Cramér-von Mises of every column's latest rows"
    options: ClassVar[type[CvmOnlineOptions]] = CvmOnlineOptions
    takes_missing: ClassVar[bool] = True
    takes_categories: ClassVar[bool] = True
    transform: ClassVar[str] = "columns"

    def __init__(self, window_size: int, survival: Survival, weights: Sequence[Vector], columns: Columns) -> None:
        self._window = window_size
        self._survival = survival
        self._weights = weights
        self._columns = columns

    @property
    def features(self) -> int:
        return len(self._weights)

    @classmethod
    def fit(cls, reference: Sample, options: CvmOnlineOptions, context: WindowFitContext) -> Self:
        rows, window = reference.rows, options.window_size
        if len(rows) < LEAST_RATIO * window:
            raise ConfigurationError(
                f"cvm-online with window_size {window} needs {LEAST_RATIO * window} reference rows, "
                f"there are {len(rows)}"
            )
        ranks = rarity(rows, context.categories)
        knots, weights = zip(*(_steps(column) for column in ordered(rows, ranks).T), strict=True)
        survival = Survival.of(knots, weights, ranks)
        pool = survival.look_up(rows).astype(np.float32)
        pool = np.concatenate([pool, _extremes(survival).astype(np.float32)])

        def walk(held: Array, drawn: Indices) -> tuple[Array, Array]:
            held = np.concatenate([held, pool[drawn]])
            return statistics(held, survival.constants, window).max(axis=0), held[len(drawn) :]

        def start(streams: int) -> Array:
            return np.repeat(_start(survival, window)[:, None], streams, axis=1).astype(np.float32)

        plan = Plan.of_cost(pool.shape[2] * window, 128, _CELLS)
        simulated = simulate(walk, start, len(pool), plan, context.seed, context.progress)
        return cls(window, survival, weights, Columns.measured(simulated, _RAISED))

    def memory(self) -> Arrays:
        return {"held": _start(self._survival, self._window)}

    @property
    def run_lengths(self) -> RunLengths:
        return self._columns.together

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Two windows of its own: the first memory is out of it after one."""
        return 2 * self._window

    def _walk(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        held, peaks = memory["held"], np.full(self.features, -np.inf)
        for first in range(0, len(rows), _STEP_ROWS):
            held = np.concatenate([held, self._survival.look_up(rows[first : first + _STEP_ROWS])])
            peaks = np.maximum(peaks, statistics(held, self._survival.constants, self._window).max(axis=0))
            held = held[len(held) - self._window + 1 :]
        return peaks, {"held": held}

    def _outcome(self, peaks: Vector, rows: int) -> WindowTest:
        return self._columns.outcome(peaks, rows)

    def state(self) -> State:
        held = {
            "window_size": np.array([self._window], np.int64),
            "knots": np.concatenate(self._survival.knots),
            "weights": np.concatenate(self._weights),
            "sizes": np.array([len(shares) for shares in self._weights], np.int64),
            "ranks": self._survival.ranks,
        }
        return State({**held, **self._columns.arrays()})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        arrays = state.arrays
        ends = np.cumsum(arrays["sizes"])[:-1]
        knots, weights = np.split(arrays["knots"], ends), np.split(arrays["weights"], ends)
        (window,) = arrays["window_size"].tolist()
        return cls(window, Survival.of(knots, weights, arrays["ranks"]), weights, Columns.restore(arrays))


def statistics(held: Array, constants: Vector, window: int) -> Array:
    """n ∫ (F_window - F)² dF of the windows that end in each row but the first window - 1 of `held` (rows, …, 2, d)."""
    above, areas = held[..., 0, :], held[..., 1, :]
    pairs = pair_sums(lambda lag: np.minimum(above[lag:], above[:-lag]), len(held), window)
    single = row_sums(above / 2 - window * areas, window)
    distances: Array = 2 * (pairs + single) / window + window * constants.astype(held.dtype)
    return distances


def _steps(column: Vector) -> tuple[Vector, Vector]:
    """The knots of a column, and the share of its values that lies at each or between it and the one before."""
    values = np.sort(column)
    knots = knots_of(values)
    upto = np.searchsorted(values, knots, "right")
    return knots, np.diff(upto, prepend=0) / len(values)


def _extremes(survival: Survival) -> Array:
    """A row below all of the reference and one above, coded, (2, 2, d): what it never held is as rare as one row."""
    ends = [np.array([values[0] for values in each] + [values[-1] for values in each]) for each in _both(survival)]
    return np.stack([part.reshape(2, -1) for part in ends], axis=1)


def _both(survival: Survival) -> Sequence[Sequence[Vector]]:
    return survival.above, survival.areas


def _start(survival: Survival, window: int) -> Array:
    """A window, less a row, of evenly spread quantiles, (window - 1, 2, d): as near to the reference as rows can be, so
    that what follows is not alarmed at by chance. They leave it in an order that keeps what stays evenly spread."""
    count = window - 1
    golden = (np.arange(1, count + 1) * 0.6180339887498949) % 1.0
    coded = np.empty((count, 2, len(survival.knots)))
    for at, (above, areas) in enumerate(zip(survival.above, survival.areas, strict=True)):
        places = np.searchsorted(-above, -(1.0 - golden), "right") - 1
        coded[:, 0, at], coded[:, 1, at] = above[places], areas[places]
    return coded
