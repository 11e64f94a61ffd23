"""A carrier within one process that keeps nothing on disk: what users' tests run in the place of a broker or of Kafka.

Invariant: for each subscription whose filter passes it, an event that was accepted is waiting, delivered, or a dead
letter with its reason, until `stop`; a subscription that fails, hangs or is full delays no other, and refuses for none.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from wayside.eventing.backoff import Backoff
from wayside.eventing.cancellation import ends_this_task
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.everything import Everything
from wayside.eventing.filters.filter import Filter
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a subscription could not deliver, and why."""

    subscriber: str
    event: CloudEvent
    reason: str


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """How often an event is tried; for each subscription, how many are with its sink at once, and how many wait, those
    among them: what comes beyond is its dead letter. Of all dead letters the newest `dead_letters` stay.
    """

    attempts: int = 10
    in_flight: int = 32
    waiting_events: int = 10_000
    dead_letters: int = 10_000


@dataclass(frozen=True, slots=True)
class _Subscription:
    name: str
    sink: Sink
    filter: Filter
    room: asyncio.Semaphore
    waiting: set[asyncio.Task[None]] = field(default_factory=set)


class MemoryCarrier:
    """A `Sink` that hands each event to every sink that subscribed to it, at least once.

    `pause` waits between attempts, for the seconds that it is given: a test that is not to wait gives its own.
    """

    def __init__(
        self,
        limits: MemoryLimits | None = None,
        backoff: Backoff | None = None,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._limits = limits or MemoryLimits()
        self.dead_letters: deque[DeadLetter] = deque(maxlen=self._limits.dead_letters)
        self._backoff = backoff or Backoff()
        self._pause = pause
        self._subscriptions: dict[str, _Subscription] = {}
        self._running = False

    def subscribe(self, name: str, sink: Sink, filter: Filter | None = None, ordered: bool = False) -> None:
        """Deliver to `sink`, which stays the caller's to start and stop, what is sent from now on.

        `ordered` keeps the order of sending: each event waits until the one before it is settled. Raises `ValueError`
        for a name that is taken.
        """
        if name in self._subscriptions:
            raise ValueError(f"subscription {name!r} is there already")
        room = asyncio.Semaphore(1 if ordered else self._limits.in_flight)
        self._subscriptions[name] = _Subscription(name, sink, filter or Everything(), room)

    async def start(self) -> None:
        self._running = True

    async def stop(self) -> None:
        """Deliver nothing more. What still waited is forgotten: memory outlives nothing."""
        self._running = False
        waiting = self._waiting()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def wait_settled(self) -> None:
        """Return once every event that was accepted is delivered or a dead letter."""
        while waiting := self._waiting():
            await asyncio.wait(waiting)

    async def send(self, event: CloudEvent) -> None:
        """Accept the event for all of its subscriptions. Raises `SinkUnavailable` where it is not running."""
        if not self._running:
            raise SinkUnavailable("the carrier is not running")
        for subscription in [one for one in self._subscriptions.values() if one.filter.passes(event)]:
            self._accept(subscription, event)

    def _accept(self, subscription: _Subscription, event: CloudEvent) -> None:
        if len(subscription.waiting) >= self._limits.waiting_events:
            return self._bury(subscription, event, f"{len(subscription.waiting)} events wait, which is the limit")
        task = asyncio.create_task(self._deliver(subscription, event))
        subscription.waiting.add(task)
        task.add_done_callback(subscription.waiting.discard)

    def _waiting(self) -> list[asyncio.Task[None]]:
        return [task for subscription in self._subscriptions.values() for task in subscription.waiting]

    async def _deliver(self, subscription: _Subscription, event: CloudEvent) -> None:
        async with subscription.room:
            for attempt in count(1):
                asked_s = None
                try:
                    return await subscription.sink.send(event)
                except (EventRefused, MalformedEvent) as exc:
                    return self._bury(subscription, event, str(exc))
                except SinkUnavailable as exc:
                    reason, asked_s = str(exc), exc.retry_after_s
                except (Exception, asyncio.CancelledError) as exc:  # the edge of a delivery: such a sink may recover
                    if ends_this_task(exc):
                        raise
                    reason = f"the sink failed: {type(exc).__name__}: {exc}"
                if attempt >= self._limits.attempts:
                    return self._bury(subscription, event, f"{attempt} attempts, the last: {reason}")
                await self._pause(self._backoff.delay_s(attempt, asked_s))

    def _bury(self, subscription: _Subscription, event: CloudEvent, reason: str) -> None:
        self.dead_letters.append(DeadLetter(subscription.name, event, reason))
