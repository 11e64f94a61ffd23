"""Runs a lane for each Trigger, and hands each the events that are for it.

Invariant: after `stop` no delivery is in flight; what was not settled by then waits in the store. A Trigger that is
changed, added or taken away disturbs no other.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from wayside.eventing.broker.backlog import Backlog
from wayside.eventing.broker.kept import Kept, tag
from wayside.eventing.broker.lane import Lane, Surroundings
from wayside.eventing.broker.tables import Place
from wayside.eventing.triggers.manifests import Manifests, Trigger
from wayside.eventing.triggers.names import TriggerName

log = logging.getLogger("wayside.broker")
_GRACE_S = 5.0


class Dispatcher:
    """The deliveries of every Trigger."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._started = False
        self._lanes: dict[TriggerName, Lane] = {}
        self._tasks: dict[TriggerName, asyncio.Task[None]] = {}
        self._closing: dict[TriggerName, asyncio.Task[None]] = {}

    @property
    def running(self) -> bool:
        """Whether every lane runs."""
        return self._started and not any(task.done() for task in self._tasks.values())

    @property
    def lanes(self) -> Mapping[TriggerName, Lane]:
        """The lanes of the Triggers that there are now."""
        return self._lanes

    def feed(self, kept: Kept, matched: Sequence[TriggerName]) -> None:
        """An event was kept, which these Triggers matched."""
        for name in matched:
            lane = self._lanes.get(name)
            if lane is not None:
                lane.feed(kept)

    async def apply(self, manifests: Manifests) -> None:
        """From now on deliver for these Triggers; the store must have been started. Raises `SinkUnavailable`.

        What waits for one of them comes first. One that goes begins no delivery more, and those in flight end.
        """
        names = [trigger.name for trigger in manifests.triggers]
        for name, lane in list(self._lanes.items()):
            if name not in names or not any(_fits(lane, trigger) for trigger in manifests.triggers):
                self._close(name)
        await self._wait_closed(names)
        places = await self._around.store.register(names, manifests.brokers)
        for trigger in manifests.triggers:
            if trigger.name in self._lanes:
                self._lanes[trigger.name].trigger = trigger
            else:
                self._open(trigger, places[tag(trigger.name)])
        self._started = True

    def _open(self, trigger: Trigger, place: Place) -> None:
        backlog = Backlog(self._around.store, tag(trigger.name), place)
        lane = self._lanes[trigger.name] = Lane(trigger, self._around, backlog)
        task = self._tasks[trigger.name] = asyncio.create_task(lane.run(), name=f"lane {trigger.name}")
        task.add_done_callback(_log_failure)

    def _close(self, name: TriggerName) -> None:
        self._lanes.pop(name).close()
        self._closing[name] = self._tasks.pop(name)

    async def _wait_closed(self, names: Collection[TriggerName]) -> None:
        """Before a Trigger is delivered anew: else what is in flight would be delivered beside itself."""
        tasks = [task for name, task in self._closing.items() if name in names]
        if tasks:
            await asyncio.wait(tasks)
        self._closing = {name: task for name, task in self._closing.items() if not task.done()}

    def look_again(self, names: Iterable[TriggerName]) -> None:
        """The store has deliveries of these Triggers that are to be made once more."""
        for name in names:
            if name in self._lanes:
                self._lanes[name].look_again()

    async def stop(self) -> None:
        """Begin no delivery more; let those in flight end within five seconds. May be called twice."""
        self._started = False
        for name in list(self._lanes):
            self._close(name)
        tasks = list(self._closing.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fits(lane: Lane, trigger: Trigger) -> bool:
    """Whether this lane can go on with what a Trigger has become."""
    before = lane.trigger
    return (before.name, before.ordered, before.in_flight) == (trigger.name, trigger.ordered, trigger.in_flight)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("%s ended; restart the broker", task.get_name(), exc_info=failure)
