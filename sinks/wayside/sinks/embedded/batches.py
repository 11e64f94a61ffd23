"""Events that come at once are stored by one work of the database, and their parts joined by shared statements.

Invariant: what is returned for an event is on disk, with its part in the join, by one transaction. Where one event
cannot be stored, each of its company is tried alone. A savepoint an event would cost more than the join does.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wayside.eventing.clock import Clock
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs import join, waiting
from wayside.eventing.pairs.join import Fate, JoinSettings
from wayside.eventing.storage.database import Database
from wayside.sinks.merging import Outcome, Part


class Arrival(NamedTuple):
    """An event with its part of a record, and that part as others wait for it, where they do."""

    event: CloudEvent
    part: Part
    awaited: join.Part | None


Store = Callable[[sqlite3.Connection, Sequence[Arrival]], list[Outcome]]


class Batches:
    """Stores arrivals with `store` in the database of its owner, which has `waiting.SCHEMA` too.

    `store` is given all that came at once, in order, and says what became of each.
    """

    def __init__(self, database: Database, store: Store, settings: JoinSettings, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._clock = clock
        self._pending: list[tuple[Arrival, asyncio.Future[Outcome]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, arrival: Arrival) -> Outcome:
        """Store an event together with all that come in this turn of the event loop. Raises what `store` raised."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Outcome] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append((arrival, done))
        return await done

    def _flush(self) -> None:
        batch, self._pending = self._pending, []
        task = asyncio.create_task(self._write(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, batch: "Sequence[tuple[Arrival, asyncio.Future[Outcome]]]") -> None:
        arrivals = [arrival for arrival, _ in batch]
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = await self._database.write(lambda connection: self._work(connection, arrivals))
        except Exception as exc:  # the task's edge: handed to whom it concerns
            if len(batch) > 1:
                for one in batch:
                    await self._write([one])
                return
            outcomes = [exc]
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            _settle(done, outcome)

    def _work(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
        outcomes = self._store(connection, arrivals)
        new: list[join.Part] = []
        known: dict[tuple[Any, Fate], int] = {}
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            if arrival.awaited is None:
                continue
            if outcome is Outcome.STORED:
                new.append(arrival.awaited)
            else:  # known from the store's memory, which is longer than the join's
                key = (arrival.awaited.role, Fate(outcome.value))
                known[key] = known.get(key, 0) + 1
        waiting.take_all(connection, new, self._settings, self._clock.time_ns())
        waiting.count(connection, known)
        return outcomes


def _settle(done: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if done.done():  # nobody waits any more
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
