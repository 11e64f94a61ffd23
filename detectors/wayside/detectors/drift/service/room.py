"""How much of the rows that came is held in memory, by key: what bounds it, and who is told to come again later.

Invariant: what was admitted is released once; nothing is refused that is on disk. What waits only to be written off
takes a small share of the room, and none that is refused to somebody.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NoReturn

from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.eventing.errors import QueueFull

_SPENT_SHARE = 8  # an eighth of the room may be taken by rows that no window needs, before they are written off


class Room:
    """`key_bytes` of one key and `all_bytes` of all, from admission until the rows are spent.

    A single event always has room beside nothing else, whatever its size. `pressed` is called where an event is refused
    although there are rows that no window needs.
    """

    def __init__(self, key_bytes: int, all_bytes: int) -> None:
        self._key_bytes = key_bytes
        self._all_bytes = all_bytes
        self._of_key: defaultdict[WindowKey, int] = defaultdict(int)
        self._of_arrival: dict[int, tuple[WindowKey, int]] = {}
        self._spent: set[int] = set()
        self._spent_of_key: defaultdict[WindowKey, int] = defaultdict(int)
        self._spent_bytes = 0
        self.used_bytes = 0
        self.pressed: Callable[[], None] = lambda: None

    def check(self, key: WindowKey, size: int = 0) -> None:
        """Raises `QueueFull` where windows are not judged as fast as rows come."""
        used = self._of_key.get(key, 0)
        if used and used + size > self._key_bytes:
            self._refuse(f"{used} bytes of rows of {key} wait for their windows to be judged")
        if self.used_bytes and self.used_bytes + size > self._all_bytes:
            self._refuse(f"{self.used_bytes} bytes of rows wait for their windows to be judged")

    def _refuse(self, reason: str) -> NoReturn:
        if self._spent:
            self.pressed()
        raise QueueFull(reason)

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

    def spend(self, positions: Iterable[int]) -> None:
        """No window needs these arrivals: they are to be written off, and released then."""
        for position in positions:
            self._spent.add(position)
            self._add_spent(*self._of_arrival[position])

    @property
    def is_spent(self) -> bool:
        """Whether so much of all room is spent that every key is to write off what is."""
        return self._spent_bytes * _SPENT_SHARE >= self._all_bytes

    def is_spent_by(self, key: WindowKey) -> bool:
        """Whether so much of a key's room is spent that the key is to write it off."""
        return self._spent_of_key.get(key, 0) * _SPENT_SHARE >= self._key_bytes

    def release(self, position: int) -> None:
        """The rows of an arrival are held no more."""
        key, size = self._of_arrival.pop(position)
        self._add(key, -size)
        if position in self._spent:
            self._spent.remove(position)
            self._add_spent(key, -size)

    def _add(self, key: WindowKey, size: int) -> None:
        self.used_bytes += size
        _count(self._of_key, key, size)

    def _add_spent(self, key: WindowKey, size: int) -> None:
        self._spent_bytes += size
        _count(self._spent_of_key, key, size)


def _count(sizes: defaultdict[WindowKey, int], key: WindowKey, size: int) -> None:
    sizes[key] += size
    if not sizes[key]:
        del sizes[key]
