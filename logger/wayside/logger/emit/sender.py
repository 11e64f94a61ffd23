"""What the emitter hands messages to: a sender answers by a call, so that an event costs no task of its own.

Invariant: every message that a sender took is reported once, in a later turn of the loop, or not at all where the
sender was stopped before.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import Sink, SinkUnavailable
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.parcel import Shipment
from wayside.logger.settings import Batching, Delivery

# What became of messages that ended together: None once all of them were accepted, else why none of them was:
# `SinkUnavailable` (try again), `EventRefused` (never will be), or anything else for a defect.
Report = Callable[[Sequence[Shipment], Exception | None], None]


class SinkBusy(SinkUnavailable):
    """The next stage answered that it cannot take the event now: it is there, and tells how long it took to say so.

    `blames_event`: for all that is known it is this event that it cannot take.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None, *, blames_event: bool = True) -> None:
        super().__init__(reason, retry_after_s)
        self.blames_event = blames_event


@runtime_checkable
class Sender(Protocol):
    """Takes messages of one or more events.

    `limit_posts` is how many it may have in hand; `gathers`, how many at one go cost little more than one, so that
    waiting a little for others pays where it is above 1. Both change with what the next stage bears.
    """

    batches: BatchLimits

    @property
    def limit_posts(self) -> int: ...

    @property
    def gathers(self) -> int: ...

    async def start(self, report: Report) -> None:
        """`report` is told what becomes of messages. Raises `ConfigurationError` for what cannot be used."""

    async def stop(self) -> None:
        """Messages in hand are given up, and not reported. May be called twice, and before `start`."""

    def post(self, shipment: Shipment) -> None:
        """Take a message, to be sent with the next `flush`. Raises what its events make impossible."""

    def flush(self) -> None:
        """Send what was taken."""


def sender_over(sink: Sink | BatchSink | Sender, delivery: Delivery) -> Sender:
    """A sender as it is, or one over a sink, with the delivery's bounds."""
    if isinstance(sink, Sender):
        return sink
    batching = delivery.batching if isinstance(sink, BatchSink) else Batching()
    return SinkSender(sink, delivery.in_flight, BatchLimits(batching.events, batching.interval_s))


class SinkSender:
    """Sends over a sink of one event, or of batches. The sink is this sender's to start and to stop."""

    gathers = 1

    def __init__(self, sink: Sink | BatchSink, limit_posts: int, batches: BatchLimits) -> None:
        self.limit_posts = limit_posts
        self.batches = batches
        self._sink = sink
        self._send = sink.send_batch if isinstance(sink, BatchSink) else partial(_send_one, sink)
        self._tasks: set[asyncio.Task[None]] = set()
        self._report: Report | None = None

    async def start(self, report: Report) -> None:
        self._report = report
        await self._sink.start()

    async def stop(self) -> None:
        """Posts in hand are given up, and not reported."""
        self._report = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sink.stop()

    def post(self, shipment: Shipment) -> None:
        task = asyncio.create_task(self._deliver(shipment))
        self._tasks.add(task)
        task.add_done_callback(partial(self._note_done, shipment))

    def flush(self) -> None:
        """Nothing waits here."""

    async def _deliver(self, shipment: Shipment) -> None:
        try:
            await self._send(shipment.events)
        except Exception as exc:  # a task's edge: whoever waits for the report decides
            self._tell(shipment, exc)
        else:
            self._tell(shipment, None)

    def _note_done(self, shipment: Shipment, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it ran at all
            self._tell(shipment, SinkUnavailable("the attempt was cancelled"))

    def _tell(self, shipment: Shipment, error: Exception | None) -> None:
        if self._report is not None:
            self._report([shipment], error)


async def _send_one(sink: Sink, events: Sequence[CloudEvent]) -> None:
    (event,) = events
    await sink.send(event)
