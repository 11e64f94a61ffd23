"""Keeps the order of each key while many deliveries are under way: of one key, one at a time.

Source: the `ordered` delivery of Knative's Kafka broker; CloudEvents' partitioning extension.
Invariant: deliveries of one key begin in the order in which they were admitted, each after the one before is settled
or lost. What is held whole is 8 MiB at most, and part of the lane's share.
"""

from collections import deque

from wayside.eventing.broker.budget import Share
from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.turns import Turn
from wayside.eventing.vocabulary import ordering_key

_WHOLE_BYTES = 8 << 20
_HELD_LIMIT = 65_536


class KeyOrder:
    """Holds back what must wait for another of its key: whole while that is cheap, else by its position.

    Bounded by whoever asks `full` before admitting more. A key stands as its hash, which costs the same for a long
    one: two keys that share one wait for each other, and keep their order.
    """

    def __init__(self, tag: bytes, share: Share) -> None:
        self._tag = tag
        self._share = share
        self._keys: dict[Delivery, int] = {}  # of those that may begin or have begun, one a key
        self._held: dict[int, deque[Turn | Delivery]] = {}  # by key, what waits for that one
        self._count = 0
        self._whole_bytes = 0

    @property
    def full(self) -> bool:
        """Whether so many are held back that no new ones should be admitted."""
        return self._count >= _HELD_LIMIT

    def admit(self, turn: Turn) -> bool:
        """Whether this delivery may begin now; if not, `settle` gives it back when it may."""
        key = hash(ordering_key(turn.waiting.kept.event))
        before = self._held.get(key)
        if before is None:
            self._held[key] = deque()
            self._keys[turn.delivery(self._tag)] = key
            return True
        is_cheap = self._whole_bytes + turn.size_bytes <= _WHOLE_BYTES
        if is_cheap:
            self._whole_bytes += turn.size_bytes
        else:
            self._share.give(turn.size_bytes)
        before.append(turn if is_cheap else turn.delivery(self._tag))
        self._count += 1
        return False

    def settle(self, delivery: Delivery) -> Turn | Delivery | None:
        """A delivery that was admitted is settled, or lost: the next of its key, which may begin now.

        A `Delivery` is still to be read from the store, and counts as admitted.
        """
        key = self._keys.pop(delivery)
        held = self._held[key]
        if not held:
            del self._held[key]
            return None
        following = held.popleft()
        self._count -= 1
        self._keys[self._delivery(following)] = key
        if isinstance(following, Turn):
            self._whole_bytes -= following.size_bytes
        return following

    def let_go(self) -> None:
        """Hold everything by its position, so that what waits for its key takes no room from the other keys."""
        if self._whole_bytes:
            self._held = {key: deque(map(self._delivery, held)) for key, held in self._held.items()}
            self._share.give(self._whole_bytes)
            self._whole_bytes = 0

    def _delivery(self, one: Turn | Delivery) -> Delivery:
        return one.delivery(self._tag) if isinstance(one, Turn) else one
