"""`context-mmd`: whether a window's rows come from the reference given the hour they came in, or their segment.

Source: Cobb and Van Looveren, "Context-aware drift detection", ICML 2022, with contexts in strata.
Invariant: a window whose mixture of contexts is another than the reference's, and whose rows are ordinary in each,
keeps the level.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kernels.conditional import ConditionalMmd, Embedded, aditt
from wayside.detectors.kernels.context import HOUR, Contexts, Strata
from wayside.detectors.kernels.execution import arithmetic_of
from wayside.detectors.kernels.mmd import near
from wayside.detectors.kernels.null import CalibratedNull, Indices, Pool, largest_window, thinned, without_replacement
from wayside.detectors.kernels.permutations import extended_p_value, regroupings, seed_of
from wayside.detectors.kernels.tails import LEAST
from wayside.detectors.kinds.protocol import Execution, Sample, State, WindowDetector, WindowFitContext, WindowTest
from wayside.detectors.kinds.reference_windows import check_count, check_reference, fitting_arithmetic
from wayside.eventing.errors import ConfigurationError

_NOTHING = np.empty(0)
_BROAD_SHARE = 0.5  # of the contexts that the reference is spread over: such windows are of all of them
_MOST_COMPARED = 1000  # rows of each of two samples
_NARROW_POOL = 4  # a window of few contexts is drawn from so many times its rows


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """`context` is `hour`, `weekday-hour` (both of UTC), or the column that holds segments, by its
    name or its place from 0.
    `kept` rows of the reference, half at most, carry the mean of each context; `draws` windows of the others calibrate.
    """

    context: str = HOUR
    kept: int = 500
    draws: int = 4000
    permutations: int = 999
    most_rows: int = 1000

    def __post_init__(self) -> None:
        check_count("kept", self.kept, 20, 5000)
        check_count("draws", self.draws, 200, 1_000_000)
        check_count("permutations", self.permutations, 19, 1_000_000)
        check_count("most_rows", self.most_rows, 20, 20_000)


class ContextMmd(WindowDetector):
    """`narrow` is the null of windows that lie in few contexts, `broad` of those that lie in all; a window of few has
    the larger p-value of both. `spread` is how many contexts the reference is spread over."""

    kind: ClassVar[str] = "context-mmd"
    summary: ClassVar[str] = "windows: maximum mean discrepancy given the hour, or a segment"
    options: ClassVar[type[ContextOptions]] = ContextOptions

    def __init__(
        self,
        measure: ConditionalMmd,
        contexts: Contexts,
        narrow: CalibratedNull,
        broad: CalibratedNull,
        permutations: int,
        held: int,
        spread: float,
    ) -> None:
        self._measure, self._contexts = measure, contexts
        self._narrow, self._broad = narrow, broad
        self._permutations, self._held, self._spread = permutations, held, spread

    @property
    def features(self) -> int:
        return int(self._measure.landmarks.shape[1])

    @property
    def least_rows(self) -> int:
        return self._broad.least_rows

    def described(self) -> str:
        """How its null was made, and what it can tell, for people."""
        return (
            f"{len(self._measure.landmarks)} rows kept for {self._contexts.count} contexts; level calibrated for this"
            f" reference on {self._broad.draws} windows of {self._broad.largest} rows from {self._held} held-out rows,"
            f" of all contexts and of few, a fitted tail down to {LEAST:.0e}; rows of a context without reference are"
            " left out"
        )

    @classmethod
    def fit(cls, reference: Sample, options: ContextOptions, context: WindowFitContext) -> Self:
        check_reference(cls.kind, reference.rows)
        if context.level < LEAST:
            raise ConfigurationError(f"a level of {context.level:.2g} a window: the fitted tail ends at {LEAST:.0e}")
        contexts = Contexts.fit(options.context, reference, context.names)
        strata = contexts.strata(reference)
        fitting, holding = _halves(strata, context.seed)
        largest = largest_window(cls.kind, context.window_rows, options.most_rows, len(holding))
        rows = reference.rows
        basis = contexts.basis(reference.take(strata >= 0))  # rows of no stratum are in neither half
        at = np.cumsum(strata >= 0) - 1
        measure = ConditionalMmd.fit(rows[fitting], basis[at[fitting]], options.kept, fitting_arithmetic())
        held = measure.embed(rows[holding], strata[holding], basis[at[holding]])
        measure = measure.with_variances(held)

        def learn(pool: Pool, seed: int) -> CalibratedNull:
            return CalibratedNull.learn(
                lambda chosen: measure.statistic(held.take(chosen)),
                replace(pool, own_chance=0.0),  # the statistic's own deviation allows for it
                largest,
                options.draws,
                seed,
                context.progress,
            )

        broad = learn(without_replacement(len(holding)), context.seed)
        narrow = learn(_few_contexts(held.strata), context.seed + 1)
        detector = cls(measure, contexts, narrow, broad, options.permutations, len(holding), _spread(held.strata))
        return cls.restore(detector.state(), Execution())

    def test(self, window: Sample) -> WindowTest:
        """Rows whose context has no reference are left out. Raises `ValueError` where too few are left."""
        known = self._known(window)
        if len(known) < self.least_rows:
            raise ValueError(f"{len(known)} rows are of a context that the reference has: it takes {self.least_rows}")
        some = known.take(thinned(known.rows, self._broad.largest))
        statistic = self._measure.statistic(self._embed(some))
        p_value = self._broad.p_value(statistic, len(some))
        if _spread(self._contexts.strata(some)) < _BROAD_SHARE * self._spread:
            p_value = max(p_value, self._narrow.p_value(statistic, len(some)))
        return WindowTest(statistic, p_value, _NOTHING, _NOTHING, LEAST)

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        """ADiTT of the two, by permutations within contexts and a tail that is fitted to them."""
        pair = [self._known(each) for each in (reference, window)]
        pair = [each.take(thinned(each.rows, _MOST_COMPARED)) for each in pair]
        if min(map(len, pair)) < 2:
            raise ValueError("fewer than 2 rows of one of the samples are of a context that the reference has")
        strata = np.concatenate([self._contexts.strata(each) for each in pair])
        rows = np.concatenate([each.rows for each in pair])
        seed = seed_of(0, *(each.rows for each in pair))
        members = regroupings((len(pair[0]), len(pair[1])), self._permutations, seed, strata)
        shares = np.bincount(strata[len(pair[0]) :], minlength=self._contexts.count) / len(pair[1])
        some = near(rows, self._measure.centre)
        kernel = self._measure.arithmetic.kernel(some, some, self._measure.width)
        statistics = aditt(kernel, strata, members, shares)
        return WindowTest(float(statistics[0]), extended_p_value(statistics), _NOTHING, _NOTHING, LEAST)

    def state(self) -> State:
        nulls = {**self._narrow.arrays("narrow"), **self._broad.arrays("broad")}
        numbers = np.array([self._permutations, self._held, self._spread])
        return State({**self._measure.arrays(), **self._contexts.arrays(), **nulls, "numbers": numbers})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        arrays = state.arrays
        narrow, broad = (CalibratedNull.restore(arrays, name) for name in ("narrow", "broad"))
        measure = ConditionalMmd.of(arrays, arithmetic_of(execution))
        permutations, held, spread = arrays["numbers"].tolist()
        return cls(measure, Contexts.of(arrays), narrow, broad, int(permutations), int(held), spread)

    def _known(self, window: Sample) -> Sample:
        return window.take(self._contexts.strata(window) >= 0)

    def _embed(self, window: Sample) -> Embedded:
        return self._measure.embed(window.rows, self._contexts.strata(window), self._contexts.basis(window))


def _halves(strata: Strata, seed: int) -> tuple[Indices, Indices]:
    """Half of each stratum's rows, and the other half, both in random order; rows of none are in neither."""
    order = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(strata >= 0))
    ranked = order[np.argsort(strata[order], kind="stable")]
    first = np.zeros(len(strata), bool)
    first[ranked[::2]] = True
    return order[first[order]], order[~first[order]]


def _spread(strata: Strata) -> float:
    """How many strata of equal size would be as mixed: 1 / Σ share²."""
    counts = np.bincount(strata).astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())


def _few_contexts(strata: Strata) -> Pool:
    """Windows of rows of successive contexts, as few as hold four times the window, from one drawn by its rows."""
    by_context = np.argsort(strata, kind="stable")
    starts = np.searchsorted(strata[by_context], np.arange(int(strata.max()) + 2))

    def draw(size: int, random: np.random.Generator) -> Indices:
        begin = int(starts[strata[random.integers(len(strata))]])
        wanted = min(len(strata), _NARROW_POOL * size)
        end = int(starts[min(int(np.searchsorted(starts, begin + wanted)), len(starts) - 1)])
        places = np.arange(begin, max(end, begin + wanted)) % len(strata)
        return by_context[places[random.choice(len(places), size, replace=False)]]

    return Pool(len(strata), draw)
