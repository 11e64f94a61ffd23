"""What captured events go through: the side work, where there is any, and then the emitter.

Invariant: offered = sent + dropped + in memory + in the spool, whatever is done to events on the way.
"""

import asyncio
import logging

from wayside.eventing.event import CloudEvent
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.log_sink import emitter_of
from wayside.logger.redaction.memory import bounds_within
from wayside.logger.redaction.side_process import SideProcess
from wayside.logger.settings import LoggerSettings

log = logging.getLogger("wayside.logger")


class EventDelivery:
    """An outlet with all that stands behind it, which is its own to start and to stop."""

    def __init__(self, settings: LoggerSettings, counts: LoggerCounts) -> None:
        """Raises `ConfigurationError` for a log url, a CA file or a format that cannot be used."""
        self._rules = settings.side_work.rules
        self.emitter = emitter_of(settings.delivery, counts)
        self.side: SideProcess | None = None
        if settings.side_work:
            memory = bounds_within(processes=settings.processes)
            self.side = SideProcess(settings.side_work, self.emitter, counts, memory=memory)
        self._first = self.side or self.emitter

    @property
    def in_memory(self) -> int:
        """Events that are in memory and nowhere else."""
        return self.emitter.in_memory + (self.side.in_hand if self.side is not None else 0)

    def offer(self, event: CloudEvent) -> None:
        """Take an event, or drop and count it. Never waits, never raises."""
        self._first.offer(event)

    async def start(self) -> None:
        """Raises `ConfigurationError` for a rule, a key or a spool that cannot be used."""
        await self.emitter.start()
        self._warn_of_found()
        if self.side is not None:
            await self.side.start()

    def _warn_of_found(self) -> None:
        """What is in the spool went through the rules of the logger that spooled it, and is sent as it is."""
        found = self.emitter.spool.counts.found if self.emitter.spool is not None else 0
        if found and self._rules:
            words = "%d events in the spool were spooled before this start: a rule that is new is not applied to them"
            log.warning(words, found)

    async def stop(self, grace_s: float = 0.0) -> None:
        """Flush within the grace. May be called twice, and before `start`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + grace_s
        if self.side is not None:
            await self.side.stop(grace_s / 2)
        await self.emitter.stop(max(0.0, deadline_s - loop.time()))
