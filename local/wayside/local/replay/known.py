"""Which events were taken before: what a service finds in its journal, for the length of a replay.

Invariant: an event is taken once while it is remembered, `remember_ns` of event time behind the latest; one that is
older than that is late, since nobody can tell. No more is held than the stretch of event time that is remembered.
"""

from collections import deque
from enum import StrEnum

_DIGEST_BYTES = 16


class Meeting(StrEnum):
    """Whether an event is met for the first time."""

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LATE = "late"


class KnownEvents:
    """Events by an identity and a digest of their data."""

    def __init__(self, remember_s: float) -> None:
        self._remember_ns = round(remember_s * 1e9)
        self._digests: dict[bytes, bytes] = {}
        self._order: deque[tuple[int, bytes]] = deque()
        self._latest_ns = 0

    def meet(self, identity: bytes, digest: bytes, time_ns: int) -> Meeting:
        """What an event is; it is remembered where it is new."""
        digest = digest[:_DIGEST_BYTES]
        known = self._digests.get(identity)
        if known is not None:
            return Meeting.DUPLICATE if known == digest else Meeting.CONFLICT
        if time_ns < self._latest_ns - self._remember_ns:
            return Meeting.LATE
        self._digests[identity] = digest
        self._order.append((time_ns, identity))
        self._latest_ns = max(self._latest_ns, time_ns)
        while self._order[0][0] < self._latest_ns - self._remember_ns:
            del self._digests[self._order.popleft()[1]]
        return Meeting.NEW
