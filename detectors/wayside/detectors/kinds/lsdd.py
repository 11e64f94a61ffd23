"""`lsdd`: the least-squares density difference of a window from a kept sample of the reference.

Source: Bu, Alippi and Zhao, "A pdf-free change detection test based on density difference estimation", IEEE TNNLS 29
(2018).
Invariant: as `ReferenceWindows`.
"""

from dataclasses import dataclass
from typing import ClassVar

from wayside.detectors.kernels.lsdd import LsddMeasure
from wayside.detectors.kernels.measures import ReferenceMeasure
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.kinds.reference_windows import ReferenceOptions, ReferenceWindows, fitting_arithmetic
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class LsddOptions(ReferenceOptions):
    """`centres` rows of the reference carry the Gaussians, half of those that are kept at most."""

    centres: int = 100

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if not 2 <= self.centres <= 2000:
            raise ConfigurationError(f"centres is {self.centres}: give 2 to 2000")


class LeastSquaresDensityDifference(ReferenceWindows):
    """A window costs its rows' kernels with the centres, whatever is kept."""

    kind: ClassVar[str] = "lsdd"
    summary: ClassVar[str] = "windows: least-squares density difference, level calibrated on held-out windows"
    options: ClassVar[type[ReferenceOptions]] = LsddOptions
    measure: ClassVar[type[ReferenceMeasure]] = LsddMeasure

    @classmethod
    def measured(cls, rows: Matrix, options: ReferenceOptions, seed: int) -> ReferenceMeasure:
        assert isinstance(options, LsddOptions)
        return LsddMeasure.fit(rows, options.centres, fitting_arithmetic(), seed)
