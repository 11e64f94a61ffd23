"""Rows through a stateful detector: each event's rows in order, by a memory that the rows before them have moved.

Invariant: scores and memory follow from the memory before, the rows and their cut into events alone. A row whose
features, or whose score, are not finite scores +inf; one whose features are not is never learned.
"""

from collections.abc import Iterator

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, StatefulRowDetector, Vector
from wayside.detectors.tabular.preprocessing import Preprocessing

EVENT_ROWS = 16  # of an event, where rows come without any


def advance_rows(
    detector: StatefulRowDetector, preprocessing: Preprocessing, memory: Arrays, coded: Matrix
) -> tuple[Vector, Arrays]:
    """One event's coded rows, shape (n, columns): a score a row, shape (n,), and the memory after them."""
    rows = preprocessing.apply(coded)
    finite = np.isfinite(rows).all(axis=1)
    scores = np.full(len(rows), np.inf)
    if finite.any():
        scores[finite], memory = detector.advance(memory, rows[finite])
    return np.where(np.isfinite(scores), scores, np.inf), memory


def score_stream(
    detector: StatefulRowDetector, preprocessing: Preprocessing, coded: Matrix, event_rows: int = EVENT_ROWS
) -> Iterator[Vector]:
    """The scores of coded rows that arrive in events of `event_rows`, an event at a time, from the fitted memory on."""
    memory = detector.memory()
    for first in range(0, len(coded), event_rows):
        scores, memory = advance_rows(detector, preprocessing, memory, coded[first : first + event_rows])
        yield scores
