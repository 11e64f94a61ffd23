"""One delivery whose turn it is, with what it costs to hold it.

Invariant: an event's size counts all that a sender chooses: its data, its attributes and the headers that travel on.
"""

from dataclasses import dataclass

from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.kept import Kept
from wayside.eventing.broker.tables import Waiting

EVENT_BYTES = 1024  # of the objects that an event is made of, beside what they hold


@dataclass(frozen=True, slots=True)
class Turn:
    """`attempt` counts from 1, since the process started. `put_off`: it failed before, and is due again.

    `admitted`: nothing of its key can be before it, where the Trigger asks for order.
    """

    waiting: Waiting
    size_bytes: int
    attempt: int = 1
    admitted: bool = False
    put_off: bool = False

    @classmethod
    def first(cls, waiting: Waiting) -> "Turn":
        """The first attempt at a delivery."""
        return cls(waiting, size_bytes(waiting.kept))

    def delivery(self, tag: bytes) -> Delivery:
        return Delivery(tag, self.waiting.kept.position, self.waiting.again)


def size_bytes(kept: Kept) -> int:
    """What the event costs in memory."""
    text = sum(len(name) + len(value) for name, value in kept.event.attributes())
    headers = sum(len(name) + len(value) for name, value in kept.forwards)
    return EVENT_BYTES + len(kept.event.data) + text + headers
