"""Elasticsearch as a sink: an event is acknowledged once all of its documents are written.

Invariant: whatever an event turns out to be, it is counted under exactly one outcome, or given back to its sender.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from wayside.eventing.errors import MalformedEvent, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.queue import BoundedQueue
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.sinks.elasticsearch.client import CallFailed, ElasticsearchClient
from wayside.sinks.elasticsearch.metrics import ElasticsearchMetrics
from wayside.sinks.elasticsearch.settings import Bounds, ElasticsearchSettings
from wayside.sinks.elasticsearch.startup import prepare
from wayside.sinks.elasticsearch.writer import RecordWriter, Result

log = logging.getLogger("wayside.sinks")
_CHECK_EVERY_S = 2.0
_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: CloudEvent
    done: "asyncio.Future[Result]"


class ElasticsearchSink:
    """Keeps records in Elasticsearch; one batch at a time, while further events wait within bounds.

    Several sinks may write the same records at once: a write names the version that it replaces.
    """

    def __init__(self, settings: ElasticsearchSettings, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._metrics = ElasticsearchMetrics(registry, lambda: self._waiting)
        self._waiting = 0
        self._answers = False
        self._running: _Running | None = None

    def ready(self) -> bool:
        """Whether Elasticsearch answered when it was last asked, some seconds ago."""
        return self._answers

    async def start(self) -> None:
        """Open, and wait for Elasticsearch. Raises `ConfigurationError` for a wrong address, credential or shape."""
        client = ElasticsearchClient(self._settings)
        try:
            await prepare(client, self._settings.url, self._settings.wait_s)
        except BaseException:
            await client.close()
            raise
        self._answers = True
        writer = RecordWriter(client, self._settings.bounds, self._metrics)
        self._running = _Running(client, writer, self._settings.bounds)
        self._running.tasks = [
            asyncio.create_task(self._running.write_batches()),
            asyncio.create_task(self._check_regularly(client)),
        ]

    async def stop(self) -> None:
        """Write what waits, for some seconds; what is not written by then goes back to its senders."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self._answers = False
        await running.close()

    async def send(self, event: CloudEvent) -> None:
        """Return once the event is written, or known, or of no concern. Raises `EventRefused`, `SinkUnavailable`."""
        if self._running is None:
            raise SinkUnavailable("the Elasticsearch sink is not open")
        self._waiting += 1
        try:
            result = await self._running.take(event)
        finally:
            self._waiting -= 1
        if isinstance(result, WaysideError):
            raise self._counted(result)
        self._metrics.events.labels(result.value).inc()

    def _counted(self, error: WaysideError) -> WaysideError:
        """The error as a sender gets it."""
        if isinstance(error, MalformedEvent):
            self._metrics.events.labels("malformed").inc()
            return EventRefused(str(error))
        if isinstance(error, EventRefused):
            self._metrics.events.labels("refused").inc()
        return error

    async def _check_regularly(self, client: ElasticsearchClient) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            try:
                await client.check()
            except CallFailed as exc:
                if self._answers:
                    log.warning("not ready: %s", exc)
                self._answers = False
            else:
                self._answers = True


class _Running:
    """What lives from start to stop: the queue, the client, the tasks."""

    def __init__(self, client: ElasticsearchClient, writer: RecordWriter, bounds: Bounds) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self._client = client
        self._writer = writer
        self._bounds = bounds
        self._queue: BoundedQueue[_Waiting] = BoundedQueue(bounds.waiting_events, bounds.waiting_bytes)
        self._batch: list[_Waiting] = []

    async def take(self, event: CloudEvent) -> Result:
        """Queue the event and wait for what becomes of it. Raises `SinkUnavailable` where there is no room."""
        waiting = _Waiting(event, asyncio.get_running_loop().create_future())
        if not self._queue.offer(waiting, len(event.data)):
            raise SinkUnavailable("too many events wait for Elasticsearch", retry_after_s=1)
        return await waiting.done

    async def write_batches(self) -> None:
        while self._batch or await self._collect():
            try:
                results: list[Result] = await self._writer.write([each.event for each in self._batch])
            except Exception as exc:  # the task's edge: a fault of ours must not end it
                log.exception("a batch of %d events was not written", len(self._batch))
                results = [SinkUnavailable(f"the sink failed: {type(exc).__name__}")] * len(self._batch)
            for each, result in zip(self._batch, results, strict=True):
                if not each.done.done():
                    each.done.set_result(result)
            self._batch = []

    async def _collect(self) -> bool:
        """Fill the batch: what waits, and what comes within the linger. False once the queue is closed and empty."""
        first = await self._queue.wait_take()
        if first is None:
            return False
        self._batch, size = [first], len(first.event.data)
        if not len(self._queue):
            await asyncio.sleep(self._bounds.linger_s)
        while len(self._queue) and len(self._batch) < self._bounds.batch_events and size < self._bounds.batch_bytes:
            taken = await self._queue.wait_take()
            if taken is None:
                break
            self._batch.append(taken)
            size += len(taken.event.data)
        return True

    async def close(self) -> None:
        self._queue.close()
        writing, checking = self.tasks
        checking.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(writing, _STOP_S)
        with suppress(asyncio.CancelledError):
            await checking
        await self._return_rest()
        await self._client.close()

    async def _return_rest(self) -> None:
        """Tell the senders of what was not written."""
        while len(self._queue) and (taken := await self._queue.wait_take()) is not None:
            self._batch.append(taken)
        for each in self._batch:
            if not each.done.done():
                each.done.set_result(SinkUnavailable("the Elasticsearch sink stopped"))
