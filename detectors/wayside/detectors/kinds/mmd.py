"""`mmd`: the maximum mean discrepancy of a window from a kept sample of the reference, by an RBF kernel.

Source: Gretton et al., "A kernel two-sample test", JMLR 13 (2012); bandwidth by the median heuristic.
Invariant: as `ReferenceWindows`.
"""

from dataclasses import dataclass
from typing import ClassVar

from wayside.detectors.kernels.measures import ReferenceMeasure
from wayside.detectors.kernels.mmd import MmdMeasure
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.kinds.reference_windows import ReferenceOptions, ReferenceWindows, fitting_arithmetic
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class MmdOptions(ReferenceOptions):
    """`width` is the kernel's, in the units of the features; 0 for the median heuristic."""

    width: float = 0.0

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if not 0 <= self.width < float("inf"):
            raise ConfigurationError(f"width is {self.width:g}: give a number above 0, or 0 for the median heuristic")


class MaximumMeanDiscrepancy(ReferenceWindows):
    """The statistic is unbiased: it has mean 0 where window and kept sample are of one population."""

    kind: ClassVar[str] = "mmd"
    summary: ClassVar[str] = "windows: maximum mean discrepancy, RBF kernel, level calibrated on held-out windows"
    options: ClassVar[type[ReferenceOptions]] = MmdOptions
    measure: ClassVar[type[ReferenceMeasure]] = MmdMeasure

    @classmethod
    def measured(cls, rows: Matrix, options: ReferenceOptions, seed: int) -> ReferenceMeasure:
        assert isinstance(options, MmdOptions)
        return MmdMeasure.fit(rows, fitting_arithmetic(), options.width)
