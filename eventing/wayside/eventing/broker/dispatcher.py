"""Runs a lane for each Trigger, and wakes those that an event is for.

Invariant: after `stop` no delivery is in flight; what was not settled by then waits in the store.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from wayside.eventing.broker.lane import Lane, Surroundings
from wayside.eventing.broker.manifests import Trigger
from wayside.eventing.broker.names import TriggerName
from wayside.eventing.broker.routing import Router
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import Clock
from wayside.eventing.http.client import HttpClient

log = logging.getLogger("wayside.broker")
_GRACE_S = 5.0


class Dispatcher:
    """The deliveries of every Trigger, `in_flight` at once for each."""

    def __init__(
        self, triggers: Sequence[Trigger], store: BrokerStore, router: Router, clock: Clock, in_flight: int
    ) -> None:
        self._triggers = triggers
        self._in_flight = in_flight
        self._client = HttpClient(idle_limit=in_flight)
        self._surroundings = Surroundings(store, router, self._client, clock, self.wake)
        self._lanes: dict[TriggerName, Lane] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> bool:
        """Whether every lane runs."""
        return len(self._tasks) == len(self._triggers) and not any(task.done() for task in self._tasks)

    async def start(self) -> None:
        """Take up what waits in the store, which must have been started."""
        self._lanes = {trigger.name: Lane(trigger, self._surroundings, self._in_flight) for trigger in self._triggers}
        for name, lane in self._lanes.items():
            task = asyncio.create_task(lane.run(), name=f"lane {name}")
            task.add_done_callback(_log_failure)
            self._tasks.append(task)

    def wake(self, triggers: Iterable[TriggerName]) -> None:
        """The store has a new event for these."""
        for name in triggers:
            if name in self._lanes:
                self._lanes[name].wake()

    async def stop(self) -> None:
        """Begin no delivery more; let those in flight end within five seconds. May be called twice."""
        for lane in self._lanes.values():
            lane.close()
        tasks, self._tasks = self._tasks, []
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("%s ended; restart the broker", task.get_name(), exc_info=failure)
