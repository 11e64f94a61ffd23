"""Posts captured events to the log url: a bounded queue, a few connections, retries for as long as there is room.

Invariant: `offer` never waits. Every event that was offered is sent, or dropped under a reason that is counted, or is
still on its way, in memory or in the spool; an event is tried again until it is accepted, refused for good, or the
logger's time to stop is over, at which the spool keeps it for the next logger.
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from itertools import count
from typing import cast

from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.kafka.address import is_kafka_url
from wayside.eventing.outage import OutageNotice, is_told
from wayside.eventing.outbound import event_sink
from wayside.eventing.queue import BoundedQueue
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable
from wayside.eventing.vocabulary import METADATA, REQUEST
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.settings import Delivery
from wayside.logger.spool import PAUSE_S, Spool
from wayside.logger.spool_reader import Spooled

log = logging.getLogger("wayside.logger")
_BACKOFF = Backoff()
# what an event takes besides its data: attributes, headers, objects
_OVERHEAD_BYTES = 2048
_SPOOLING_S = 5.0  # the part of the grace, half of it at most, in which the spool takes what was not sent


def kind_of(event: CloudEvent) -> str:
    """The `kind` label of an event's metrics."""
    return "request" if event.type == REQUEST else "response"


def _size_of(event: CloudEvent) -> int:
    return len(event.data) + len(event.extensions.get(METADATA, "")) + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class _Parcel:
    """An event on its way, what it takes in memory, and its position where it waits in the spool too."""

    event: CloudEvent
    size_bytes: int
    position: int | None = None


def _parcel_of(spooled: Spooled) -> _Parcel:
    return _Parcel(spooled.event, _size_of(spooled.event), spooled.position)


