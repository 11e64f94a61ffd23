"""Positions in hand, and the oldest of them.

Invariant: memory goes by how many are open, not by how far they lie apart.
"""

import heapq

_SLACK = 1024


class OpenPositions:
    """Which deliveries were handed out and are not settled; nothing before the oldest is."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._heap: list[int] = []  # of every open one, and of some that are finished

    def begin(self, position: int) -> None:
        self._open.add(position)
        heapq.heappush(self._heap, position)

    def finish(self, position: int) -> None:
        self._open.discard(position)
        if len(self._heap) > 2 * len(self._open) + _SLACK:
            self._heap = sorted(self._open)

    @property
    def oldest(self) -> int | None:
        while self._heap and self._heap[0] not in self._open:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None
