"""Forgets what has been settled for long enough, or what must make room.

Invariant: only events that no Trigger waits for are forgotten; counts stay, deduplication forgets with the event.
"""

import asyncio
import logging
from dataclasses import dataclass

from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import Clock
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.broker")
_NEARLY_FULL = 0.95
_ROOMY = 0.9
_STEPS = 20


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """`retain_s` is how long a settled event is kept; `interval_s` how often a part of the store is looked through."""

    retain_s: float = 86_400.0
    interval_s: float = 1.0


class Retention:
    """Looks through the store in the background, a bounded part at a time."""

    def __init__(self, store: BrokerStore, settings: RetentionSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._cursor = 0

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """May be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.interval_s)
            try:
                await self.sweep()
                await self._store.give_back()
            except SinkUnavailable as exc:
                log.warning("settled events cannot be pruned: %s", exc)

    async def sweep(self) -> None:
        """Forget what is too old; in a store that is nearly full whatever is settled, until a tenth of it is free."""
        making_room = self._store.fill >= _NEARLY_FULL
        keep_s = 0.0 if making_room else self._settings.retain_s
        before_ns = self._clock.time_ns() - round(keep_s * 1e9) + making_room
        for _ in range(_STEPS):
            if making_room and self._store.fill < _ROOMY:
                return
            last = await self._store.prune(self._cursor, before_ns)
            self._cursor = last or 0
            if last is None:
                return
