"""Posts captured events to the log url: a bounded queue, a few connections, retries for as long as there is room.

Invariant: `offer` never waits. Every event that was offered is sent, or dropped under a reason that is counted, or is
still on its way; an event is tried again until it is accepted, refused for good, or the logger's time to stop is over.
"""

import asyncio
import logging
import ssl
from itertools import count
from typing import cast

from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError
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

log = logging.getLogger("wayside.logger")
_BACKOFF = Backoff()
# what an event takes besides its data: attributes, headers, objects
_OVERHEAD_BYTES = 2048


def kind_of(event: CloudEvent) -> str:
    """The `kind` label of an event's metrics."""
    return "request" if event.type == REQUEST else "response"


def _size_of(event: CloudEvent) -> int:
    return len(event.data) + len(event.extensions[METADATA]) + _OVERHEAD_BYTES


class Emitter:
    """Sends what it is offered to `sink`, `in_flight` events at once. `stop` flushes until its deadline.

    What waits and what is in flight together hold at most the delivery's `queue_bytes`.
    """

    def __init__(self, sink: Sink, delivery: Delivery, metrics: LoggerMetrics) -> None:
        self._sink = sink
        self._in_flight = delivery.in_flight
        self._queue: BoundedQueue[CloudEvent] = BoundedQueue(delivery.queue_events, delivery.queue_bytes)
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._refused = self._cut_off = 0
        self._outage = OutageNotice(log, "events wait in memory")
        metrics.watch(cast("BoundedQueue[object]", self._queue))

    async def start(self) -> None:
        await self._sink.start()
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._in_flight)]

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more events, send what waits for at most `grace_s` seconds, and count the rest as dropped."""
        self._queue.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._drop_rest()
        await self._sink.stop()

    def offer(self, event: CloudEvent) -> None:
        """Queue an event, or drop and count it where there is no room."""
        kind = kind_of(event)
        self._metrics.captured[kind].inc()
        if not self._queue.offer(event, _size_of(event)):
            self._metrics.dropped.labels(kind, "queue_full").inc()

    def drop(self, kind: str, reason: str) -> None:
        """Count an event that could not even be made."""
        self._metrics.captured[kind].inc()
        self._metrics.dropped.labels(kind, reason).inc()

    async def _work(self) -> None:
        while (event := await self._queue.wait_take()) is not None:
            with self._queue.holding(_size_of(event)):
                await self._settle(event)

    async def _settle(self, event: CloudEvent) -> None:
        """Send an event, or count it as dropped."""
        try:
            await self._send(event)
        except asyncio.CancelledError:
            self._metrics.dropped.labels(kind_of(event), "shutdown").inc()
            self._cut_off += 1
            raise
        except Exception:  # a worker's edge: whatever one event does, the others are sent
            self._metrics.dropped.labels(kind_of(event), "refused").inc()
            log.exception("an event could not be sent and is dropped")

    async def _send(self, event: CloudEvent) -> None:
        for failures in count(1):
            try:
                await self._sink.send(event)
            except SinkUnavailable as exc:
                self._metrics.attempts["unavailable"].inc()
                self._outage.note_away(exc)
                await asyncio.sleep(_BACKOFF.delay_s(failures, exc.retry_after_s))
            except EventRefused as exc:
                return self._refuse(event, exc)
            else:
                return self._note_sent(event)

    def _note_sent(self, event: CloudEvent) -> None:
        self._metrics.attempts["accepted"].inc()
        self._metrics.sent[kind_of(event)].inc()
        self._outage.note_back(f"the log url takes events again; {len(self._queue)} wait")

    def _refuse(self, event: CloudEvent, reason: EventRefused) -> None:
        self._metrics.attempts["refused"].inc()
        self._metrics.dropped.labels(kind_of(event), "refused").inc()
        self._refused += 1
        if is_told(self._refused):
            log.warning("%d events were refused and dropped, the last because %s", self._refused, reason)

    async def _drop_rest(self) -> None:
        rest, self._cut_off = self._cut_off, 0
        while (event := await self._queue.wait_take()) is not None:
            self._metrics.dropped.labels(kind_of(event), "shutdown").inc()
            rest += 1
        if rest:
            log.warning("stopped with %d events unsent; they are dropped", rest)


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
