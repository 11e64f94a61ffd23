"""An event on its way to the log url, with what it takes in memory and where it waits on disk.

Invariant: `size_bytes` is an upper estimate of what the event holds, so that bounds in bytes are bounds of memory.
"""

import asyncio
from dataclasses import dataclass

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import METADATA, REQUEST

# what an event takes besides its data: attributes, headers, objects
_OVERHEAD_BYTES = 2048


def kind_of(event: CloudEvent) -> str:
    """The `kind` label of an event's metrics."""
    return "request" if event.type == REQUEST else "response"


def size_of(event: CloudEvent) -> int:
    """Bytes that an event takes in memory."""
    return len(event.data) + len(event.extensions.get(METADATA, "")) + _OVERHEAD_BYTES


@dataclass(slots=True, eq=False)
class Parcel:
    """`position` is where it waits in the spool too; `since_s` is when it was queued, by the loop's clock."""

    event: CloudEvent
    size_bytes: int
    position: int | None = None
    since_s: float = 0.0


@dataclass(slots=True, eq=False)
class Shipment:
    """The parcels of one message, which are sent, or tried again, together.

    `posted_s` is by `perf_counter`. `waiter` is told what became of it where somebody
    waits for that, and settles the parcels.
    """

    parcels: list[Parcel]
    failures: int = 0
    posted_s: float = 0.0
    waiter: asyncio.Future[Exception | None] | None = None

    @property
    def events(self) -> list[CloudEvent]:
        return [parcel.event for parcel in self.parcels]

    def tell(self, error: Exception | None) -> None:
        """Let who waits know."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(error)
