"""Posts verdicts from the store to the sink, for as long as it takes.

Invariant: a verdict leaves the store only after the sink has accepted it; what the sink cannot take now is offered
again for ever, ever more slowly; what it refuses is kept with the reason and does not hold up the next.
"""

import asyncio
import logging

from wayside.detectors.drift.service.store import DriftStore, Posting
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing.backoff import Backoff
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable

log = logging.getLogger("wayside.detectors.drift.service.outbox")


class Outbox:
    """`wake` says that a verdict may be waiting. `stop` does not wait for the sink: what is left stays in the store."""

    def __init__(self, store: DriftStore, sink: Sink, metrics: DetectorMetrics, backoff: Backoff) -> None:
        self._store = store
        self._sink = sink
        self._metrics = metrics
        self._backoff = backoff
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        await self._sink.start()
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self) -> None:
        """May be called twice or before `start`."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait([task])
        await self._sink.stop()

    def wake(self) -> None:
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                while (posting := await self._store.next_posting()) is not None:
                    await self._post(posting)
            except Exception:  # the task's edge: a full disk may pass, and verdicts are worth waiting for
                log.exception("the outbox waits %.0f s", self._backoff.limit_s)
                await asyncio.sleep(self._backoff.limit_s)
                continue
            await self._woken.wait()

    async def _post(self, posting: Posting) -> None:
        failures = 0
        while True:
            try:
                await self._sink.send(posting.event)
            except SinkUnavailable as exc:
                failures += 1
                delay_s = self._backoff.delay_s(failures, exc.retry_after_s)
                log.warning("verdict %s waits %.1f s: %s", posting.event.id, delay_s, exc)
                await asyncio.sleep(delay_s)
            except EventRefused as exc:
                log.error("verdict %s is refused and kept: %s", posting.event.id, exc)
                await self._store.mark_refused(posting, str(exc))
                self._metrics.verdicts.labels("refused").inc()
                return
            else:
                await self._store.mark_posted(posting)
                self._metrics.verdicts.labels("posted").inc()
                return
