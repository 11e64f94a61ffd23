"""The verb of sinks that take several events at once: a batch in one message, a file, a topic's records.

Invariant: as for one event: a batch whose `send_batch` returned is the next stage's to keep; one whose `send_batch`
raised is still the caller's, all of it.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import Lifecycle


@runtime_checkable
class BatchSink(Lifecycle, Protocol):
    """Where batches go."""

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        """Hand one or more events over, all or none. Raises `SinkUnavailable` (try again) or `EventRefused` (never)."""
