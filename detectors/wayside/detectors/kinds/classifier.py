"""`classifier`: how well a small classifier tells a window from a kept sample of the reference.

Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
Invariant: as `ReferenceWindows`.
"""

from dataclasses import dataclass
from typing import ClassVar

from wayside.detectors.kernels.classifier import ClassifierMeasure
from wayside.detectors.kernels.measures import ReferenceMeasure
from wayside.detectors.kinds.protocol import Matrix
from wayside.detectors.kinds.reference_windows import ReferenceOptions, ReferenceWindows, fitting_arithmetic
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ClassifierOptions(ReferenceOptions):
    """`features` random cosines stand beside the columns."""

    features: int = 64

    def __post_init__(self) -> None:
        ReferenceOptions.__post_init__(self)
        if not 1 <= self.features <= 1024:
            raise ConfigurationError(f"features is {self.features}: give 1 to 1024")


class ClassifierTwoSample(ReferenceWindows):
    """The statistic is an AUC: 1/2 where nothing tells the window's rows, 1 where every one is told."""

    kind: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "windows: out-of-fold AUC of a classifier, level calibrated on held-out windows"
    options: ClassVar[type[ReferenceOptions]] = ClassifierOptions
    measure: ClassVar[type[ReferenceMeasure]] = ClassifierMeasure

    @classmethod
    def measured(cls, rows: Matrix, options: ReferenceOptions, seed: int) -> ReferenceMeasure:
        assert isinstance(options, ClassifierOptions)
        return ClassifierMeasure.fit(rows, options.features, fitting_arithmetic(), seed)
