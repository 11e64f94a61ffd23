"""Delivery on the event loops that an app runs on: most have one, tests one after another, threads several at once.

Invariant: each loop has an emitter of its own, made at its first request or at its lifespan's start, and ended with the
lifespan, or else with the loop. Nothing here raises into an app or makes it wait, but the flush after its shutdown.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.logger.counts import LoggerCounts
from wayside.logger.delivery import EventDelivery
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.redaction.rules import Rules, read_key
from wayside.logger.settings import LoggerSettings

log = logging.getLogger("wayside.logger")
_LOOP_END_S = 0.5  # of flushing where a loop ends without a lifespan's shutdown, which nobody expects to take long


class LoopDelivery:
    """What one loop's events go through. `ended` is called last."""

    def __init__(self, settings: LoggerSettings, counts: LoggerCounts, ended: Callable[[], None]) -> None:
        """To be made on the loop itself. Raises `ConfigurationError` as `EventDelivery`."""
        self._settings = settings
        self._counts = counts
        self._ended = ended
        self.delivery = EventDelivery(settings, counts)
        self._closing = asyncio.Event()
        self._started = asyncio.Event()
        # what is sent belongs to no request: the first one's trace or user must not go on in its tasks
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def wait_started(self) -> None:
        await self._started.wait()

    async def stop(self) -> None:
        """Flush within the grace. May be called twice; raises nothing."""
        self._closing.set()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        grace_s = min(_LOOP_END_S, self._settings.grace_s)
        try:
            await self._start_or_tell()
            self._started.set()
            await self._closing.wait()
            grace_s = self._settings.grace_s
        finally:
            self._started.set()
            await self._flush_or_tell(grace_s)
            self._ended()

    async def _start_or_tell(self) -> None:
        try:
            await self._start()
        except Exception:
            log.exception("the payload logger cannot start; requests are served, their events are dropped")

    async def _start(self) -> None:
        try:
            await self.delivery.start()
        except ConfigurationError as exc:
            given = self._settings.delivery
            if given.spool is None:
                raise
            log.error("the events of this process wait in memory alone: %s", exc)  # it may be another worker's spool
            await self.delivery.stop()
            self.delivery = EventDelivery(replace(self._settings, delivery=replace(given, spool=None)), self._counts)
            await self.delivery.start()

    async def _flush_or_tell(self, grace_s: float) -> None:
        try:
            await self.delivery.stop(grace_s)
        except Exception:
            log.exception("the payload logger did not flush what it holds")


class Deliveries:
    """The deliveries of one middleware, by the loop that runs: an outlet for the events of all of them."""

    def __init__(self, settings: LoggerSettings, counts: LoggerCounts) -> None:
        """Raises `ConfigurationError` for a log url, a redaction rule or a key file that cannot be used."""
        self._settings = settings
        self._counts = counts
        self._by_loop: dict[asyncio.AbstractEventLoop, LoopDelivery] = {}
        log_sink(settings.delivery)  # checked here, where whoever starts the app sees the error
        Rules.of(settings.side_work.rules)
        read_key(settings.side_work)

    @property
    def latest(self) -> EventDelivery | None:
        """That of the loop that came last; None before the first."""
        return next((found.delivery for found in reversed(self._by_loop.values())), None)

    def here(self) -> LoopDelivery:
        """The delivery of the loop that runs; it is made, and starts, where there is none.

        Raises `RuntimeError` where no loop of asyncio's runs.
        """
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None:
            self._forget_closed()
            found = LoopDelivery(self._settings, self._counts, lambda: self._forget(loop))
            self._by_loop[loop] = found
        return found

    def offer(self, event: CloudEvent) -> None:
        self.here().delivery.offer(event)

    async def stop_here(self) -> None:
        """Flush the events of the loop that runs."""
        found = self._by_loop.get(asyncio.get_running_loop())
        if found is not None:
            await found.stop()

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._by_loop.pop(loop, None)

    def _forget_closed(self) -> None:
        """A loop that was closed without ending its tasks took its events with it."""
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            lost = self._by_loop.pop(loop).delivery.in_memory
            self._counts.drop("unknown", "shutdown", lost)
