"""Which offsets of one partition may be committed, while events finish in any order.

Invariant: everything below `committable` is finished. An offset that never comes (compacted away, or a transaction's
marker) holds up nothing; one that has come and is not finished holds up all that come after it.
"""

from collections import deque
from typing import NamedTuple


class PartitionId(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class PartitionOffsets:
    """The offsets in hand of one partition: begun in rising order, finished in any. `limit` bounds the span."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: deque[int] = deque()
        self._finished: set[int] = set()
        self._next: int | None = None

    def begin(self, offset: int) -> bool:
        """Take an offset in hand. False where the log went back, cut or made anew: begin afresh then."""
        if self._next is not None and offset < self._next:
            return False
        self._begun.append(offset)
        self._next = offset + 1
        return True

    def pass_over(self, end: int) -> None:
        """The log was read up to `end`: what has not come below it never will."""
        self._next = end if self._next is None else max(self._next, end)

    def finish(self, offset: int) -> None:
        """Settle an offset that was begun, once. Raises `ValueError` for one that is not in hand."""
        if offset in self._finished or not self._begun or not self._begun[0] <= offset <= self._begun[-1]:
            raise ValueError(f"offset {offset} is not in hand")
        self._finished.add(offset)
        while self._begun and self._begun[0] in self._finished:
            self._finished.discard(self._begun.popleft())

    @property
    def committable(self) -> int | None:
        """The next offset that a successor has to read; None before the first."""
        return self._begun[0] if self._begun else self._next

    @property
    def unfinished(self) -> int:
        """Offsets begun and not finished."""
        return len(self._begun) - len(self._finished)

    @property
    def room(self) -> int:
        """How many more offsets may be begun before the span is at its limit."""
        return max(0, self._limit - len(self._begun))
