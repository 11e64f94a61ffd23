"""The queue in memory before the log url, bounded in events and in bytes, and how much of it goes in one message.

Invariant: nothing waits here for room, and `bytes` counts a parcel from its `offer` to its `release`, so that the
bound in bytes holds for what is on its way too.
"""

from collections import deque
from dataclasses import dataclass

from wayside.logger.emit.parcel import Parcel


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A message carries at most `events`, and `size_bytes` or one event; the first waits at most `interval_s`."""

    events: int = 1
    interval_s: float = 0.0
    size_bytes: int = 4 << 20


class Outbox:
    """First in, first out, for one event loop. `bytes` are those that wait or are being sent."""

    def __init__(self, limit_items: int, limit_bytes: int, batches: BatchLimits) -> None:
        self.limit_items = limit_items
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.is_closed = self.hurries = False  # closed: takes no more; in a hurry: nothing waits for more
        self._batches = batches
        self._parcels: deque[Parcel] = deque()
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._parcels)

    def offer(self, parcel: Parcel) -> bool:
        """Take a parcel, or return False where there is no room or the outbox is closed. One has room at least, however
        large it is."""
        held_bytes = self.bytes + parcel.size_bytes
        is_over = held_bytes > self.limit_bytes and self.bytes > 0
        if self.is_closed or is_over or len(self._parcels) >= self.limit_items:
            return False
        self.bytes = held_bytes
        self._waiting_bytes += parcel.size_bytes
        self._parcels.append(parcel)
        return True

    def release(self, size_bytes: int) -> None:
        """A parcel that was taken takes no memory any more."""
        self.bytes -= size_bytes

    def wait_s(self, now_s: float) -> float:
        """How long what waits may wait for more; 0 where it is to go now, or nothing waits."""
        batches, waits = self._batches, self._parcels
        if not waits or self.hurries or len(waits) >= batches.events or self._waiting_bytes >= batches.size_bytes:
            return 0.0
        return max(0.0, waits[0].since_s + batches.interval_s - now_s)

    def take(self) -> list[Parcel]:
        """The parcels of the next message, oldest first; none where nothing waits."""
        waits = self._parcels
        taken: list[Parcel] = []
        if waits and self._batches.events == 1:
            parcel = waits.popleft()
            self._waiting_bytes -= parcel.size_bytes
            return [parcel]
        taken_bytes, limit_bytes = 0, self._batches.size_bytes
        while waits and len(taken) < self._batches.events:
            if taken and taken_bytes + waits[0].size_bytes > limit_bytes:
                break
            taken.append(waits.popleft())
            taken_bytes += taken[-1].size_bytes
        self._waiting_bytes -= taken_bytes
        return taken

    def take_all(self) -> list[Parcel]:
        """All that waits."""
        rest = list(self._parcels)
        self._parcels.clear()
        self._waiting_bytes = 0
        return rest
