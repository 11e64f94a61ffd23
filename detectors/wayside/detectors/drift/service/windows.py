"""Windows of rows over the row log, as arithmetic: which are complete, which rows they hold, when they happened.

Invariant: windows of a key follow each other without gap or overlap from position 0 in persisted order of arrival, so
the same log gives the same windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wayside.detectors.drift.service.row_log import Entry
from wayside.detectors.kinds.protocol import Matrix
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import WaysideError
from wayside.eventing.verdict import RowRange
from wayside.eventing.vocabulary import ServiceKey


class RowsMissing(WaysideError):
    """The row log does not hold the rows that a window needs."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The rows of one window, shape (end - first, d), whose they are, and the latest time of a request among them."""

    first: int
    end: int
    rows: Matrix
    members: Sequence[RowRange]
    time: str


def complete_windows(position: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """The windows [first, end) of `size` rows that are full, from a checkpoint up to the end of a key."""
    for first in range(position, end - size + 1, size):
        yield first, first + size


def assemble(entries: Sequence[Entry], first: int, end: int, features: int) -> Window:
    """The window [first, end) from the log's entries that overlap it, in order.

    Raises `RowsMissing` where they do not cover it, or their rows are of another width.
    """
    members: list[RowRange] = []
    parts: list[Matrix] = []
    position = first
    for entry in entries:
        if entry.first > position or entry.end <= position:
            break
        upto = min(end, entry.end)
        members.append(RowRange(entry.source, entry.id, position - entry.first, upto - entry.first, entry.time))
        parts.append(from_payload(entry, features)[position - entry.first : upto - entry.first])
        position = upto
    if position != end:
        raise RowsMissing(f"rows {position} to {end} are missing from the row log")
    return Window(first, end, np.concatenate(parts), members, latest_time([entry.time for entry in entries]))


def latest_time(times: Sequence[str]) -> str:
    """The text of the latest time; the first such text where two texts mean the same moment."""
    return max(times, key=parse_time)


def to_payload(rows: Matrix) -> bytes:
    """Rows as the row log keeps them: float64, little-endian, row-major."""
    return np.ascontiguousarray(rows, dtype="<f8").tobytes()


def from_payload(entry: Entry, features: int) -> Matrix:
    """The rows of an entry, shape (rows, features). Raises `RowsMissing` where the payload is of another size."""
    if len(entry.payload) != 8 * entry.rows * features:
        raise RowsMissing(
            f"event {entry.id!r} holds {len(entry.payload)} bytes for {entry.rows} rows of {features} features"
        )
    return np.frombuffer(entry.payload, dtype="<f8").astype(np.float64).reshape(entry.rows, features)


def parse_key(text: str) -> ServiceKey:
    """The key that `str(key)` named."""
    parts = [part.replace("%2F", "/").replace("%25", "%") for part in text.split("/")]
    namespace, service, component, endpoint = parts
    return ServiceKey(namespace, service, component, endpoint)
