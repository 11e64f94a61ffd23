"""What the emitter hands messages to: a sender answers by a call, so that an event costs no task of its own.

Invariant: every post that a sender took is reported once, in a later turn of the loop, or not at all where the sender
was stopped before.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import Lifecycle, Sink, SinkUnavailable
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.settings import Batching, Delivery

Report = Callable[[Exception | None], None]


class SinkBusy(SinkUnavailable):
    """The next stage answered that it cannot take the event now: it is there, and tells how long it took to say so."""


@runtime_checkable
class Sender(Lifecycle, Protocol):
    """Takes messages of one or more events, `limit_posts` of them at once."""

    limit_posts: int
    batches: BatchLimits

    def post(self, events: Sequence[CloudEvent], report: Report) -> None:
        """Send a message. `report` is told None once all of it was accepted; else why not, for all of it:
        `SinkUnavailable` (try again), `EventRefused` (never will be), or anything else for a defect. Raises what the
        events themselves make impossible."""


def sender_over(sink: Sink | BatchSink | Sender, delivery: Delivery) -> Sender:
    """A sender as it is, or one over a sink, with the delivery's bounds."""
    if isinstance(sink, Sender):
        return sink
    batching = delivery.batching if isinstance(sink, BatchSink) else Batching()
    return SinkSender(sink, delivery.in_flight, BatchLimits(batching.events, batching.interval_s))


class SinkSender:
    """Sends over a sink of one event, or of batches. The sink is this sender's to start and to stop."""

    def __init__(self, sink: Sink | BatchSink, limit_posts: int, batches: BatchLimits) -> None:
        self.limit_posts = limit_posts
        self.batches = batches
        self._sink = sink
        self._send = sink.send_batch if isinstance(sink, BatchSink) else partial(_send_one, sink)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._sink.start()

    async def stop(self) -> None:
        """Posts in hand are given up, and not reported."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sink.stop()

    def post(self, events: Sequence[CloudEvent], report: Report) -> None:
        task = asyncio.create_task(self._deliver(events, report))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, events: Sequence[CloudEvent], report: Report) -> None:
        try:
            await self._send(events)
        except Exception as exc:  # a task's edge: whoever waits for the report decides
            report(exc)
        else:
            report(None)


async def _send_one(sink: Sink, events: Sequence[CloudEvent]) -> None:
    (event,) = events
    await sink.send(event)
