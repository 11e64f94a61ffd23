"""The one verb between stages: `await send(event)`. It returns once the next stage has accepted the event.

Invariant: an event whose `send` returned is the next stage's to keep; one whose `send` raised is still the caller's.
"""

from typing import Protocol

from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent


class Lifecycle(Protocol):
    """What starts and stops. `stop` may be called twice or before `start`, and flushes to a deadline of its own."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Sink(Lifecycle, Protocol):
    """Where events go: a broker, a topic, a store, a detector."""

    async def send(self, event: CloudEvent) -> None:
        """Hand the event over. Raises `SinkUnavailable` (try again) or `EventRefused` (never will be accepted)."""


class SinkUnavailable(WaysideError):
    """The next stage could not take the event now; the same call may succeed later."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class EventRefused(WaysideError):
    """The next stage will never take this event; trying again is of no use."""


class MemorySink:
    """A sink that keeps what it was sent, for tests. `failures` are raised first, one a call, in order."""

    def __init__(self, failures: list[WaysideError] | None = None) -> None:
        self.events: list[CloudEvent] = []
        self.failures = failures or []
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def send(self, event: CloudEvent) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.events.append(event)
