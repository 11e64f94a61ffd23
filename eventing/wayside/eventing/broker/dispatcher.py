"""Runs a lane for each Trigger, and hands each the events that are for it.

Invariant: after `stop` no delivery is in flight; what was not settled by then waits in the store. A Trigger that is
changed, added or taken away disturbs no other.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from wayside.eventing.broker.budget import ByteBudget
from wayside.eventing.broker.kept import Kept
from wayside.eventing.broker.lane import Lane, Surroundings
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.turns import Turn
from wayside.eventing.triggers.manifests import Manifests, Trigger
from wayside.eventing.triggers.names import TriggerName

log = logging.getLogger("wayside.broker")
_GRACE_S = 5.0
_REST_S = 1.0


class Dispatcher:
    """The deliveries of every Trigger."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._budget = ByteBudget(around.in_flight_bytes // 2)  # the other half is for what their requests hold
        self._resting: asyncio.Task[None] | None = None
        self._lanes: dict[TriggerName, Lane] = {}
        self._tasks: dict[TriggerName, asyncio.Task[None]] = {}
        self._closing: dict[TriggerName, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> bool:
        """Whether every lane runs."""
        return self._resting is not None and not any(task.done() for task in self._tasks.values())

    @property
    def lanes(self) -> Mapping[TriggerName, Lane]:
        """The lanes of the Triggers that there are now."""
        return self._lanes

    def feed(self, kept: Kept, matched: Sequence[TriggerName]) -> None:
        """An event was kept, which these Triggers matched."""
        lanes = [self._lanes[name] for name in matched if name in self._lanes]
        if lanes:
            turn = Turn.first(Waiting(kept))  # one for all of them: it is measured once
            for lane in lanes:
                lane.feed(turn)

    async def apply(self, manifests: Manifests) -> None:
        """From now on deliver for these Triggers; the store must have been started. Raises `SinkUnavailable`.

        What waits for one of them comes first. One that goes begins no delivery more, and those in flight end; where
        it changes so that it needs another lane, that begins once they have.
        """
        wanted = {trigger.name: trigger for trigger in manifests.triggers}
        await self._around.store.register(wanted.keys(), manifests.brokers)
        for name, lane in list(self._lanes.items()):
            if name not in wanted or not _fits(lane, wanted[name]):
                self._close(name)
        for name, trigger in wanted.items():
            if name in self._lanes:
                self._lanes[name].trigger = trigger
            else:
                self._open(trigger)
        if self._resting is None:
            self._resting = asyncio.create_task(self._rest())

    def _open(self, trigger: Trigger) -> None:
        lane = self._lanes[trigger.name] = Lane(trigger, self._around, self._budget)
        task = asyncio.create_task(_run(lane, self._closing.pop(trigger.name, None)), name=f"lane {trigger.name}")
        task.add_done_callback(_log_failure)
        task.add_done_callback(self._running.discard)
        self._tasks[trigger.name] = task
        self._running.add(task)

    def _close(self, name: TriggerName) -> None:
        """It ends on its own; a successor of the same name waits for it."""
        self._lanes.pop(name).close()
        self._closing = {other: task for other, task in self._closing.items() if not task.done()}
        self._closing[name] = self._tasks.pop(name)

    async def _rest(self) -> None:
        while True:
            await asyncio.sleep(_REST_S)
            for lane in self._lanes.values():
                lane.rest()

    def look_again(self, names: Iterable[TriggerName]) -> None:
        """The store has deliveries of these Triggers that are to be made once more."""
        for name in names:
            if name in self._lanes:
                self._lanes[name].look_again()

    async def stop(self) -> None:
        """Begin no delivery more; let those in flight end within five seconds. May be called twice."""
        resting = [self._resting] if self._resting else []
        self._resting = None
        for name in list(self._lanes):
            self._close(name)
        tasks = list(self._running)
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_S)
        for task in (ending := [*tasks, *resting]):
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _run(lane: Lane, predecessor: asyncio.Task[None] | None) -> None:
    """After the lane that the same Trigger had: what that has in flight would else be delivered beside itself."""
    if predecessor is not None:
        await asyncio.wait([predecessor])
    await lane.run()


def _fits(lane: Lane, trigger: Trigger) -> bool:
    """Whether this lane can go on with what a Trigger has become."""
    before = lane.trigger
    return (before.name, before.ordered, before.in_flight) == (trigger.name, trigger.ordered, trigger.in_flight)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("%s ended; restart the broker", task.get_name(), exc_info=failure)
