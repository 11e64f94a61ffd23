"""The broker's durable state: events, deliveries, dead letters and counts, in one SQLite file.

Invariant: what a method returned from is on disk. Counts are read from the file itself, so that they are those of a
committed state, before and after a kill -9.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from wayside.eventing.broker import changes, tables
from wayside.eventing.broker.changes import Admission, Change, Delivered, NewEvent
from wayside.eventing.broker.names import TriggerName
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import Clock, format_time
from wayside.eventing.sink import SinkUnavailable
from wayside.eventing.storage.database import Database, open_connection
from wayside.eventing.storage.gather import Gatherer

R = TypeVar("R")
DEAD_LETTERS_SHOWN = 100
_FULL_RETRY_AFTER_S = 5.0
_PAGE_BYTES = 8 << 20
_PRUNE_ROWS = 500
_SELECT_COUNTS = (
    "SELECT o.events, o.duplicates, o.conflicts, o.bytes, t.namespace, t.broker, t.name,"
    " t.matched, t.delivered, t.dead_lettered, t.waiting, t.attempts"
    " FROM totals o LEFT JOIN triggers t ORDER BY t.trigger"
)


@dataclass(frozen=True, slots=True)
class TriggerCounts:
    """Deliveries of one Trigger. `active` is False for one that is no longer in the manifests."""

    namespace: str
    broker: str
    name: str
    matched: int
    delivered: int
    dead_lettered: int
    waiting: int
    attempts: int
    active: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """One committed state. `events` counts what was ever kept, conflicts included; `bytes` what is kept now."""

    events: int
    duplicates: int
    conflicts: int
    bytes: int
    triggers: tuple[TriggerCounts, ...]

    def view(self) -> Mapping[str, Any]:
        return asdict(self)


class BrokerStore:
    """`triggers` are those of the manifests. Others keep their deliveries, for when they are named again."""

    def __init__(self, path: Path, triggers: Sequence[TriggerName], limit_bytes: int, clock: Clock) -> None:
        self.limit_bytes = limit_bytes
        self._database = Database(path, tables.SCHEMA)
        self._names = triggers
        self._clock = clock
        self._gatherer: Gatherer[Change, Admission | None] = Gatherer(self._database, self._apply)
        self._keys: Mapping[TriggerName, int] = {}
        self._view: sqlite3.Connection | None = None
        self._bytes = 0

    @property
    def running(self) -> bool:
        return self._view is not None

    async def start(self) -> None:
        """Open the file and make the Triggers known. Raises `ConfigurationError`."""
        await self._database.start()
        self._keys = await self._database.write(lambda connection: tables.register(connection, self._names))
        self._view = open_connection(self._database.path)
        self._bytes = self.counts().bytes

    async def stop(self) -> None:
        """Finish what was asked, then close. May be called twice."""
        if self._view is not None:
            self._view.close()
            self._view = None
        await self._database.stop()

    def key(self, trigger: TriggerName) -> int:
        """The number under which the store knows a Trigger."""
        return self._keys[trigger]

    # events

    @property
    def fill(self) -> float:
        """The share of `limit_bytes` that is in use; from 1 on, events are refused."""
        return self._bytes / self.limit_bytes

    async def add(self, arrival: Arrival) -> Admission:
        """Keep an event with its deliveries. Raises `SinkUnavailable` where there is no room or the disk fails."""
        if self.fill >= 1:
            raise SinkUnavailable(
                f"the store holds {self.limit_bytes} bytes of events that are not delivered yet", _FULL_RETRY_AFTER_S
            )
        admission = await self._change(Change(new=self._new(arrival)))
        assert admission is not None
        return admission

    def _new(self, arrival: Arrival) -> NewEvent:
        matched = [self._keys[name] for name in arrival.matched]
        return NewEvent(arrival.broker, arrival.event, arrival.ttl, arrival.forwards, matched)

    async def _change(self, change: Change) -> Admission | None:
        try:
            return await self._gatherer.write(change)
        except sqlite3.Error as exc:
            raise SinkUnavailable(f"the store cannot be written: {exc}", _FULL_RETRY_AFTER_S) from exc

    def _apply(self, connection: sqlite3.Connection, made: list[Change]) -> list[Admission | None]:
        admissions = changes.apply(connection, made, self._clock.time_ns())
        self._bytes = tables.bytes_kept(connection)
        return admissions

    async def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return await self._database.write(work)
        except sqlite3.Error as exc:
            raise SinkUnavailable(f"the store cannot be written: {exc}", _FULL_RETRY_AFTER_S) from exc

    # deliveries

    async def page(self, trigger: int, after: int, limit_rows: int) -> list[Waiting]:
        """The oldest waiting deliveries of a Trigger past number `after`, bounded in bytes too."""
        return await self._read(
            lambda connection: tables.read_page(connection, trigger, after, limit_rows, _PAGE_BYTES)
        )

    async def some(self, trigger: int, seqs: Sequence[int]) -> list[Waiting]:
        """Those of these deliveries that still wait; where their bytes are many, only the first of them."""
        return await self._read(lambda connection: tables.read_some(connection, trigger, seqs, _PAGE_BYTES))

    async def _read(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            return await self._database.read(work)
        except sqlite3.Error as exc:
            raise SinkUnavailable(f"the store cannot be read: {exc}", _FULL_RETRY_AFTER_S) from exc

    async def settle(self, waiting: Waiting, attempts: int, reply: Arrival | None = None) -> None:
        """The subscriber has the event; its reply is kept in the same transaction. Raises `SinkUnavailable`.

        A reply is kept in a full store too: refused, it would keep the store full for ever.
        """
        new = None if reply is None else self._new(reply)
        await self._change(Change(new, Delivered(waiting.trigger, waiting.seq, attempts)))

    async def give_up(self, waiting: Waiting, failure: Failure, attempts: int) -> None:
        """From now on the delivery waits for the dead-letter sink."""
        await self._write(lambda connection: tables.give_up(connection, waiting, failure, attempts))

    async def settle_dead_lettered(self, waiting: Waiting) -> None:
        """The dead-letter sink has the event."""
        await self._write(lambda connection: tables.settle_dead_lettered(connection, waiting))

    async def keep_dead_letter(self, waiting: Waiting, failure: Failure, attempts: int) -> None:
        """There is no dead-letter sink: the event stays here as a dead letter."""
        now_ns = self._clock.time_ns()
        await self._write(lambda connection: tables.keep_dead_letter(connection, waiting, failure, attempts, now_ns))

    # retention

    async def prune(self, after: int, received_before_ns: int) -> int | None:
        """Forget settled events that came before a time, among the next few past number `after`.

        Returns the last number that was looked at; None where there was nothing more so old.
        """

        def work(connection: sqlite3.Connection) -> int | None:
            last = tables.prune(connection, after, received_before_ns, _PRUNE_ROWS)
            self._bytes = tables.bytes_kept(connection)
            return last

        return await self._write(work)

    # views, for the admin port

    def counts(self) -> Counts:
        """The counts of the last committed state."""
        assert self._view is not None
        rows = self._view.execute(_SELECT_COUNTS).fetchall()  # one statement: one committed state
        active = set(self._names)
        triggers = [TriggerCounts(*(*row[4:], TriggerName(*row[4:7]) in active)) for row in rows if row[4] is not None]
        return Counts(*(*rows[0][:4], tuple(triggers)))

    def dead_letters(self) -> Mapping[str, Any]:
        """The newest dead letters that the broker keeps, without their data."""
        assert self._view is not None
        rows = self._view.execute(
            "SELECT t.namespace, t.broker, t.name, e.source, e.id, e.type, d.time_ns, d.attempts, d.code, d.reason"
            " FROM dead_letters d JOIN triggers t ON t.trigger = d.trigger JOIN events e ON e.seq = d.seq"
            " ORDER BY d.seq DESC LIMIT ?",
            (DEAD_LETTERS_SHOWN,),
        )
        return {"dead_letters": [_dead_letter(*row) for row in rows]}


def _dead_letter(
    namespace: str, broker: str, name: str, source: str, event_id: str, event_type: str, time_ns: int, *rest: Any
) -> Mapping[str, Any]:
    attempts, code, reason = rest
    return {
        "trigger": {"namespace": namespace, "broker": broker, "name": name},
        "event": {"source": source, "id": event_id, "type": event_type},
        "time": format_time(time_ns),
        "attempts": attempts,
        "code": code,
        "reason": reason,
    }
