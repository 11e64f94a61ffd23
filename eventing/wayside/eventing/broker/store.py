"""The broker's durable state in one journal: events are its entries, each Trigger has a cursor, beside them its counts.

Invariant: what a method returned from is on disk. Counts are read from the file itself, so that they are those of a
committed state, before and after a kill -9.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from wayside.eventing.broker import changes, pruning, tables
from wayside.eventing.broker.changes import Admission, Change, Delivery, Outcome
from wayside.eventing.broker.kept import Kept, pack
from wayside.eventing.broker.pruning import Ages, Pruned
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.tables import Found, Place
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import Clock
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.sink import SinkUnavailable
from wayside.eventing.storage.database import open_connection
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_errors import JournalDamaged, JournalError
from wayside.eventing.triggers.names import BrokerName, TriggerName

R = TypeVar("R")
log = logging.getLogger("wayside.broker")
Feed = Callable[[Kept, Sequence[TriggerName]], None]
_FULL_RETRY_AFTER_S = 5.0
_PAGE_BYTES = 8 << 20
_PRUNE_ROWS = 500
_REPLIES_UP_TO = 2.0
_FORMER_FILE = "broker.sqlite"


class ReplyRefused(WaysideError):
    """There is no room for a reply; the delivery that it came from counts as failed."""


class BrokerStore:
    """Events, and what each Trigger has still to deliver. `feed` is told of each event that is kept, in order."""

    def __init__(self, path: Path, limit_bytes: int, clock: Clock) -> None:
        self.limit_bytes = limit_bytes
        self.feed: Feed = _nobody
        self.fed = 0  # the last position that `feed` was told of
        self.damaged = asyncio.Event()  # SQLite calls the file malformed: stop and start, which salvages
        self._journal = Journal(path, schema=tables.SCHEMA)
        self._clock = clock
        self._gatherer = self._journal.gather(self._apply, self._tell)
        self._cursors: dict[bytes, int] = {}
        self._view: sqlite3.Connection | None = None
        self._bytes = 0

    @property
    def running(self) -> bool:
        """Whether it is open, and sound."""
        return self._view is not None and not self.damaged.is_set()

    @property
    def path(self) -> Path:
        return self._journal.path

    @property
    def view(self) -> sqlite3.Connection:
        """A connection for reading a committed state, for the loop's own thread; for after `start`."""
        assert self._view is not None, "started"
        return self._view

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError`, also for the store of an earlier version."""
        former = self._journal.path.with_name(_FORMER_FILE)
        if former.exists():
            raise ConfigurationError(
                f"{former} is the store of an earlier version, which this one cannot read:"
                " let that version deliver what waits in it, then move the file away"
            )
        await self._journal.start()
        if await self._journal.write(tables.recount_after_damage):
            log.warning("after damage to the store, what Triggers matched was counted anew")
        self._view = open_connection(self._journal.path)
        self._bytes = await self._journal.look(pruning.bytes_kept)

    async def stop(self) -> None:
        """Finish what was asked, then close. May be called twice."""
        if self._view is not None:
            await self._keep_cursors()
            self._view.close()
            self._view = None
        await self._journal.stop()

    async def register(self, names: Collection[TriggerName], brokers: Collection[BrokerName]) -> None:
        """Make known which Triggers and brokers there are; what waits for others is kept for when they are back."""
        await self._write(lambda connection: tables.register(connection, names, brokers))

    async def _keep_cursors(self) -> None:
        """Those that no change took along, so that the next start looks no further than it must."""
        moved, self._cursors = self._cursors, {}
        with suppress(SinkUnavailable):
            await self._write(lambda connection: changes.apply(connection, [], moved))

    async def place(self, tag: bytes) -> Place:
        """Where a Trigger is that was registered."""
        return await self.look(lambda connection: tables.place(connection, tag))

    # events

    @property
    def fill(self) -> float:
        """The share of `limit_bytes` that is in use; from 1 on, events are refused."""
        return self._bytes / self.limit_bytes

    async def add(self, arrival: Arrival) -> Admission:
        """Keep an event with its deliveries. Raises `SinkUnavailable` where there is no room or the disk fails."""
        if self._bytes >= self.limit_bytes:
            raise SinkUnavailable(
                f"the store holds {self.limit_bytes} bytes of events that are not delivered yet", _FULL_RETRY_AFTER_S
            )
        new = pack(arrival, self._clock.time_ns())
        outcome = await self._translated(self._gatherer.write(Change(new)))
        assert outcome.admission is not None
        return outcome.admission

    def _apply(self, connection: sqlite3.Connection, made: list[Change]) -> list[Outcome]:
        taken, self._cursors = self._cursors, {}  # one that is lost with its transaction is moved later
        outcomes = changes.apply(connection, made, dict(taken))
        self._bytes = pruning.bytes_kept(connection)
        return outcomes

    def _tell(self, made: Sequence[Change], outcomes: Sequence[Outcome | Exception]) -> None:
        for change, outcome in zip(made, outcomes, strict=True):
            if change.new is not None and isinstance(outcome, Outcome) and outcome.position:
                self.feed(change.new.kept_at(outcome.position), change.new.arrival.matched)
                self.fed = outcome.position

    async def _translated(self, asked: Awaitable[R]) -> R:
        try:
            return await self._journal.translated(asked)
        except JournalError as exc:
            if isinstance(exc, JournalDamaged):
                self.damaged.set()
            raise SinkUnavailable(str(exc), _FULL_RETRY_AFTER_S) from exc

    async def _write(self, work: Callable[[sqlite3.Connection], R]) -> R:
        return await self._translated(self._journal.write(work))

    # deliveries

    async def page(self, tag: bytes, after: int, limit_rows: int) -> Found:
        """The oldest waiting deliveries of a Trigger among the next events past a position, bounded in bytes too."""
        return await self._find(lambda connection: tables.read_page(connection, tag, after, limit_rows, _PAGE_BYTES))

    async def some(self, tag: bytes, positions: Sequence[int], again: bool) -> Found:
        """These deliveries; where their bytes are many, only the first of them."""
        return await self._find(lambda connection: tables.read_some(connection, tag, positions, again, _PAGE_BYTES))

    async def to_make_again(self, tag: bytes, after: int, limit_rows: int) -> list[int]:
        """Positions past `after` of deliveries that were asked for once more."""
        return await self.look(lambda connection: tables.read_again(connection, tag, after, limit_rows))

    async def _find(self, read: Callable[[sqlite3.Connection], Found]) -> Found:
        found = await self.look(read)
        if found.damaged:
            log.error("events %s are damaged on disk and cannot be delivered", list(found.damaged))
            await self._write(lambda connection: tables.cut(connection, found.damaged))
        return found

    async def look(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run a read-only work on one committed state, beside the writer. Raises `SinkUnavailable`."""
        return await self._translated(self._journal.look(work))

    def move_cursor(self, tag: bytes, cursor: int) -> None:
        """Everything at or before `cursor` is settled: on disk with the next change, and needs not be sooner."""
        self._cursors[tag] = cursor

    async def settle(self, delivery: Delivery, attempts: int, reply: Arrival | None = None) -> None:
        """The subscriber has the event; its reply is kept in the same transaction. Raises `SinkUnavailable`.

        A reply is kept in a full store too, up to twice its limit: refused at once, it would keep the store full for
        ever. Raises `ReplyRefused` beyond that.
        """
        if reply is not None and self.fill >= _REPLIES_UP_TO:
            raise ReplyRefused("the store is full, and has no room for the reply")
        new = None if reply is None else pack(reply, self._clock.time_ns())
        await self._translated(self._gatherer.write(Change(new, delivery, attempts)))

    async def give_up(self, delivery: Delivery, failure: Failure, attempts: int) -> None:
        """From now on the delivery waits for the dead-letter sink."""
        await self._write(lambda connection: tables.give_up(connection, delivery, failure, attempts))

    async def settle_dead_lettered(self, delivery: Delivery) -> None:
        """The dead-letter sink has the event."""
        await self._write(lambda connection: tables.settle_dead_lettered(connection, delivery))

    async def keep_dead_letter(self, delivery: Delivery, failure: Failure, attempts: int) -> None:
        """There is no dead-letter sink: the event stays here as a dead letter."""
        now_ns = self._clock.time_ns()
        await self._write(lambda connection: tables.keep_dead_letter(connection, delivery, failure, attempts, now_ns))

    async def change(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Make a change that is asked for by hand, in a transaction. Raises `SinkUnavailable`."""
        return await self._write(work)

    # retention

    async def prune(self, after: int, ages: Ages) -> Pruned:
        """Forget what is settled and old enough among the next few events past a position."""

        def work(connection: sqlite3.Connection) -> Pruned:
            pruned = pruning.prune(connection, after, ages, _PRUNE_ROWS)
            self._bytes = pruning.bytes_kept(connection)
            return pruned

        return await self._write(work)

    async def give_back(self) -> None:
        """Give the disk back what pruning freed. Raises `SinkUnavailable`."""
        await self._translated(self._journal.give_back(shrink_log=False))


def _nobody(kept: Kept, matched: Sequence[TriggerName]) -> None:
    """Until somebody listens."""
