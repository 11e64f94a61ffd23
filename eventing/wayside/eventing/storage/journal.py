"""The journal: one durable append-only log in one file, with named cursors.

Invariant: what `append` returned positions for, and what `acknowledge` returned from, is on disk and survives a kill;
no entry goes unless every cursor acknowledged it or it is counted as that cursor's overflow or as damaged.
"""

import asyncio
import logging
import os
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.storage import journal_cursors, journal_damage, journal_retention, journal_tables
from wayside.eventing.storage.database import Database, R, Work
from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.gather import C, Gatherer
from wayside.eventing.storage.journal_cursors import CursorState, Start
from wayside.eventing.storage.journal_errors import (
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalUnavailable,
    StructureDamaged,
    translate,
)
from wayside.eventing.storage.journal_opening import Opening, make_ready
from wayside.eventing.storage.journal_retention import Retention, Swept
from wayside.eventing.storage.journal_tables import LogState, Page
from wayside.eventing.storage.onlooker import Onlooker
from wayside.eventing.storage.owner_lock import LastOwner, OwnerLock

log = logging.getLogger("wayside.journal")
PAGE_ROWS = 256
PAGE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class JournalState:
    """One committed state of a journal."""

    log: LogState
    cursors: tuple[CursorState, ...]


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    cursor: int
    positions: Sequence[int]


