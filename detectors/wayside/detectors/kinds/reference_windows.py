"""What MMD, LSDD and the classifier share as window kinds: the split of the reference, the null, the two-sample test.

Source: the measures are in `kernels/`; `kernels/null.py` says how their level holds for this one reference, and
`kernels/stretches.py` what is done where rows that lie together are alike.
Invariant: the rows that the statistic keeps and those that calibrate it are different rows of the reference, and where
rows come in stretches that are alike, of different stretches.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kernels.arithmetic import Arithmetic, NumpyArithmetic
from wayside.detectors.kernels.execution import arithmetic_of
from wayside.detectors.kernels.measures import ReferenceMeasure
from wayside.detectors.kernels.null import CalibratedNull, Indices, in_stretches, largest_window, thinned
from wayside.detectors.kernels.permutations import (
    check_permutations,
    extended_p_value,
    permutation_p_value,
    regroupings,
    seed_of,
)
from wayside.detectors.kernels.stretches import stretch_rows
from wayside.detectors.kernels.tails import LEAST
from wayside.detectors.kinds.protocol import (
    Execution,
    Matrix,
    Sample,
    State,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.eventing.errors import ConfigurationError

CALIBRATED, PERMUTATION = "calibrated", "permutation"
_KEPT_SHARE = 4  # one in so many rows of the reference at most is kept; the others calibrate
_USUAL_SHARE = 20
_NOTHING = np.empty(0)


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """`kept` rows of the reference are held, one in four at most. `null` is `calibrated`, from `draws` windows of the
    other rows, or `permutation`, from `permutations` regroupings of kept and window at every test. Windows of more than
    `most_rows` rows are measured by so many of them. `dependence` false takes rows for independent though they be alike
    where they lie together."""

    kept: int = 1000
    null: str = CALIBRATED
    draws: int = 4000
    permutations: int = 999
    most_rows: int = 1000
    dependence: bool = True

    def __post_init__(self) -> None:
        if self.null not in (CALIBRATED, PERMUTATION):
            raise ConfigurationError(f"null is {self.null!r}: give {CALIBRATED} or {PERMUTATION}")
        check_count("kept", self.kept, 20, 20_000)
        check_count("draws", self.draws, 200, 1_000_000)
        check_count("permutations", self.permutations, 19, 1_000_000)
        check_count("most_rows", self.most_rows, 20, 20_000)


class ReferenceWindows(WindowDetector):
    """`null` is None where each test permutes; rows that lie together are alike in stretches of `stretch`, 1 where they
    are independent; `held` rows calibrated."""

    options: ClassVar[type[ReferenceOptions]] = ReferenceOptions
    measure: ClassVar[type[ReferenceMeasure]]

    def __init__(
        self,
        measure: ReferenceMeasure,
        null: CalibratedNull | None,
        permutations: int,
        most_rows: int,
        held: int,
        stretch: int,
    ) -> None:
        self._measure, self._null = measure, null
        self._permutations, self._most_rows, self._held, self._stretch = permutations, most_rows, held, stretch

    @property
    def features(self) -> int:
        return self._measure.features

    @property
    def least_rows(self) -> int:
        return 4 if self._null is None else self._null.least_rows

    def described(self) -> str:
        """How its null was made, and what it can tell, for people."""
        kept = f"{len(self._measure.sample)} rows kept"
        if self._null is None:
            least = 1 / (self._permutations + 1)
            return (
                f"{kept}; {self._permutations} permutations a window tell p-values down to {least:.2g}; the level holds"
                " on average over references, and may be several times as high for this one"
            )
        windows = self._held / self._null.largest
        return (
            f"{kept}; level calibrated for this reference on {self._null.draws} windows of {self._null.largest} rows"
            f" from {self._held} held-out rows ({windows:.0f} windows), a fitted tail down to {LEAST:.0e};"
            f" windows of {self.least_rows} rows and more, larger ones by {self._null.largest} of their rows"
            f"{self._dependence()}"
        )

    def _dependence(self) -> str:
        if self._stretch == 1:
            return ""
        return f"; rows that lie together are alike: windows are drawn, and rows kept, by stretches of {self._stretch}"

    @classmethod
    def fit(cls, reference: Sample, options: ReferenceOptions, context: WindowFitContext) -> Self:
        rows = reference.rows
        check_reference(cls.kind, rows)
        if options.null == PERMUTATION:
            check_permutations(options.permutations, context.level)
            order = np.random.default_rng([context.seed, 1]).permutation(len(rows))
            measure = cls.measured(rows[order[: options.kept]], options, context.seed)
            return cls(measure, None, options.permutations, options.most_rows, 0, 1)
        if context.level < LEAST:
            raise ConfigurationError(f"a level of {context.level:.2g} a window: the fitted tail ends at {LEAST:.0e}")
        stretch = _stretch(rows, options, context)
        kept, holding = split_of(len(rows), options.kept, stretch, context.seed)
        largest = largest_window(cls.kind, context.window_rows, options.most_rows, len(holding))
        measure = cls.measured(rows[kept], options, context.seed)
        null = CalibratedNull.learn(
            measure.held(rows[holding]),
            in_stretches(len(holding), stretch),
            largest,
            options.draws,
            context.seed,
            context.progress,
        )
        fitted = cls(measure, null, options.permutations, options.most_rows, len(holding), stretch)
        return cls.restore(fitted.state(), Execution())

    @classmethod
    def measured(cls, rows: Matrix, options: ReferenceOptions, seed: int) -> ReferenceMeasure:
        """The statistic against these rows, which it keeps."""
        raise NotImplementedError

    def test(self, window: Sample) -> WindowTest:
        if self._null is None:
            return self._permuted(self._measure.sample, window.rows[thinned(window.rows, self._most_rows)])
        rows = window.rows[thinned(window.rows, self._null.largest)]
        statistic = self._measure.statistic(rows)
        return WindowTest(statistic, self._null.p_value(statistic, len(rows)), _NOTHING, _NOTHING, LEAST)

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        """By permutations, and below what they tell by a tail that is fitted to them."""
        rows = [each.rows[thinned(each.rows, self._most_rows)] for each in (reference, window)]
        statistics = self._regrouped(*rows)
        return WindowTest(float(statistics[0]), extended_p_value(statistics), _NOTHING, _NOTHING, LEAST)

    def state(self) -> State:
        arrays = dict(self._measure.arrays())
        if self._null is not None:
            arrays |= self._null.arrays("null")
        numbers = [self._permutations, self._most_rows, self._held, self._stretch]
        return State(arrays | {"numbers": np.array(numbers, np.int64)})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        arrays = state.arrays
        null = CalibratedNull.restore(arrays, "null") if "null.rows" in arrays else None
        return cls(cls.measure.of(arrays, arithmetic_of(execution)), null, *arrays["numbers"].tolist())

    def _permuted(self, reference: Matrix, rows: Matrix) -> WindowTest:
        statistics = self._regrouped(reference, rows)
        least = 1.0 / len(statistics)
        return WindowTest(float(statistics[0]), permutation_p_value(statistics), _NOTHING, _NOTHING, least)

    def _regrouped(self, reference: Matrix, rows: Matrix) -> Matrix:
        seed = seed_of(0, reference, rows)
        members = regroupings((len(reference), len(rows)), self._permutations, seed)
        return self._measure.regrouped(reference, rows, members)


def _stretch(rows: Matrix, options: ReferenceOptions, context: WindowFitContext) -> int:
    """For windows of the size that is known, or of a twentieth of the reference."""
    size = min(context.window_rows or len(rows) // _USUAL_SHARE, options.most_rows)
    return stretch_rows(rows, size, context.seed) if options.dependence and size > 1 else 1


def split_of(rows: int, most: int, stretch: int, seed: int) -> tuple[Indices, Indices]:
    """Which rows are kept, `most` or a quarter, in random order, and which calibrate, in their order where stretches of
    it are to be drawn; no stretch has both."""
    random = np.random.default_rng([seed, 1])
    count = min(most, rows // _KEPT_SHARE)
    if stretch == 1:
        order = random.permutation(rows)
        return order[:count], order[count:]
    of_stretch = np.arange(rows) // stretch
    order = random.permutation(int(of_stretch[-1]) + 1)
    may_keep = np.isin(of_stretch, order[: max(1, len(order) // _KEPT_SHARE)])
    return random.permutation(np.flatnonzero(may_keep))[:count], np.flatnonzero(~may_keep)


def fitting_arithmetic() -> Arithmetic:
    """Fits run in numpy, whatever serves."""
    return NumpyArithmetic()


def check_count(name: str, value: int, least: int, most: int) -> None:
    """Raises `ConfigurationError` where an option is out of its range."""
    if not least <= value <= most:
        raise ConfigurationError(f"{name} is {value}: give {least} to {most}")


def check_reference(kind: str, rows: Matrix) -> None:
    """Raises `ConfigurationError` where there are too few rows, one that is not finite, or only one row's copies."""
    if len(rows) < 40:
        raise ConfigurationError(f"{kind} needs at least 40 rows as its reference, there are {len(rows)}")
    if not np.isfinite(rows).all():
        raise ConfigurationError(f"{kind} takes finite numbers: scale the columns (transform scaled) or leave rows out")
    if np.ptp(rows, axis=0).max(initial=0.0) == 0:
        raise ConfigurationError(f"every row of {kind}'s reference is the same: there is no distance to measure by")
