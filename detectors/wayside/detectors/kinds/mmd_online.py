"""`mmd-online`: squared maximum mean discrepancy of the latest rows from the reference, at every row.

Source: Cobb, Van Looveren and Klaise, "Sequential multivariate change detection with calibrated and memoryless false
detection rates", AISTATS 2022; Gretton et al., "A kernel two-sample test", JMLR 13 (2012), for the estimator and the
median heuristic. What the window loses and gains is added up, so that a row costs its kernel values and no more.
Invariant: the statistic at a row follows from the window's rows and the kept reference rows alone.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.cvm_online import LEAST_RATIO
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
from wayside.detectors.kinds.sequential.detector import RunLengthDetector
from wayside.detectors.kinds.sequential.run_lengths import RunLengths
from wayside.detectors.kinds.sequential.sliding import from_bands, pair_sums, row_sums
from wayside.detectors.kinds.sequential.worlds import Indices, Plan, simulate
from wayside.eventing.errors import ConfigurationError

_STEP_ROWS = 256
_STARTS = 101  # windows of the reference that are tried as the first
_CELLS = 6e7
_RAISED = 1.6  # measured on KDD: so much for references that are twice as unlucky as a resample shows
_POOL_ROWS = 4000  # that streams are drawn from: the more, the less a reference's own chance weighs

Kernel = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MmdOnlineOptions:
    """The latest `window_size` rows are held against `reference_rows` of the reference, drawn by seed."""

    window_size: int = 50
    reference_rows: int = 2000

    def __post_init__(self) -> None:
        if not 5 <= self.window_size <= 500:
            raise ConfigurationError(f"window_size is {self.window_size}: give 5 to 500 rows")
        if not LEAST_RATIO * self.window_size <= self.reference_rows <= 8000:
            raise ConfigurationError(
                f"reference_rows is {self.reference_rows}: give {LEAST_RATIO} rows a row of the window, at most 8000"
            )


class OnlineMeanDiscrepancy(RunLengthDetector):
    """`reference` (m, d) in float32, the `bandwidth`, and `first`, (window - 1, d), which a stream starts from."""

    kind: ClassVar[str] = "mmd-online"
    summary: ClassVar[str] = "rows one by one: MMD of the latest rows, RBF kernel"
    options: ClassVar[type[MmdOnlineOptions]] = MmdOnlineOptions

    def __init__(self, reference: Kernel, bandwidth: float, within: float, first: Matrix, run: RunLengths) -> None:
        if reference.ndim != 2 or first.ndim != 2 or first.shape[1] != reference.shape[1] or not bandwidth > 0:
            raise ValueError(f"'reference' has shape {reference.shape}, 'first' {first.shape}")
        self._reference = reference
        self._bandwidth = bandwidth
        self._within = within
        self._first = first
        self._run_lengths = run

    @property
    def features(self) -> int:
        return int(self._reference.shape[1])

    @classmethod
    def fit(cls, reference: Sample, options: MmdOnlineOptions, context: WindowFitContext) -> Self:
        window = options.window_size
        if len(reference) < LEAST_RATIO * window:
            raise ConfigurationError(
                f"mmd-online with window_size {window} needs {LEAST_RATIO * window} reference rows, "
                f"there are {len(reference)}"
            )
        rng = np.random.default_rng(context.seed)
        drawn = rng.permutation(len(reference))[: max(options.reference_rows, _POOL_ROWS)]
        kept = min(options.reference_rows, len(drawn))
        rows = reference.rows[np.concatenate([np.sort(drawn[:kept]), np.sort(drawn[kept:])])].astype(np.float32)
        bandwidth = _median_distance(rows[:kept])
        pool = Pool.of(kernel(rows, rows, bandwidth), kept)
        first = pool.first(window, rng)

        def walk(held: Indices, drawn: Indices) -> tuple[Array, Indices]:
            held = np.concatenate([held, drawn])
            return pool.statistics(held, window).max(axis=0), held[len(drawn) :]

        def start(streams: int) -> Indices:
            return np.repeat(first[:, None], streams, axis=1)

        plan = Plan.of_cost(window, 128, _CELLS)
        simulated = simulate(walk, start, len(pool.across), plan, context.seed, context.progress)
        run_lengths = RunLengths.measured(simulated, raised=_RAISED)
        return cls(rows[:kept], bandwidth, pool.within, rows[first].astype(np.float64), run_lengths)

    def memory(self) -> Arrays:
        return {"held": self._first}

    @property
    def run_lengths(self) -> RunLengths:
        return self._run_lengths

    def settling_rows(self, level: float, window_rows: int) -> int:
        """Two windows of its own: the first memory is out of it after one."""
        return 2 * (len(self._first) + 1)

    def _walk(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        held, peak = memory["held"], -np.inf
        for first in range(0, len(rows), _STEP_ROWS):
            held = np.concatenate([held, rows[first : first + _STEP_ROWS]])
            peak = max(peak, float(self._statistics(held).max()))
            held = held[len(held) - len(self._first) :]
        return np.array([peak]), {"held": held}

    def _statistics(self, held: Matrix) -> Vector:
        """Of the windows that end in each row but the first window - 1."""
        window, rows = len(self._first) + 1, held.astype(np.float32)
        across = kernel(rows, self._reference, self._bandwidth).mean(axis=1, dtype=np.float64)
        among = kernel(rows, rows, self._bandwidth).astype(np.float64)
        lags = np.arange(len(rows))[:, None] - np.arange(len(rows))
        banded = np.where((lags > 0) & (lags < window), among, 0.0)
        return _discrepancy(from_bands(banded.sum(axis=1), banded.sum(axis=0), window), across, self._within, window)

    def _outcome(self, peaks: Vector, rows: int) -> WindowTest:
        height = float(peaks[0])
        return WindowTest(height, self._run_lengths.p_value(height, rows), np.empty(0), np.empty(0))

    def state(self) -> State:
        numbers = {"bandwidth": np.array([self._bandwidth]), "within": np.array([self._within])}
        return State(
            {"reference": self._reference, "first": self._first, **numbers, **self._run_lengths.arrays("runs")}
        )

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        arrays = state.arrays
        (bandwidth,), (within,) = arrays["bandwidth"].tolist(), arrays["within"].tolist()
        return cls(arrays["reference"], bandwidth, within, arrays["first"], RunLengths.restore(arrays, "runs"))


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Kernel values among rows of the reference, (m, m), a row's with itself being its mean with those kept: a row that
    is drawn stands for one like it that the reference does not hold. `across` are these means, `within` that of those
    kept. The last row is one unlike all: what the reference never held is as rare as one row."""

    among: Kernel
    across: Vector
    within: float

    @classmethod
    def of(cls, values: Kernel, kept: int) -> Self:
        """From the values among rows of which the first `kept` are what windows will be held against."""
        count = len(values)
        among = np.zeros((count + 1, count + 1), np.float32)
        among[:-1, :-1] = values
        np.fill_diagonal(among, 0.0)
        others = np.full(count, kept)
        others[:kept] -= 1
        across = np.append(among[:-1, :kept].sum(axis=1, dtype=np.float64) / others, 0.0)
        np.fill_diagonal(among, across)
        return cls(among, across, float(across[:kept].mean()))

    def statistics(self, held: Indices, window: int) -> Array:
        """Of the windows that end in each row but the first window - 1 of the rows drawn, `held` (rows, streams)."""
        flat, starts = self.among.ravel(), held * len(self.among)
        pairs = pair_sums(lambda lag: flat.take(starts[lag:] + held[:-lag]), len(held), window)
        return _discrepancy(pairs.astype(np.float64), self.across[held], self.within, window)

    def first(self, window: int, rng: np.random.Generator) -> Indices:
        """window - 1 rows that are neither unusually near nor far: the median of so many draws."""
        draws = np.stack([rng.choice(len(self.among) - 1, window, replace=False) for _ in range(_STARTS)], axis=1)
        middle = int(np.argsort(self.statistics(draws, window)[0])[_STARTS // 2])
        return np.asarray(draws[1:, middle], np.intp)


def kernel(rows: Kernel, others: Kernel, bandwidth: float) -> Kernel:
    """exp(-|x - y|² / (2 bandwidth²)), (len(rows), len(others))."""
    squares: Kernel = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", others, others)
    squares -= 2 * (rows @ others.T)
    np.maximum(squares, 0.0, out=squares)
    squares *= np.float32(-0.5 / bandwidth**2)
    np.exp(squares, out=squares)
    return squares


def _discrepancy(pairs: Array, across: Array, within: float, window: int) -> Array:
    """The unbiased estimate of each window, from sums over its pairs and what its rows have with the reference."""
    gained: Array = within + 2 * pairs / (window * (window - 1)) - 2 * row_sums(across, window) / window
    return gained


def _median_distance(rows: Kernel) -> float:
    """The median heuristic; the mean where most rows are equal. Raises `ConfigurationError` where all are."""
    some = rows[:1000]
    squares = np.square(some[:, None] - some[None]).sum(axis=2) if some.shape[1] <= 32 else _gram_squares(some)
    upper = squares[np.triu_indices(len(some), 1)].astype(np.float64)
    found = float(np.sqrt(np.median(upper))) or float(np.sqrt(upper.mean()))
    if not found > 0:
        raise ConfigurationError("mmd-online: all rows of the reference are equal, so no distance can be told")
    return found


def _gram_squares(rows: Kernel) -> Kernel:
    squares = np.einsum("ij,ij->i", rows, rows)
    distances: Kernel = np.maximum(squares[:, None] + squares - 2 * (rows @ rows.T), 0.0)
    return distances
