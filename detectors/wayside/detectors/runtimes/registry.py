"""Which kinds of detectors there are.

Invariant: a kind is in exactly one of the two mappings, and neither mapping changes while the program runs.
"""

from collections.abc import Mapping
from types import MappingProxyType

from wayside.detectors.runtimes.knn import NearestNeighbours
from wayside.detectors.runtimes.ks import KolmogorovSmirnov
from wayside.detectors.runtimes.mahalanobis import Mahalanobis
from wayside.detectors.runtimes.protocol import RowDetector, WindowDetector

ROW_DETECTORS: Mapping[str, type[RowDetector]] = MappingProxyType(
    {detector.kind: detector for detector in (NearestNeighbours, Mahalanobis)}
)
WINDOW_DETECTORS: Mapping[str, type[WindowDetector]] = MappingProxyType(
    {detector.kind: detector for detector in (KolmogorovSmirnov,)}
)
KINDS = (*ROW_DETECTORS, *WINDOW_DETECTORS)
