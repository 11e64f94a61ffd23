"""What the drift service must not forget, in one file: arrivals, identities, series of windows, verdicts to post.

Invariant: an event is answered for once its rows are in the file; a window is closed by one transaction that moves its
key's series on, puts its verdict and alerts in the outbox and forgets the arrivals that are spent. After a crash at any
point a window is either still open or closed once, with its verdict kept until the sink has accepted it.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wayside.detectors.drift.service import journal, series
from wayside.detectors.drift.service.journal import Appended, Incoming, Journal
from wayside.detectors.drift.service.replaced import Replaced, start_over
from wayside.detectors.drift.service.series import Closing, Restored
from wayside.detectors.drift.windowing.values import Arrival
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing import json_format
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.join import Fate, JoinSettings, Part, Taken
from wayside.eventing.pairs.subject import Subject
from wayside.eventing.storage.database import Database, open_connection
from wayside.eventing.storage.owner_lock import OwnerLock
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import request_time

R = TypeVar("R")
_FORMAT = 3  # of the file; the first had a log of rows that was never cut, the second no times of arrival
_SCHEMA = f"""{journal.SCHEMA}{series.SCHEMA}{waiting.SCHEMA}
CREATE TABLE IF NOT EXISTS reader (
    only INTEGER PRIMARY KEY CHECK (only = 0), format INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    digest TEXT NOT NULL, alpha REAL NOT NULL, features INTEGER NOT NULL, side TEXT NOT NULL
);
"""
_REFUSED_KEPT = 1000
# A pair's two payloads, request first, as what comes in; raises `MalformedEvent` where they do not fit.
MakeIncoming = Callable[[Subject, bytes, bytes], Incoming]


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose file it is: who judges, the columns of its rows, and which events they are of."""

    identity: DetectorIdentity
    features: int
    side: Side = Side.REQUEST


@dataclass(frozen=True, slots=True)
class Posting:
    """An event that waits for the sink. All are posted in the order of `position`."""

    position: int
    event: CloudEvent
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """An event that is to be appended with others."""

    incoming: Incoming
    event: CloudEvent
    done: "asyncio.Future[Appended]"


