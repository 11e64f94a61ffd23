"""`fisher`: Fisher's exact test of every column of two values against the reference, Bonferroni over the columns.

Source: see `two_sample/hypergeometric.py`.
Invariant: that of `columnwise`. A column has at most two values, NaN being one; others in a window are evidence of
their own, with half the level.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.columnwise import ColumnTest, Columnwise, with_joint_null
from wayside.detectors.kinds.columnwise_reference import Held, ReferenceOptions, refuse_many_values
from wayside.detectors.kinds.protocol import Execution, Sample, State, WindowFitContext
from wayside.detectors.two_sample.cells import BinaryColumns
from wayside.detectors.two_sample.hypergeometric import Alternative
from wayside.detectors.two_sample.reference import ReferenceColumns
from wayside.eventing.errors import ConfigurationError

_ALTERNATIVES = tuple(Alternative)


@dataclass(frozen=True, slots=True)
class FisherOptions(ReferenceOptions):
    """`alternative` is two-sided, greater or less: whether the larger value's share must have grown, or shrunk."""

    alternative: str = Alternative.TWO_SIDED.value

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if self.alternative not in _ALTERNATIVES:
            raise ConfigurationError(f"alternative is {self.alternative!r}: give {', '.join(_ALTERNATIVES)}")


class FisherExact(Columnwise):
    """A column's distance is by how much the share of its larger value differs."""

    kind: ClassVar[str] = "fisher"
    summary: ClassVar[str] = "Fisher's exact test a column of two values, Bonferroni over columns"
    takes_categories: ClassVar[bool] = True
    options: ClassVar[type[FisherOptions]] = FisherOptions

    def __init__(self, held: Held, alternative: Alternative) -> None:
        self._alternative = alternative
        super().__init__(held)

    @classmethod
    def fit(cls, reference: Sample, options: FisherOptions, context: WindowFitContext) -> Self:
        held = Held.of(cls.kind, reference, options, context)
        refuse_many_values(cls.kind, held.columns, [2] * len(held.columns), "judge it by chi2, tabular or ks")
        alternative = Alternative(options.alternative)
        return with_joint_null(lambda each: cls(each, alternative), held, reference, options, context)

    def _against(self, reference: ReferenceColumns) -> ColumnTest:
        return BinaryColumns(reference, self._alternative)

    def state(self) -> State:
        chosen = np.array(_ALTERNATIVES.index(self._alternative))
        return State({**super().state().arrays, "alternative": chosen})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        chosen = int(state.arrays["alternative"])
        if not 0 <= chosen < len(_ALTERNATIVES):
            raise ValueError(f"'alternative' is {chosen}")
        return cls(Held.restore(state.arrays), _ALTERNATIVES[chosen])
