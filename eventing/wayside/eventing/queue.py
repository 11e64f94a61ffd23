"""A queue bounded in items and in bytes, which never waits for room and counts what it turned away.

Invariant: `offered == taken + waiting + refused`, at every moment.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class QueueCounts:
    """What went through a queue since it was made; all counts are items."""

    offered: int = 0
    taken: int = 0
    refused: int = 0


class BoundedQueue(Generic[T]):
    """First in, first out, for one event loop. `offer` never blocks; `wait_take` waits for an item or for the close."""

    def __init__(self, limit_items: int, limit_bytes: int) -> None:
        self.limit_items = limit_items
        self.limit_bytes = limit_bytes
        self.counts = QueueCounts()
        self.bytes = 0
        self._items: deque[tuple[T, int]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T, size_bytes: int) -> bool:
        """Append the item, or return False, and count it as refused, where there is no room or the queue is closed."""
        self.counts.offered += 1
        if self._closed or len(self._items) >= self.limit_items or self.bytes + size_bytes > self.limit_bytes:
            self.counts.refused += 1
            return False
        self._items.append((item, size_bytes))
        self.bytes += size_bytes
        self._wake_one()
        return True

    async def wait_take(self) -> T | None:
        """The oldest item; None once the queue is closed and empty."""
        while not self._items:
            if self._closed:
                return None
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if self._items:
                    self._wake_one()  # the item that this taker was woken for, if it was, is another's now
                raise
            finally:
                self._waiters.remove(waiter)
        item, size_bytes = self._items.popleft()
        self.bytes -= size_bytes
        self.counts.taken += 1
        if self._items:
            self._wake_one()
        return item

    @contextmanager
    def holding(self, size_bytes: int) -> Iterator[None]:
        """Count the bytes of an item that was taken against the bound for as long as it takes memory all the same."""
        self.bytes += size_bytes
        try:
            yield
        finally:
            self.bytes -= size_bytes

    def close(self) -> None:
        """Take no more items; what is inside can still be taken. May be called twice."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _wake_one(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                return