class DriftStore:
    """The file `drift.sqlite` in a folder; one process owns it. `remember_s` is how long, in event time, an event is
    known again.

    `feed` is told of each arrival, in the order of positions, once it is on disk.
    """

    def __init__(self, folder: Path, reader: Reader, remember_s: float = 7 * 86400.0) -> None:
        path = folder / "drift.sqlite"
        self._reader = reader
        self._lock = OwnerLock(path)
        self._database = Database(path, _SCHEMA)
        self._journal = Journal(int(remember_s * 1e9))
        self._view: sqlite3.Connection | None = None
        self.feed: Callable[[Arrival], None] = lambda arrival: None
        self._asked: list[_Asked] = []
        self.replaced = Replaced()
        self.unposted_bytes = 0

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError`, also where it holds rows of another width or side.

        Where another artifact wrote it, its windows are begun anew: `replaced` says what ended with it. Raises
        `ValueError` where that is of another version.
        """
        self._lock.take()
        try:
            _check_format(self._database.path)
            await self._database.start()
            self._view = open_connection(self._database.path)
            self.replaced = await self._database.write(self._load)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Commit what was asked, then leave the file. May be called twice or before `start`."""
        self._append_asked()
        await self._database.stop()
        if self._view is not None:
            self._view.close()
            self._view = None
        self._lock.leave()

    @property
    def running(self) -> bool:
        return self._view is not None

    def _load(self, connection: sqlite3.Connection) -> Replaced:
        was, mine = _reader_of(connection), self._reader
        if was is not None and (was.features, was.side) != (mine.features, mine.side):
            raise ConfigurationError(
                f"{self._database.path} holds rows of {was.features} features of each {was.side.value}, the detector"
                f" needs {mine.features} of each {mine.side.value}: name another --data folder"
            )
        replaced = Replaced()
        if was is not None and was.identity.digest != mine.identity.digest:
            replaced = start_over(connection, was.identity)
        _note_reader(connection, mine)
        self._journal.load(connection)
        query = "SELECT coalesce(sum(length(event)), 0) FROM outbox WHERE refused IS NULL"
        (self.unposted_bytes,) = connection.execute(query).fetchone()
        return replaced

    async def append(self, incoming: Incoming, event: CloudEvent) -> Appended:
        """Put an event's rows into the journal, on disk when this returns.

        `scored`; `duplicate` where it came before with the same data; `conflict` where it came with other data: the
        first stays in its window, and the other is kept apart; `late` where it is too old to know.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._append_asked)  # with all others of this turn of the loop
        asked = _Asked(incoming, event, loop.create_future())
        self._asked.append(asked)
        return await asyncio.shield(asked.done)

    def _append_asked(self) -> None:
        asked, self._asked = self._asked, []
        if asked:
            self._append_together(asked)

    def _append_together(self, asked: "Sequence[_Asked]") -> None:
        """As one work: of what an event costs here, the smallest part is its rows."""
        try:
            work = self._database.ask(
                lambda connection: [self._journal.append(connection, each.incoming, each.event) for each in asked]
            )
        except WaysideError as exc:
            _fail(asked, exc)
        else:
            work.add_done_callback(lambda done: self._appended(asked, done))

    def _appended(self, asked: "Sequence[_Asked]", work: "asyncio.Future[list[Appended]]") -> None:
        error = work.exception()
        if error is None:
            for each, appended in zip(asked, work.result(), strict=True):
                self._tell(appended)
                each.done.set_result(appended)
        elif len(asked) == 1:
            _fail(asked, error)
        else:
            for each in asked:  # one of them may be at fault
                self._append_together([each])

    async def append_part(
        self, part: Part, event: CloudEvent, settings: JoinSettings, ceiling_ns: int, make: MakeIncoming
    ) -> tuple[Taken, Appended | None]:
        """Let an event's part of a pair wait, or join it and put the pair's rows into the journal: on disk when this
        returns, with what became of the pair.

        Raises what `make` raises, and then the part was not taken. An event that came with other data is kept apart.
        """

        def work(connection: sqlite3.Connection) -> tuple[Taken, Appended | None]:
            taken = waiting.take(connection, part, settings, ceiling_ns)
            if taken.fate is Fate.CONFLICT:
                journal.keep_apart(connection, event, request_time(event))
            if not taken.payloads:
                return taken, None
            return taken, self._journal.append(connection, make(part.subject, *taken.payloads))

        return await self._fed(work, lambda result: result[1])

    async def _fed(self, work: Callable[[sqlite3.Connection], R], appended: Callable[[R], Appended | None]) -> R:
        """Do the work and tell of its arrival, whether or not its caller still waits for it."""

        def tell(done: "asyncio.Future[R]") -> None:
            if done.cancelled() or done.exception() is not None:
                return
            self._tell(appended(done.result()))

        asked = self._database.ask(work)
        asked.add_done_callback(tell)  # the works of a group are done, and told, in the order of their positions
        return await asyncio.shield(asked)

    def _tell(self, appended: Appended | None) -> None:
        if appended is not None and appended.arrival is not None:
            self.feed(appended.arrival)

    async def restore(self) -> list[Restored]:
        """Every key's series as it was kept."""
        return await self._database.read(series.restore)

    async def standing(self) -> tuple[int, int]:
        """The position up to which some series is folded, and that of the last arrival."""
        return await self._database.read(
            lambda connection: connection.execute(
                "SELECT folded, max(folded, coalesce((SELECT max(position) FROM arrival), 0)) FROM journal"
            ).fetchone()
        )

    async def unfolded(self, after: int, upto: int, most_bytes: int) -> list[Arrival]:
        """The next arrivals behind `after`, up to `upto`, that are in no series as the file knows them."""
        return await self._database.read(lambda connection: series.unfolded(connection, after, upto, most_bytes))

    async def close(self, closing: Closing) -> None:
        """Move a key on: all or nothing."""
        await self._database.write(lambda connection: series.close(connection, closing))
        self.unposted_bytes += sum(len(body) for _, body in closing.events)

    async def next_posting(self) -> Posting | None:
        """The oldest event that waits for the sink."""
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT position, event FROM outbox WHERE refused IS NULL ORDER BY position LIMIT 1"
            ).fetchone()
        )
        return None if row is None else Posting(row[0], json_format.decode(row[1]), len(row[1]))

    async def mark_posted(self, posting: Posting) -> None:
        """The sink has it."""
        await self._change("DELETE FROM outbox WHERE position = ?", (posting.position,))
        self.unposted_bytes -= posting.size

    async def mark_refused(self, posting: Posting, reason: str) -> None:
        """The sink will never take it: it stays, with the reason, among the newest thousand, and blocks nothing."""
        await self._change("UPDATE outbox SET refused = ? WHERE position = ?", (reason[:1000], posting.position))
        self.unposted_bytes -= posting.size
        await self._change(
            "DELETE FROM outbox WHERE refused IS NOT NULL AND position <= (SELECT position FROM outbox"
            " WHERE refused IS NOT NULL ORDER BY position DESC LIMIT 1 OFFSET ?)",
            (_REFUSED_KEPT,),
        )

    async def _change(self, statement: str, parameters: Iterable[Any]) -> None:
        await self._database.write(lambda connection: connection.execute(statement, tuple(parameters)) and None)

    def view(self) -> Mapping[str, Any]:
        """What the file holds now beyond the keys, for people and for the balance."""
        assert self._view is not None, "asked only while it runs"
        counted = "SELECT count(*) FILTER (WHERE refused IS NULL), count(refused) FROM outbox"
        unposted, refused = self._view.execute(counted).fetchone()
        events, rows = self._view.execute("SELECT forgotten, forgotten_rows FROM journal").fetchone()
        told = {"outbox": unposted, "refused": refused, "too_old": {"events": events, "rows": rows}}
        return {**told, "gone": series.gone(self._view)._asdict(), **self._pairs(self._view)}

    def _pairs(self, connection: sqlite3.Connection) -> Mapping[str, Any]:
        """The parts of pairs by role and fate, where pairs are what is read."""
        if self._reader.side is not Side.PAIR:
            return {}
        at = waiting.standing(connection)
        held = {"watermark": at.watermark, "held": at.held, "held_bytes": at.held_bytes}
        return {"side": self._reader.side.value, "pairs": {**held, "parts": at.by_role()}}


def _fail(asked: Iterable[_Asked], error: BaseException) -> None:
    for each in asked:
        each.done.set_exception(error)


def _reader_of(connection: sqlite3.Connection) -> Reader | None:
    """Whose the file is, if it is somebody's."""
    row = connection.execute("SELECT name, kind, digest, alpha, features, side FROM reader").fetchone()
    return None if row is None else Reader(DetectorIdentity(*row[:4]), row[4], Side(row[5]))


def _note_reader(connection: sqlite3.Connection, reader: Reader) -> None:
    who = reader.identity
    row = (_FORMAT, who.name, who.kind, who.digest, who.alpha, reader.features, reader.side.value)
    connection.execute("INSERT OR REPLACE INTO reader VALUES (0, ?, ?, ?, ?, ?, ?, ?)", row)


def _check_format(path: Path) -> None:
    """Raises `ConfigurationError` where another Wayside wrote the file: its windows or its columns were others."""
    if not path.exists():
        return
    try:
        connection = open_connection(path)
        try:
            found = _format_of(connection)
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise ConfigurationError(f"cannot open the store {path}: {exc}") from exc
    if found not in (None, _FORMAT):
        age = "an earlier" if found < _FORMAT else "a later"
        raise ConfigurationError(
            f"{path} is of {age} Wayside (format {found}, not {_FORMAT}): name another --data folder"
        )


def _format_of(connection: sqlite3.Connection) -> int | None:
    """None where nothing was written yet."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "row_log" in tables:
        return 1
    row = connection.execute("SELECT format FROM reader").fetchone() if "reader" in tables else None
    return None if row is None else int(row[0])
