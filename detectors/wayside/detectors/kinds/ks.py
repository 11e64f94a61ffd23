"""`ks`: two-sample Kolmogorov-Smirnov test of every column against the reference, Bonferroni over the columns.

Source: see `two_sample/kolmogorov.py`. Ties make the test conservative.
Invariant: that of `columnwise`. NaN is larger than every number, so that it moves the distance and is never lost.
"""

from typing import ClassVar, Self

from wayside.detectors.kinds.columnwise import ColumnTest, Columnwise, with_joint_null
from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions
from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.detectors.two_sample.kolmogorov import KolmogorovColumns
from wayside.detectors.two_sample.reference import ReferenceColumns


class KolmogorovSmirnov(Columnwise):
    """Sees most of what moves a distribution's middle; the quickest test of numbers."""

    kind: ClassVar[str] = "ks"
    summary: ClassVar[str] = "two-sample Kolmogorov-Smirnov a column, Bonferroni over columns"

    @classmethod
    def fit(cls, reference: Sample, options: ReferenceOptions, context: WindowFitContext) -> Self:
        held = Held.of(cls.kind, reference, options, context)
        return with_joint_null(cls, held, reference, options, context)

    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        return KolmogorovColumns(reference)
