"""`cvm`: two-sample Cramér-von Mises test of every column against the reference, Bonferroni over the columns.

Source: see `two_sample/cramer.py`. Ties make the test conservative.
Invariant: that of `columnwise`. NaN is larger than every number, so that it moves the statistic and is never lost.
"""

from typing import ClassVar, Self

from wayside.detectors.kinds.columnwise import ColumnTest, Columnwise, with_joint_null
from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions
from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.detectors.two_sample.cramer import CramerColumns
from wayside.detectors.two_sample.reference import ReferenceColumns


class CramerVonMises(Columnwise):
    """Sees small shifts all along a distribution better than Kolmogorov-Smirnov, and takes three times as long."""

    kind: ClassVar[str] = "cvm"
    summary: ClassVar[str] = "two-sample Cramér-von Mises a column, Bonferroni over columns"

    @classmethod
    def fit(cls, reference: Sample, options: ReferenceOptions, context: WindowFitContext) -> Self:
        held = Held.of(cls.kind, reference, options, context)
        return with_joint_null(cls, held, reference, options, context)

    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        return CramerColumns(reference)
