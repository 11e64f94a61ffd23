"""How much of the rows that came is held in memory, by key: what bounds it, and who is told to come again later.

Invariant: what was admitted is released once; nothing is refused that is on disk.
"""

from collections import defaultdict

from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.eventing.errors import QueueFull


class Room:
    """`key_bytes` of one key and `all_bytes` of all, from admission until the rows are spent.

    A single event always has room beside nothing else, whatever its size.
    """

    def __init__(self, key_bytes: int, all_bytes: int) -> None:
        self._key_bytes = key_bytes
        self._all_bytes = all_bytes
        self._of_key: defaultdict[WindowKey, int] = defaultdict(int)
        self._of_arrival: dict[int, tuple[WindowKey, int]] = {}
        self.used_bytes = 0

    def check(self, key: WindowKey, size: int = 0) -> None:
        """Raises `QueueFull` where windows are not judged as fast as rows come."""
        used = self._of_key.get(key, 0)
        if used and used + size > self._key_bytes:
            raise QueueFull(f"{used} bytes of rows of {key} wait for their windows to be judged")
        if self.used_bytes and self.used_bytes + size > self._all_bytes:
            raise QueueFull(f"{self.used_bytes} bytes of rows wait for their windows to be judged")

    def admit(self, key: WindowKey, size: int) -> None:
        """Take the room for an event that is being stored; as `check`, it may refuse it."""
        self.check(key, size)
        self._add(key, size)

    def withdraw(self, key: WindowKey, size: int) -> None:
        """What was admitted is stored, or never will be."""
        self._add(key, -size)

    def hold(self, arrival: Arrival) -> None:
        """What is stored is never refused; it is released by its position."""
        self._of_arrival[arrival.position] = arrival.key, arrival.rows.nbytes
        self._add(arrival.key, arrival.rows.nbytes)

    def release(self, position: int) -> None:
        """The rows of an arrival are held no more."""
        key, size = self._of_arrival.pop(position)
        self._add(key, -size)

    def _add(self, key: WindowKey, size: int) -> None:
        self.used_bytes += size
        self._of_key[key] += size
        if not self._of_key[key]:
            del self._of_key[key]
