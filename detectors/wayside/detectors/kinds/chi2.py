"""`chi2`: chi-squared test of every column's categories against the reference's, Bonferroni over the columns.

Source: see `two_sample/chi_squared.py`. Columns of two values are tested exactly.
Invariant: that of `columnwise`. What is missing is a category, and so are all values together that were never seen.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from wayside.detectors.kinds.columnwise import ColumnTest, Columnwise, with_joint_null
from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions, refuse_many_values
from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.detectors.two_sample.cells import CategoryColumns
from wayside.detectors.two_sample.reference import ReferenceColumns
from wayside.eventing.errors import ConfigurationError

_MOST_VALUES = 1 << 13  # categories are never more: the schema has its own limit


@dataclass(frozen=True, slots=True)
class CategoryOptions(ReferenceOptions):
    """A column of numbers is taken as categories if it has at most `most_values` of them."""

    most_values: int = 32

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if not 2 <= self.most_values <= _MOST_VALUES:
            raise ConfigurationError(f"most_values is {self.most_values}: give 2 to {_MOST_VALUES}")


class ChiSquared(Columnwise):
    """Numbers are categories too, if they are few."""

    kind: ClassVar[str] = "chi2"
    summary: ClassVar[str] = "chi-squared a column of categories or of few numbers, Bonferroni over columns"
    takes_categories: ClassVar[bool] = True
    options: ClassVar[type[CategoryOptions]] = CategoryOptions

    @classmethod
    def fit(cls, reference: Sample, options: CategoryOptions, context: WindowFitContext) -> Self:
        held = Held.of(cls.kind, reference, options, context)
        categories = context.categories or (0,) * len(held.columns)
        limits = [_MOST_VALUES if each else options.most_values for each in categories]
        refuse_many_values(cls.kind, held.columns, limits, "judge numbers by tabular or ks, or set most_values")
        return with_joint_null(cls, held, reference, options, context)

    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        return CategoryColumns(reference)