class Emitter:
    """Sends what it is offered to `sink`, `in_flight` events at once. `stop` flushes until its deadline.

    What waits and what is in flight together hold at most the delivery's `queue_bytes`. With a `spool`, which is the
    emitter's to start and stop, events that memory has no room for wait there, and all events while the sink is away.
    """

    def __init__(self, sink: Sink, delivery: Delivery, metrics: LoggerMetrics, spool: Spool | None = None) -> None:
        self._sink = sink
        self._in_flight = delivery.in_flight
        self._queue: BoundedQueue[_Parcel] = BoundedQueue(delivery.queue_events, delivery.queue_bytes)
        self._metrics = metrics
        self._spool = spool
        self._tasks: list[asyncio.Task[None]] = []
        self._cut_off: list[_Parcel] = []
        self._refused = self._given_up = self._held = 0
        self._changed = asyncio.Event()
        self._is_away = False
        self._retry_after_s: float | None = None
        self._outage = OutageNotice(log, "events wait in memory" if spool is None else "events wait in the spool")
        metrics.watch(cast("BoundedQueue[object]", self._queue))
        if spool is not None:
            metrics.watch_spool(spool, lambda: self.in_memory)

    @property
    def in_memory(self) -> int:
        """Events in memory and nowhere else: they wait, are being sent, or are on their way to the spool."""
        return self._held + (self._spool.handed if self._spool else 0)

    async def start(self) -> None:
        """Raises `ConfigurationError` for a spool that cannot be used."""
        if self._spool is not None:
            await self._spool.start(self)
        await self._sink.start()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._in_flight)]
        if self._spool is not None:
            self._tasks.append(asyncio.create_task(self._feed(self._spool)))

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more events, send what waits for at most `grace_s` seconds; what is left is spooled or dropped."""
        deadline_s = asyncio.get_running_loop().time() + grace_s
        tasks, self._tasks = self._tasks, []
        if tasks and self._spool is not None:
            await self._flush(self._spool, grace_s - min(_SPOOLING_S, grace_s / 2))
        self._queue.close()
        if tasks and self._spool is None:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._given_up = 0
        await self._put_away_rest(deadline_s)
        if tasks or self._given_up:
            self._tell_end()
        await self._sink.stop()

    async def _flush(self, spool: Spool, grace_s: float) -> None:
        """Send until nothing is left in memory or in the spool, or the time is over."""
        try:
            async with asyncio.timeout(grace_s):
                while self.in_memory or spool.waiting:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return

    # into memory, or into the spool

    def offer(self, event: CloudEvent) -> None:
        """Queue an event, or spool it, or drop and count it where there is no room."""
        self._metrics.captured[kind_of(event)].inc()
        size_bytes = _size_of(event)
        if self._is_away and self._spool is not None and self._spool.offer(event, size_bytes) is None:
            return
        if self._hold(event, size_bytes):
            return
        reason = self._spool.offer(event, size_bytes) if self._spool is not None else "queue_full"
        if reason is not None:
            self._metrics.dropped.labels(kind_of(event), reason).inc()

    def _hold(self, event: CloudEvent, size_bytes: int) -> bool:
        taken = self._queue.offer(_Parcel(event, size_bytes), size_bytes)
        self._held += taken
        return taken

    def drop(self, kind: str, reason: str) -> None:
        """Count an event that could not even be made."""
        self._metrics.captured[kind].inc()
        self._metrics.dropped.labels(kind, reason).inc()

    def take_back(self, event: CloudEvent, reason: str) -> None:
        """The spool could not keep it: as far as there is room it waits as it would without a spool."""
        if not self._hold(event, _size_of(event)):
            self._metrics.dropped.labels(kind_of(event), reason).inc()
            self._given_up += 1
            self._changed.set()

    def note_lost(self, count: int, reason: str) -> None:
        """The spool lost events, whose kind it does not know any more."""
        self._metrics.dropped.labels("unknown", reason).inc(count)
        self._changed.set()

    # out of memory

    async def _work(self) -> None:
        while (parcel := await self._queue.wait_take()) is not None:
            with self._queue.holding(parcel.size_bytes):
                await self._settle(parcel)
            self._changed.set()

    async def _settle(self, parcel: _Parcel) -> None:
        """Send an event, hand it to the spool, or count it as dropped."""
        try:
            for failures in count(1):
                if self._put_aside(parcel) or await self._attempt(parcel) or self._put_aside(parcel):
                    return
                await asyncio.sleep(_BACKOFF.delay_s(failures, self._retry_after_s))
        except asyncio.CancelledError:
            self._cut_off.append(parcel)
            raise

    def _put_aside(self, parcel: _Parcel) -> bool:
        """While the sink is away, leave an event to the spool if it takes it."""
        if not self._is_away or self._spool is None:
            return False
        if parcel.position is not None:
            self._spool.reader.give_back(parcel.position)
            return True
        if self._spool.offer(parcel.event, parcel.size_bytes) is not None:
            return False
        self._held -= 1
        return True

    async def _attempt(self, parcel: _Parcel) -> bool:
        """Post an event once; False where it is to be tried again."""
        try:
            await self._sink.send(parcel.event)
        except SinkUnavailable as exc:
            self._metrics.attempts["unavailable"].inc()
            self._outage.note_away(exc)
            self._is_away, self._retry_after_s = True, exc.retry_after_s
            return False
        except EventRefused as exc:
            self._refuse(parcel, exc)
        except Exception:  # a worker's edge: whatever one event does, the others are sent
            self._metrics.dropped.labels(kind_of(parcel.event), "refused").inc()
            log.exception("an event could not be sent and is dropped")
        else:
            self._note_sent(parcel)
        self._let_go(parcel)
        return True

    def _let_go(self, parcel: _Parcel) -> None:
        if parcel.position is None:
            self._held -= 1
        elif self._spool is not None:
            self._spool.reader.settle(parcel.position)

    def _note_sent(self, parcel: _Parcel) -> None:
        self._metrics.attempts["accepted"].inc()
        self._metrics.sent[kind_of(parcel.event)].inc()
        self._is_away = False
        if self._spool is not None:
            self._spool.counts.sent += parcel.position is not None
        waiting = len(self._queue) if self._spool is None else self.in_memory + self._spool.waiting
        self._outage.note_back(f"the log url takes events again; {waiting} wait")

    def _refuse(self, parcel: _Parcel, reason: EventRefused) -> None:
        self._metrics.attempts["refused"].inc()
        self._metrics.dropped.labels(kind_of(parcel.event), "refused").inc()
        self._refused += 1
        if is_told(self._refused):
            log.warning("%d events were refused and dropped, the last because %s", self._refused, reason)

    # out of the spool

    async def _feed(self, spool: Spool) -> None:
        """Pass on what waits in the spool, a page at a time; while the sink is away, try it with the oldest event."""
        failures = 0
        while True:
            try:
                failures = await self._probe(spool, failures + 1) if self._is_away else await self._pass_on(spool)
            except WaysideError as exc:
                spool.note_failed(exc)
                await asyncio.sleep(PAUSE_S)

    async def _probe(self, spool: Spool, failures: int) -> int:
        """Wait, and try the oldest event; returns how often that failed by now."""
        await asyncio.sleep(_BACKOFF.delay_s(failures, self._retry_after_s))
        (spooled,) = await spool.reader.wait_page(limit=1)
        settled = False
        try:
            settled = await self._attempt(_parcel_of(spooled))
        finally:
            if not settled:
                spool.reader.give_back(spooled.position)
        self._changed.set()
        return 0 if settled else failures

    async def _pass_on(self, spool: Spool) -> int:
        """Queue what waits as far as the sink is there; returns that nothing failed."""
        page, passed = await spool.reader.wait_page(), 0
        try:
            while passed < len(page) and await self._admit(_parcel_of(page[passed])):
                passed += 1
        finally:
            for spooled in page[passed:]:
                spool.reader.give_back(spooled.position)
        return 0

    async def _admit(self, parcel: _Parcel) -> bool:
        """Wait for room in the queue; False where the sink is away."""
        while not (self._is_away or self._queue.offer(parcel, parcel.size_bytes)):
            self._changed.clear()
            await self._changed.wait()
        return not self._is_away

    # the end

    async def _put_away_rest(self, deadline_s: float) -> None:
        """Spool what was not sent, or count it as dropped."""
        rest, self._cut_off = self._cut_off, []
        while (parcel := await self._queue.wait_take()) is not None:
            rest.append(parcel)
        fresh = [(parcel.event, parcel.size_bytes) for parcel in rest if parcel.position is None]
        self._held -= len(fresh)
        if self._spool is None:
            for event, _ in fresh:
                self.take_back(event, "shutdown")
            return
        for parcel in rest:
            if parcel.position is not None:
                self._spool.reader.give_back(parcel.position)
        await self._spool.stop(fresh, max(0.0, deadline_s - asyncio.get_running_loop().time()))

    def _tell_end(self) -> None:
        spooled = self._spool.waiting if self._spool is not None else 0
        if spooled:
            words = "stopped with %d events in the spool, for the next logger to send, and %d unsent; they are dropped"
            log.warning(words, spooled, self._given_up)
        elif self._given_up:
            log.warning("stopped with %d events unsent; they are dropped", self._given_up)


def log_sink(delivery: Delivery) -> Sink:
    """The sink for a log url. Raises `ConfigurationError` for a bad URL, or a file that cannot be read."""
    if is_kafka_url(delivery.url):
        return event_sink(delivery.url, delivery.timeout_s, delivery.kafka_config)
    client = HttpClient(idle_limit=delivery.workers, tls=_tls(delivery))
    return HttpEventSink(delivery.url, delivery.timeout_s, client)


def _tls(delivery: Delivery) -> ssl.SSLContext | None:
    if not delivery.url.startswith("https:"):
        return None
    try:
        # as KServe's agent does, a CA file that is not mounted means the system's own trust
        context = ssl.create_default_context(cafile=delivery.ca_file if delivery.ca_file.exists() else None)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"cannot read the CA file {delivery.ca_file}: {exc}") from exc
    if delivery.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
