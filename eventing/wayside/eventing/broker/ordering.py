"""Keeps the order of each key while many deliveries are under way: of one key, one at a time.

Source: the `ordered` delivery of Knative's Kafka broker; CloudEvents' partitioning extension.
Invariant: deliveries of one key begin in the order in which they were admitted, each after the one before is settled.
"""

from collections import deque

from wayside.eventing.broker.backlog import Turn
from wayside.eventing.broker.changes import Delivery
from wayside.eventing.vocabulary import ordering_key

_HELD_TURNS = 1024
_HELD_LIMIT = 65_536


class KeyOrder:
    """Holds back what must wait for another of its key: the first of them whole, the others by their positions.

    Bounded by whoever asks `full` before admitting more.
    """

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._held: dict[str, deque[Turn | Delivery]] = {}
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether so many are held back that no new ones should be admitted."""
        return self._count >= _HELD_LIMIT

    def admit(self, turn: Turn) -> bool:
        """Whether this delivery may begin now; if not, `settle` gives it back when it may."""
        key = ordering_key(turn.waiting.kept.event)
        before = self._held.get(key)
        if before is None:
            self._held[key] = deque()
            return True
        before.append(turn if self._count < _HELD_TURNS else turn.delivery(self._tag))
        self._count += 1
        return False

    def settle(self, turn: Turn) -> Turn | Delivery | None:
        """A delivery that was admitted is settled: the next of its key, which may begin now.

        A `Delivery` is still to be read from the store, and counts as admitted.
        """
        key = ordering_key(turn.waiting.kept.event)
        held = self._held[key]
        if not held:
            del self._held[key]
            return None
        self._count -= 1
        return held.popleft()
