"""Forgets what has been settled for long enough, or what must make room.

Invariant: only events that no Trigger waits for are forgotten; counts stay, deduplication forgets with the event. A
dead letter is kept as long from when it became one, unless there is no other room: then it is counted and logged.
"""

import asyncio
import logging
from dataclasses import dataclass

from wayside.eventing.broker.pruning import Ages
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import Clock
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.broker")
_NEARLY_FULL = 0.95
_ROOMY = 0.9
_STEPS = 20
_EVER = (1 << 63) - 1


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
        self._front = self._stray = 0
        self.dead_letters_forgotten = 0

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
        if self._store.fill >= _NEARLY_FULL:
            await self._make_room()
        before_ns = self._clock.time_ns() - round(self._settings.retain_s * 1e9)
        await self._forget_old(Ages(before_ns, before_ns))

    async def _forget_old(self, ages: Ages) -> None:
        """From the front on while there is something old; and a look at what a clock that went wrong has hidden."""
        for _ in range(_STEPS):
            pruned = await self._store.prune(self._front, ages)
            self._front = (pruned.last or 0) if pruned.old else 0
            if not pruned.old:
                break
        self._stray = (await self._store.prune(self._stray, ages)).last or 0

    async def _make_room(self) -> None:
        """Dead letters go last, and not without a word."""
        kept_ns = self._clock.time_ns() - round(self._settings.retain_s * 1e9)
        if await self._pass_over(Ages(_EVER, kept_ns)):
            return
        before = self.dead_letters_forgotten
        await self._pass_over(Ages(_EVER, _EVER))
        if self.dead_letters_forgotten > before:
            count = self.dead_letters_forgotten - before
            log.warning("%d dead letters were forgotten before their time: the store is full", count)

    async def _pass_over(self, ages: Ages) -> bool:
        """Once over the whole store; True as soon as there is room. Appends go on between its steps."""
        last: int | None = 0
        while last is not None:
            if self._store.fill < _ROOMY:
                return True
            pruned = await self._store.prune(last, ages)
            self.dead_letters_forgotten += pruned.dead_letters if ages.buried_before_ns == _EVER else 0
            last = pruned.last
        return self._store.fill < _ROOMY
