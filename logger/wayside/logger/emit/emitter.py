"""Sends captured events to the log url: a bounded queue, a few posts at once, retries for as long as there is room.

Invariant: `offer` never waits. Every event that was offered is sent, or dropped under a reason that is counted, or is
still on its way, in memory or in the spool; an event is tried again until it is accepted, refused for good, or the
logger's time to stop is over, at which the spool keeps it for the next logger.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from time import perf_counter

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.availability import Availability
from wayside.logger.emit.batch_sink import BatchSink
from wayside.logger.emit.drops import Drops
from wayside.logger.emit.failing import FailingEvents
from wayside.logger.emit.outbox import Outbox
from wayside.logger.emit.parcel import Parcel, Shipment, kind_of, size_of
from wayside.logger.emit.retries import Retries
from wayside.logger.emit.sender import Sender, SinkBusy, sender_over
from wayside.logger.emit.spool import SHUTDOWN, Spool
from wayside.logger.emit.spool_feed import SpoolFeed
from wayside.logger.settings import Delivery

log = logging.getLogger("wayside.logger")
_SPOOLING_S = 5.0  # the part of the grace, half of it at most, in which the spool takes what was not sent
_SHIPMENTS_A_TURN = 64  # then whatever else the loop has to do comes first
_GATHER_S = 0.002  # how long the first of several events that are cheaper together waits for the others


class Emitter:
    """Sends what it is offered over a sink or sender, which is its own to start and stop. `stop` flushes until its
    deadline.

    What waits and what is in flight together hold at most the delivery's `queue_bytes`. With a `spool`, which is the
    emitter's to start and stop, events that memory has no room for wait there, and all events while the sink is away.
    """

    def __init__(
        self, sink: Sink | BatchSink | Sender, delivery: Delivery, counts: LoggerCounts, spool: Spool | None = None
    ) -> None:
        self.counts = counts
        self.spool = spool
        self.changed = asyncio.Event()
        self._sender = sender_over(sink, delivery)
        self._waits_for_more = self._sender.batches.interval_s > 0
        self.queue = Outbox(delivery.queue_events, delivery.queue_bytes, self._sender.batches)
        self._apart: deque[Parcel] = deque()  # of messages that were refused as a whole: each is tried alone
        self._on_way: dict[Shipment, bool] = {}  # in the order in which they were posted; all of them True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retries = Retries(self._retry)
        self._wake: asyncio.Handle | None = None
        self._due: asyncio.TimerHandle | None = None  # when a message goes though it could hold more
        self._feed: asyncio.Task[None] | None = None
        self._drops = Drops(counts)
        self._held = 0
        self.sink = Availability(log, "events wait in memory" if spool is None else "events wait in the spool")
        self._failing = FailingEvents()

    @property
    def _has_place(self) -> bool:
        """Whether another message may be in flight."""
        return len(self._on_way) - self._retries.resting < self._sender.limit_posts

    @property
    def in_memory(self) -> int:
        """Events in memory and nowhere else: they wait, are being sent, or are on their way to the spool."""
        return self._held + (self.spool.handed if self.spool is not None else 0)

    async def start(self) -> None:
        """Raises `ConfigurationError` for a spool or a sink that cannot be used."""
        if self.spool is not None:
            await self.spool.start(self)
        await self._sender.start(self._note_reports)
        self._loop = asyncio.get_running_loop()
        if self.spool is not None:
            self._feed = asyncio.create_task(SpoolFeed(self, self.spool).run())
        self._dispatch()

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more events, send what waits for at most `grace_s` seconds; what is left is spooled or dropped.

        May be called twice, and before `start`.
        """
        deadline_s = asyncio.get_running_loop().time() + grace_s
        was_running = self._loop is not None
        if was_running:
            await self._flush(grace_s)
        self.queue.is_closed = True
        self._loop = None
        self._sleep()
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
        await self._put_away_rest(deadline_s)
        if was_running or self._drops.unsent:
            self._drops.tell_end(self.spool.waiting if self.spool is not None else 0)
        await self._sender.stop()

    async def _flush(self, grace_s: float) -> None:
        """Send until nothing is left in memory or in the spool, or the time is over."""
        self.queue.hurries = True
        self.queue.is_closed = self.spool is None
        self._retries.hurry()
        self._dispatch()
        try:
            async with asyncio.timeout(grace_s - (min(_SPOOLING_S, grace_s / 2) if self.spool is not None else 0.0)):
                while self.in_memory or (self.spool is not None and self.spool.waiting):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            return

    # into memory, or into the spool

    def offer(self, event: CloudEvent) -> None:
        """Queue an event, or spool it, or drop and count it where there is no room."""
        size_bytes = size_of(event)
        spool = self.spool
        if spool is not None and self.sink.is_away and spool.offer(event, size_bytes) is None:
            return
        if self.enqueue(Parcel(event, size_bytes)):
            self._held += 1
            return
        reason = self._no_room if spool is None else spool.offer(event, size_bytes)
        if reason is not None:
            self._drops.note(event, reason, is_end=reason == SHUTDOWN)

    @property
    def _no_room(self) -> str:
        return SHUTDOWN if self.queue.is_closed else "queue_full"

    def enqueue(self, parcel: Parcel) -> bool:
        """Take a parcel to be sent and settled; False where there is no room."""
        loop = self._loop
        if self._waits_for_more and loop is not None:
            parcel.since_s = loop.time()
        if not self.queue.offer(parcel):
            return False
        if self._wake is None and loop is not None and self._has_place:
            self._wake_later(loop)
        return True

    def _wake_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Dispatch in a later turn, as who offers is serving a client, or once there may be more to send together."""
        if self._is_due(loop):
            gathers = self._sender.gathers > 1 and not self.queue.hurries
            self._wake = loop.call_later(_GATHER_S, self._dispatch) if gathers else loop.call_soon(self._dispatch)

    def _is_due(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is a message to send now; if not, it will be looked at again in time."""
        if not self._waits_for_more or not (wait_s := self.queue.wait_s(loop.time())):
            return True
        if self._due is None:
            self._due = loop.call_later(wait_s, self._dispatch)
        return False

    def take_back(self, event: CloudEvent, reason: str) -> None:
        """The spool could not keep it: as far as there is room it waits as it would without a spool."""
        if self.enqueue(Parcel(event, size_of(event))):
            self._held += 1
            return
        self._drops.note(event, reason, is_end=self.queue.is_closed)
        self.changed.set()

    def note_lost(self, count: int, reason: str) -> None:
        """The spool lost events, whose kind it does not know any more."""
        self.counts.drop("unknown", reason, count)
        self.changed.set()

    # out of memory

    def _dispatch(self) -> None:
        """Send as much as may be in flight, or as much as one turn of the loop should bear."""
        self._sleep()
        loop = self._loop
        if loop is None:
            return
        on_way, posted_s = self._on_way, perf_counter()
        for _ in range(_SHIPMENTS_A_TURN):
            if not self._has_place or not (parcels := self._next(loop)):
                break
            shipment = Shipment(parcels)
            on_way[shipment] = True
            self._ship(shipment, posted_s)
        else:
            self._wake = loop.call_soon(self._dispatch)
        self._sender.flush()

    def _sleep(self) -> None:
        for handle in (self._wake, self._due):
            if handle is not None:
                handle.cancel()
        self._wake = self._due = None

    def _next(self, loop: asyncio.AbstractEventLoop) -> list[Parcel]:
        """The parcels of the next message; none where nothing waits, or what waits is to wait for more."""
        if self._apart:
            return [self._apart.popleft()]
        return self.queue.take() if not self._waits_for_more or self._is_due(loop) else []

    def _ship(self, shipment: Shipment, posted_s: float) -> None:
        """Post a shipment, unless the spool takes all of it."""
        if self._put_aside(shipment):
            return
        shipment.posted_s = posted_s
        try:
            self._sender.post(shipment)
        except Exception as exc:  # whatever one event does, the others are sent
            self._fail(shipment, exc)

    def _retry(self, shipment: Shipment) -> None:
        self._ship(shipment, perf_counter())
        self._dispatch()  # where the spool took it, there is room for another

    def _put_aside(self, shipment: Shipment) -> bool:
        """While the log url is away, leave to the spool what it takes of a shipment; True where that is all."""
        spool = self.spool
        if spool is None or not self.sink.is_away:
            return False
        shipment.parcels = [parcel for parcel in shipment.parcels if not self._leave_to(spool, parcel)]
        if shipment.parcels:
            return False
        self._close(shipment)
        return True

    def _leave_to(self, spool: Spool, parcel: Parcel) -> bool:
        if parcel.position is not None:
            spool.reader.give_back(parcel.position)
        elif spool.offer(parcel.event, parcel.size_bytes) is None:
            self._held -= 1
        else:
            return False
        self.queue.release(parcel.size_bytes)
        return True

    def _note_reports(self, shipments: Sequence[Shipment], error: Exception | None) -> None:
        """A sender's report; it comes too late for what was put away at the end."""
        if error is None or isinstance(error, EventRefused | SinkBusy):  # they were posted together
            self.counts.send.observe(perf_counter() - shipments[0].posted_s, len(shipments))
        if error is None:
            self._note_accepted(shipments)
        else:
            for shipment in shipments:
                if shipment in self._on_way:
                    self._fail(shipment, error)
                else:
                    shipment.tell(error)
        waiting = len(self.queue)
        if self._apart or waiting >= self._sender.gathers or (waiting and self.queue.hurries):
            self._dispatch()
        elif waiting and self._wake is None and self._loop is not None:
            self._wake_later(self._loop)

    def _note_accepted(self, shipments: Sequence[Shipment]) -> None:
        on_way, sent = self._on_way, self.counts.sent
        freed_bytes = settled = 0
        for shipment in shipments:
            if not on_way.pop(shipment, False):
                shipment.tell(None)
                continue
            settled += 1
            for parcel in shipment.parcels:
                freed_bytes += parcel.size_bytes
                sent[kind_of(parcel.event)] += 1
                if parcel.position is None:
                    self._held -= 1
                else:
                    self._settle_spooled(parcel.position)
        self.queue.release(freed_bytes)
        if settled:
            self._note_back(settled)
            self.changed.set()

    def _fail(self, shipment: Shipment, error: Exception) -> None:
        """Try a shipment again later, or its parcels one by one, or drop the one that it is."""
        parcels = shipment.parcels
        if isinstance(error, SinkUnavailable):
            self._note_unavailable(error)
            if self._put_aside(shipment) or self._try_later(shipment, error):
                return
        elif len(parcels) > 1:
            self.counts.attempts["refused"] += 1
        if len(parcels) > 1:
            self._apart.extend(parcels)
        else:
            self.queue.release(parcels[0].size_bytes)
            self._drop(parcels[0], error)
        self._close(shipment)

    def _try_later(self, shipment: Shipment, error: SinkUnavailable) -> bool:
        """Have a shipment tried again, unless it is to be tried apart, as it was answered twice, or given up."""
        is_busy = isinstance(error, SinkBusy)
        if is_busy and (shipment.failures if len(shipment.parcels) > 1 else self._fails(shipment.parcels[0], error)):
            return False
        if self._loop is not None:  # else it is about to be put away with the rest
            self._retries.add(shipment, error.retry_after_s, rests=is_busy)
        return True

    def _fails(self, parcel: Parcel, error: Exception) -> bool:
        """Whether an event was answered with errors so often that it is given up."""
        if not (isinstance(error, SinkBusy) and error.blames_event):
            return False
        return self._failing.note_answer(parcel.event, self.counts.attempts["accepted"])

    def _close(self, shipment: Shipment) -> None:
        self._on_way.pop(shipment, None)
        self.changed.set()

    # what became of it

    def _settle_spooled(self, position: int) -> None:
        assert self.spool is not None, "who read it from the spool has one"
        self.spool.counts.sent += 1
        self.spool.reader.settle(position)

    def _drop(self, parcel: Parcel, error: Exception) -> None:
        self._drops.note_error(parcel.event, error)
        if parcel.position is None:
            self._held -= 1
        elif self.spool is not None:
            self.spool.reader.settle(parcel.position)

    def _note_unavailable(self, error: SinkUnavailable) -> None:
        self.counts.attempts["unavailable"] += 1
        self.sink.note_failed(error)

    def _note_back(self, accepted: int) -> None:
        self.counts.attempts["accepted"] += accepted
        now_s = asyncio.get_running_loop().time()
        if not self.sink.note_accepted(now_s):
            return
        waiting = len(self.queue) if self.spool is None else self.in_memory + self.spool.waiting
        if self.sink.tell_back(waiting, now_s) and self._loop is not None:
            self._retries.hurry()

    async def attempt(self, parcel: Parcel) -> bool:
        """Send a parcel of the spool's once and settle it; False where it is to be tried again."""
        error = await self._post_alone(parcel)
        if isinstance(error, SinkUnavailable):
            self._note_unavailable(error)
            if not self._fails(parcel, error):
                return False
        if error is not None:
            self._drop(parcel, error)
            return True
        assert parcel.position is not None, "it is the spool's"
        self.counts.sent[kind_of(parcel.event)] += 1
        self._settle_spooled(parcel.position)
        self._note_back(1)
        return True

    async def _post_alone(self, parcel: Parcel) -> Exception | None:
        waiter: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        try:
            self._sender.post(Shipment([parcel], posted_s=perf_counter(), waiter=waiter))
        except Exception as exc:
            return exc
        self._sender.flush()
        return await waiter

    # the end

    async def _put_away_rest(self, deadline_s: float) -> None:
        """Spool what was not sent, or count it as dropped."""
        rest = self._take_rest()
        for parcel in rest:
            self.queue.release(parcel.size_bytes)
        fresh = [(parcel.event, parcel.size_bytes) for parcel in rest if parcel.position is None]
        self._held -= len(fresh)
        if self.spool is None:
            for event, _ in fresh:
                self.take_back(event, SHUTDOWN)
            return
        for parcel in rest:
            if parcel.position is not None:
                self.spool.reader.give_back(parcel.position)
        await self.spool.stop(fresh, max(0.0, deadline_s - asyncio.get_running_loop().time()))

    def _take_rest(self) -> list[Parcel]:
        """All parcels, those on their way first; they are not reported any more."""
        rest: list[Parcel] = []
        for shipment in self._on_way:
            rest += shipment.parcels
        self._on_way.clear()
        self._retries.clear()
        rest += [*self._apart, *self.queue.take_all()]
        self._apart.clear()
        return rest