class Journal:
    """One file, owned by one process at a time. Many tasks append and acknowledge; one fsync is for many of them.

    `schema` is SQL, which may be run again, for tables of the caller's own in the same file; `write` puts a change of
    them and the functions of `journal_tables`, `journal_cursors` and `journal_retention` into one transaction.
    Every method but `start` raises `JournalUnavailable` where the disk fails, after which it may be called again, and
    `JournalDamaged` where the file is malformed: stop and start, which salvages what is readable.
    """

    def __init__(self, path: Path, retention: Retention | None = None, schema: str = "") -> None:
        self.path = path = Path(os.path.realpath(path))  # one name for one file: its lock goes by that
        self.retention = retention or Retention()
        self._schema = journal_tables.SCHEMA + schema
        self._lock = OwnerLock(path)
        self._database = Database(path, self._schema, reclaims=True)
        self._appends: Gatherer[Sequence[Entry], range] = Gatherer(self._database, self._append)
        self._acknowledgements: Gatherer[_Acknowledged, None] = Gatherer(self._database, _acknowledge)
        self._keys: dict[str, int] = {}
        self._in_good_order = True

    async def start(self) -> Opening:
        """Own the file and open it; what was torn is cut, what is damaged is salvaged, and the log says so.

        Raises `ConfigurationError` where another process owns it, where it cannot be opened, or is no journal;
        `JournalUnavailable` where the disk is full or fails, and the same call may succeed later.
        """
        opening = await asyncio.to_thread(self._make_ready)
        try:
            await self._database.start()
        except BaseException:
            self._lock.leave(LastOwner.ENDED)
            raise
        self._in_good_order = True
        return opening

    def _make_ready(self) -> Opening:
        last = self._lock.take()
        try:
            opening = make_ready(self.path, self._schema, last)
        except BaseException:
            self._lock.leave(last)
            raise
        if not opening.is_whole:
            log.warning("the journal %s was damaged: %s", self.path, opening.tell())
        return opening

    async def stop(self) -> None:
        """Finish what was asked, then close. May be called twice."""
        await self._database.stop()
        self._lock.leave(LastOwner.LEFT if self._in_good_order else LastOwner.ENDED)

    # entries

    async def append(self, entries: Sequence[Entry]) -> range:
        """Keep the entries, all or none, and return their positions once they are on disk.

        Raises `JournalFull` where there is no room and the policy is to refuse, or where they alone are over the limit.
        A caller that is cancelled does not know whether they are kept.
        """
        if not entries:
            raise ValueError("nothing to append")
        return await self.translated(self._appends.write(entries))

    def _append(self, connection: sqlite3.Connection, groups: list[Sequence[Entry]]) -> list[range | JournalFull]:
        return journal_retention.append(connection, groups, self.retention)

    async def read(
        self, cursor: str, after: int | None = None, limit_rows: int = PAGE_ROWS, limit_bytes: int = PAGE_BYTES
    ) -> Page:
        """Entries that the cursor has not acknowledged, oldest first, past a position, from its own on by default.

        Go on from `page.last`; a page without entries whose `last` is `after` is the end for now. Entries whose
        checksum fails are left out, told in `damaged`, and cut from the journal.
        """

        def work(connection: sqlite3.Connection) -> Page:
            state = journal_cursors.find(connection, cursor)
            first = state.position if after is None else max(after, state.position)
            return journal_tables.read_page(connection, first, limit_rows, limit_bytes, state.cursor)

        page = await self.look(work)
        if page.damaged:
            log.error("the journal %s: entries %s are damaged and are skipped", self.path, list(page.damaged))
            with suppress(JournalUnavailable):  # where the disk has no room they are skipped again next time
                await self._cut(page.damaged, work)
        return page

    async def _cut(self, damaged: Sequence[int], read_again: Work[Page]) -> None:
        """Raises `JournalDamaged` where they cannot be cut and are read again: a page shows what is not kept."""
        cut = await self.write(lambda connection: journal_damage.cut_damaged(connection, damaged))
        if cut < len(damaged) and not set(damaged).isdisjoint((await self.look(read_again)).damaged):
            reason = StructureDamaged(f"the entries {list(damaged)} are shown and cannot be found")
            raise self._note(translate(reason, self.path))

    # cursors

    async def open_cursor(self, name: str, start: Start = Start.BEGINNING) -> CursorState:
        """A reader by its name: where it was before, or, if it is new, at `start`."""
        state = await self.write(lambda connection: journal_cursors.open_cursor(connection, name, start))
        self._keys[name] = state.cursor
        return state

    async def drop_cursor(self, name: str) -> bool:
        """Forget a reader; False where there was none of this name. Nothing waits for it any more."""
        self._keys.pop(name, None)
        return await self.write(lambda connection: journal_cursors.drop_cursor(connection, name))

    async def acknowledge(self, cursor: str, positions: Sequence[int]) -> None:
        """The reader has dealt with these entries, in any order; once this returns it is not given them again.

        What it acknowledged before, or what is not kept, changes nothing. Raises `UnknownCursor`.
        """
        key = self._keys.get(cursor)
        if key is None:
            key = (await self.look(lambda connection: journal_cursors.find(connection, cursor))).cursor
            self._keys[cursor] = key
        await self.translated(self._acknowledgements.write(_Acknowledged(key, positions)))

    # retention

    async def sweep(self, now_ns: int) -> Swept:
        """Forget what is old enough at a time, and give room back to the disk; to be called now and then.

        It works in bounded steps, between which appends go on.
        """
        swept = Swept(0, 0, done=False)
        while not swept.done:
            step = await self.write(lambda connection: journal_retention.sweep(connection, now_ns, self.retention))
            swept = Swept(swept.entries + step.entries, swept.overflowed + step.overflowed, step.done)
        await self.give_back(swept.entries > 0)
        return swept

    async def give_back(self, shrink_log: bool) -> None:
        """Give free room back to the disk, of the file and, where asked for, of its write-ahead log."""
        while await self._alone(journal_retention.give_back):
            pass
        if shrink_log:
            await self._alone(journal_retention.checkpoint)

    # the caller's own transactions

    async def write(self, work: Work[R]) -> R:
        """Run a work in the next group's transaction, as `Database.write`."""
        return await self.translated(self._database.write(work))

    async def look(self, work: Work[R]) -> R:
        """Run a read-only work, as `Database.read`."""
        return await self.translated(self._database.read(work))

    def gather(
        self,
        apply: Callable[[sqlite3.Connection, list[C]], Sequence[R | Exception]],
        committed: Callable[[Sequence[C], Sequence[R | Exception]], None],
    ) -> Gatherer[C, R]:
        """Many small changes by callers of their own as few works, as `Gatherer`; what it raises is `translated`."""
        return Gatherer(self._database, apply, committed)

    async def _alone(self, work: Work[R]) -> R:
        return await self.translated(self._database.run_alone(work))

    async def state(self) -> JournalState:
        """What the journal holds, and where its cursors are."""
        return await self.look(state_of)

    async def translated(self, asked: Awaitable[R]) -> R:
        """Await a work. Raises `JournalUnavailable` or `JournalDamaged` in the place of SQLite's errors."""
        try:
            return await asked
        except sqlite3.Error as exc:
            raise self._note(translate(exc, self.path)) from exc

    def _note(self, error: JournalError) -> JournalError:
        """A malformed file is checked whole at the next start, as after an owner that did not leave."""
        if isinstance(error, JournalDamaged):
            self._in_good_order = False
        return error


def state_of(connection: sqlite3.Connection) -> JournalState:
    """What a journal holds, as of this transaction."""
    return JournalState(journal_tables.state(connection), journal_cursors.cursors(connection))


def look_at(path: Path) -> JournalState:
    """What a journal holds, for a process that does not own it. Raises `JournalError`, and changes nothing."""
    try:
        with closing(Onlooker(path)) as onlooker:
            return onlooker.look(state_of)
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc


def _acknowledge(connection: sqlite3.Connection, changes: list[_Acknowledged]) -> list[None]:
    by_cursor: defaultdict[int, set[int]] = defaultdict(set)
    for change in changes:
        by_cursor[change.cursor].update(change.positions)
    for cursor, positions in by_cursor.items():
        journal_cursors.acknowledge(connection, cursor, sorted(positions))
    return [None] * len(changes)
