"""Scores of many coded rows, a part at a time: as a service gives them, whatever the kind.

Invariant: a stateless kind's score of a row is the bits that a service gives it; a stateful kind's rows are one stream,
in their order, from the fitted memory on.
"""

from collections.abc import Iterator
from typing import cast

from wayside.detectors.kinds.protocol import Matrix, RowDetector, Scores, StatefulRowDetector
from wayside.detectors.kinds.registry import STATEFUL_KINDS
from wayside.detectors.scoring.judge import score_rows
from wayside.detectors.scoring.stream import score_stream
from wayside.detectors.tabular.preprocessing import Preprocessing

PART_ROWS = 1024


def score_parts(detector: RowDetector, preprocessing: Preprocessing, coded: Matrix) -> Iterator[Scores]:
    """The scores of coded rows of shape (n, columns) in their order, +inf where one is not finite."""
    if detector.kind in STATEFUL_KINDS:
        yield from score_stream(cast("StatefulRowDetector", detector), preprocessing, coded)
        return
    for first in range(0, len(coded), PART_ROWS):
        yield score_rows(detector, preprocessing, coded[first : first + PART_ROWS])
