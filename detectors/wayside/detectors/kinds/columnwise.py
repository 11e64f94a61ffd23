"""What the tests by column share: a compact reference, the family of a window's columns, and a reference that is fixed.

Source: Westfall and Young (1993) by `nulls/joint.py`, else Bonferroni's inequality; `nulls/dependence.py` for rows that
are alike; `two_sample/reference_size.py` for the correction.
Invariant: `p_value` is valid for the window as a whole and for this reference: with rows drawn as the reference's were,
P(p_value ≤ a) ≤ a over draws of both, and for 95 of 100 references at most 2 a over windows alone. It is at most the
number of columns times the smallest of `feature_p_value`, which are the columns' own. NaN is a value of its own, and a
constant column is no evidence until it changes.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np

from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions, drawn_windows, usual_window
from wayside.detectors.kinds.protocol import (
    Execution,
    Matrix,
    Sample,
    State,
    Vector,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.detectors.nulls.joint import JointNull
from wayside.detectors.two_sample.reference import ReferenceColumns, ordered_columns
from wayside.detectors.two_sample.reference_size import corrected

_LEAST_ROWS = 2


class ColumnTest(Protocol):
    """A test of columns against one reference, which it was made of."""

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """The distances and p-values of sorted columns of shape (d, n), NaN last: each of shape (d,). `effects` (d,)
        say how many rows of a column are worth an independent one; where they are given, p-values may be bounds."""


class Columnwise(WindowDetector):
    """A kind says by `_against` what test its columns are put to."""

    takes_missing: ClassVar[bool] = True
    transform: ClassVar[str] = "columns"
    options: ClassVar[type[Any]] = ReferenceOptions

    def __init__(self, held: Held) -> None:
        self._held = held
        self._test = self._against(held.columns)

    @abstractmethod
    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        """The test of this kind against a reference, its own or another of as many columns."""

    @property
    def features(self) -> int:
        return len(self._held.columns)

    @property
    def least_rows(self) -> int:
        return _LEAST_ROWS

    def described(self) -> str:
        """What the reference promises, and what was done where it is small: one line for people."""
        return self._held.described()

    def test(self, window: Sample) -> WindowTest:
        return self._outcome(self._test, window.rows, self._held.columns.rows / len(window))

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        """Both samples are drawn anew for every comparison, so that no reference's chance stays for long."""
        return self._outcome(self._against(ReferenceColumns.of(reference.rows)), window.rows, None)

    def least_p_value(self, window: Matrix) -> float:
        """The smallest of the columns' p-values of rows drawn of the reference itself, which they scatter about by less
        than fresh rows would: by m / (m + n)."""
        m, n = self._held.columns.rows, len(window)
        scatter = (np.ones(self.features) if self._held.effects is None else self._held.effects) * (m / (m + n))
        return float(self._test.test(ordered_columns(window), scatter)[1].min())

    def state(self) -> State:
        return State(self._held.arrays())

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(Held.restore(state.arrays))

    def _outcome(self, test: ColumnTest, rows: Matrix, ratio: float | None) -> WindowTest:
        """`ratio` is how many times the window's rows a reference has that stays; None where it does not.

        The statistic is that of the column that decides: columns may have different tests.
        """
        joint = self._held.joint_of(len(rows))
        distances, p_values = test.test(ordered_columns(rows), self._scatter(joint))
        least = float(p_values.min())
        family = min(1.0, len(p_values) * least) if joint is None else joint.p_value(least)
        if ratio is not None:
            family = float(corrected(np.array([family]), ratio)[0])
            p_values = _of_family(p_values, ratio)
        return WindowTest(
            statistic=float(distances[np.lexsort((-distances, p_values))[0]]),
            p_value=family,
            feature_distance=distances,
            feature_p_value=p_values,
        )

    def _scatter(self, joint: JointNull | None) -> Vector | None:
        """Effects for the test: of ones where p-values are compared with drawn ones, none of which is exact either."""
        effects = self._held.effects
        return np.ones(self.features) if effects is None and joint is not None else effects


K = TypeVar("K", bound=Columnwise)


def with_joint_null(
    make: Callable[[Held], K], held: Held, reference: Sample, options: ReferenceOptions, context: WindowFitContext
) -> K:
    """A detector of what is held, once it has judged windows drawn of the reference, if any are to be drawn."""
    detector = make(held)
    if not options.draws or detector.features == 1 or held.is_alike:
        return detector
    least = np.array([detector.least_p_value(window) for window in drawn_windows(reference, options, context)])
    size = usual_window(len(reference), context)
    return make(replace(held, joint=JointNull.of(least, detector.features), drawn_rows=size))


def _of_family(p_values: Vector, ratio: float) -> Vector:
    """Raised as the window's p-value is that each of them would lead to by their number."""
    family = np.minimum(len(p_values) * p_values, 1.0)
    return np.maximum(p_values, corrected(family, ratio) / len(p_values))
