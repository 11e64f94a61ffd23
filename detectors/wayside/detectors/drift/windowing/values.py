"""What goes into windowing and what comes out: arrivals of rows, and windows of them.

Invariant: a window is made of whole rows of arrivals, in the order of (time, source, id, part) and of the rows in each;
its positions count the key's rows in that order from 0, without gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_verdict import RowRange


@dataclass(frozen=True, slots=True, order=True)
class WindowKey:
    """Whose rows share windows: an endpoint of a revision of a service. Either is empty where windows hold several of
    them side by side, to be compared."""

    service: ServiceKey
    revision: str = ""

    def __str__(self) -> str:
        """One line for logs and storage keys; two keys never share it."""
        revision = self.revision.replace("%", "%25").replace("/", "%2F")
        return f"{self.service}/{revision}"


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """The rows of one event, shape (rows, columns) as they are coded, at least one.

    `position` is its place in the order of arrival, rising; `time_ns` is event time, `time` its text. `group` is what
    its rows are told apart by where windows compare (a revision, an endpoint), else empty. `came_ns` is when it came by
    the receiver's clock, where that is known. `part` tells events apart that speak of one inference, (source, id):
    verdicts of several detectors.
    """

    position: int
    key: WindowKey
    source: str
    id: str
    time_ns: int
    time: str
    rows: Matrix
    group: str = ""
    came_ns: int | None = None
    part: str = ""

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Where it stands among the arrivals of its key."""
        return self.time_ns, self.source, self.id, self.part

    @property
    def told_ns(self) -> int:
        """The time that it tells others it is: its own, but never later than it came, so that a sender whose clock is
        ahead makes no one else late."""
        return self.time_ns if self.came_ns is None else min(self.time_ns, self.came_ns)


class Fate(StrEnum):
    """What becomes of an arrival: its rows go into windows; it came behind the watermark; or there is no room for its
    rows in the key's open stretch."""

    TAKEN = "taken"
    LATE = "late"
    OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One window of a key, at most `settings.cut` long.

    `rows` (n, columns) and `time_s` (n,), in seconds since the epoch; `first` and `end` are positions of rows of the
    key: ranges that follow each other, or overlap where windows slide; spans without a row leave no gap in them.
    `groups` (n,) indexes `group_names`. `start_ns` and `end_ns` are its span where windows are spans of time, else the
    times of its first and last row. `time` is the text of the latest request time among its rows. Up to `budget_ns`
    time has passed for what windows may spend: to the end of a span; of a window of so many rows up to its last row,
    where the time between two events is shared evenly by the rows of the second, so that windows cut from one event
    have time of their own.
    """

    key: WindowKey
    first: int
    end: int
    rows: Matrix
    time_s: Vector
    members: Sequence[RowRange]
    time: str
    start_ns: int
    end_ns: int
    budget_ns: int
    groups: NDArray[np.intp]
    group_names: tuple[str, ...] = ("",)
