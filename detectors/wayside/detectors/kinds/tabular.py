"""`tabular`: every column by its type: numbers by their distribution function, categories by chi-squared.

Source: see `two_sample/kolmogorov.py`, `two_sample/cramer.py` and `two_sample/chi_squared.py`.
Invariant: that of `columnwise`. Which test a column is put to is settled when it is fitted, and holds for comparisons.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.columnwise import ColumnTest, Columnwise, with_joint_null
from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions
from wayside.detectors.kinds.protocol import Execution, Matrix, Sample, State, Vector, WindowFitContext
from wayside.detectors.two_sample.cells import CategoryColumns
from wayside.detectors.two_sample.cramer import CramerColumns
from wayside.detectors.two_sample.kolmogorov import KolmogorovColumns
from wayside.detectors.two_sample.reference import ReferenceColumns
from wayside.eventing.errors import ConfigurationError

_MOST_FEW = 1 << 10


class NumberTest(StrEnum):
    """What numbers are put to."""

    KS = "ks"
    CVM = "cvm"


@dataclass(frozen=True, slots=True)
class TabularOptions(ReferenceOptions):
    """`numbers` is ks or cvm. Numbers of at most `few_values` distinct values are tested as categories are."""

    numbers: str = NumberTest.KS.value
    few_values: int = 10

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if self.numbers not in tuple(NumberTest):
            raise ConfigurationError(f"numbers is {self.numbers!r}: give {', '.join(NumberTest)}")
        if not 0 <= self.few_values <= _MOST_FEW:
            raise ConfigurationError(f"few_values is {self.few_values}: give 0 to {_MOST_FEW}")


class _Test(StrEnum):
    """How a state names a column's test, by position: these keep their places."""

    CATEGORIES = "categories"
    KS = "ks"
    CVM = "cvm"


_TESTS = tuple(_Test)


class MixedColumns:
    """Columns of different tests against one reference; `chosen` (d,) says which, by position in `_Test`."""

    def __init__(self, reference: ReferenceColumns, chosen: NDArray[np.uint8]) -> None:
        self._columns = len(reference)
        groups = [(test, np.flatnonzero(chosen == at)) for at, test in enumerate(_TESTS)]
        self._groups = [(at, _test_of(test, reference.take(at))) for test, at in groups if len(at)]

    def test(self, window: Matrix, effects: Vector | None = None) -> tuple[Vector, Vector]:
        """As each column's own test has it: a distance, a statistic or Pearson's X², and p-values."""
        distances, p_values = np.empty(self._columns), np.empty(self._columns)
        for at, test in self._groups:
            distances[at], p_values[at] = test.test(window[at], None if effects is None else effects[at])
        return distances, p_values


class Tabular(Columnwise):
    """What is mostly wanted of a table: nothing has to be said of its columns."""

    kind: ClassVar[str] = "tabular"
    summary: ClassVar[str] = "a column by its type: Kolmogorov-Smirnov or Cramér-von Mises, chi-squared; Bonferroni"
    takes_categories: ClassVar[bool] = True
    options: ClassVar[type[TabularOptions]] = TabularOptions

    def __init__(self, held: Held, chosen: NDArray[np.uint8]) -> None:
        if chosen.shape != (len(held.columns),) or not (chosen < len(_TESTS)).all():
            raise ValueError(f"'tests' of {len(held.columns)} columns has shape {chosen.shape}, or tests not known")
        self._chosen = chosen
        super().__init__(held)

    @classmethod
    def fit(cls, reference: Sample, options: TabularOptions, context: WindowFitContext) -> Self:
        held = Held.of(cls.kind, reference, options, context)
        categories = context.categories or (0,) * len(held.columns)
        numbers = _TESTS.index(_Test(options.numbers))
        few = [
            bool(each) or column.at_most(options.few_values)
            for each, column in zip(categories, held.columns.columns, strict=True)
        ]
        chosen = np.where(few, _TESTS.index(_Test.CATEGORIES), numbers).astype(np.uint8)
        return with_joint_null(lambda each: cls(each, chosen), held, reference, options, context)

    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        return MixedColumns(reference, self._chosen)

    def state(self) -> State:
        return State({**super().state().arrays, "tests": self._chosen})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(Held.restore(state.arrays), state.arrays["tests"])


def _test_of(test: _Test, reference: ReferenceColumns) -> ColumnTest:
    match test:
        case _Test.KS:
            return KolmogorovColumns(reference)
        case _Test.CVM:
            return CramerColumns(reference)
        case _Test.CATEGORIES:
            return CategoryColumns(reference)
