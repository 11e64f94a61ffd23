"""What the drift service must not forget: the log of rows, checkpoints, closed windows, and verdicts to post.

Invariant: a window is closed by one transaction that advances the checkpoint, names the window as closed and puts its
verdict in the outbox: after a crash at any point a window is either still open or closed once, with its verdict kept
until the sink has accepted it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayside.detectors.drift.service import row_log
from wayside.detectors.drift.service.row_log import Entry
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing import json_format
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.join import Fate, JoinSettings, Part, Taken
from wayside.eventing.pairs.subject import Subject
from wayside.eventing.storage.database import Database, open_connection
from wayside.eventing.vocabulary import request_time

_SCHEMA = f"""{row_log.SCHEMA}{waiting.SCHEMA}
CREATE TABLE IF NOT EXISTS taken (
    source TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conflict (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL, time TEXT NOT NULL, data BLOB NOT NULL,
    UNIQUE (source, id, digest)
);
CREATE TABLE IF NOT EXISTS closed (
    key TEXT NOT NULL, first INTEGER NOT NULL, end INTEGER NOT NULL, verdict TEXT NOT NULL,
    PRIMARY KEY (key, first)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, event BLOB NOT NULL, refused TEXT
);
CREATE TABLE IF NOT EXISTS reader (name TEXT PRIMARY KEY, features INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS side (only INTEGER PRIMARY KEY CHECK (only = 0), name TEXT NOT NULL);
"""
_CONFLICTS_KEPT = 1000
# A pair's two payloads, request first, as an entry of the log; raises `MalformedEvent` where they do not fit.
MakeEntry = Callable[[Subject, bytes, bytes], Entry]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a key stands: rows that arrived, and the position up to which they are in closed windows."""

    key: str
    end: int
    position: int


@dataclass(frozen=True, slots=True)
class Posting:
    """A verdict that waits for the sink. Those of a key, and of all keys, are posted in the order of `position`."""

    position: int
    event: CloudEvent


class DriftStore:
    """The file `drift.sqlite` in a folder, for the window detector `reader` and rows of `features` columns.

    `side` says whose rows they are: a file of requests' rows takes no others.
    """

    def __init__(self, folder: Path, reader: str, features: int, side: Side = Side.REQUEST) -> None:
        self._database = Database(folder / "drift.sqlite", _SCHEMA)
        self._reader = reader
        self._features = features
        self._side = side
        self._view: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError`, also where it holds rows of another width or side."""
        await self._database.start()
        self._view = open_connection(self._database.path)
        known, side = await self._database.write(self._register)
        if (known, side) == (self._features, self._side):
            return
        await self.stop()
        raise ConfigurationError(
            f"{self._database.path} holds rows of {known} features of each {side}, the detector needs {self._features}"
            f" of each {self._side.value}: name another --data folder"
        )

    async def stop(self) -> None:
        """May be called twice or before `start`."""
        await self._database.stop()
        if self._view is not None:
            self._view.close()
            self._view = None

    @property
    def running(self) -> bool:
        return self._view is not None

    def _register(self, connection: sqlite3.Connection) -> tuple[int, str]:
        row = connection.execute("SELECT features FROM reader LIMIT 1").fetchone()
        # a file from before there were sides holds requests
        side = Side.REQUEST if row else self._side
        connection.execute("INSERT OR IGNORE INTO reader VALUES (?, ?)", (self._reader, self._features))
        connection.execute("INSERT OR IGNORE INTO side VALUES (0, ?)", (side.value,))
        known: str = connection.execute("SELECT name FROM side").fetchone()[0]
        return int(row[0]) if row else self._features, known

    async def append(self, entry: Entry, event: CloudEvent) -> str:
        """Put an event's rows at the end of their key, on disk when this returns.

        Returns `scored`; `duplicate` where (source, id) came before with the same data; or `conflict` where it came
        with other data: the first stays in its window, and the other is kept apart (the newest thousand of them).
        """
        return await self._database.write(lambda connection: _append(connection, entry, event))

    async def append_part(
        self, part: Part, event: CloudEvent, settings: JoinSettings, ceiling_ns: int, make: MakeEntry
    ) -> tuple[Taken, Entry | None]:
        """Let an event's part of a pair wait, or join it and put the pair's rows at the end of their key: on disk when
        this returns, with the entry that was appended.

        Raises what `make` raises, and then the part was not taken. An event that came with other data is kept apart.
        """

        def work(connection: sqlite3.Connection) -> tuple[Taken, Entry | None]:
            taken = waiting.take(connection, part, settings, ceiling_ns)
            if taken.fate is Fate.CONFLICT:
                _keep_apart(connection, event, request_time(event))
            if not taken.payloads:
                return taken, None
            entry = make(part.subject, *taken.payloads)
            return taken, entry if row_log.append(connection, entry) else None

        return await self._database.write(work)

    async def progress(self) -> list[Progress]:
        """Every key and how far it is."""
        return await self._database.read(self._progress)

    def _progress(self, connection: sqlite3.Connection) -> list[Progress]:
        return [
            Progress(key, row_log.end_of(connection, key), row_log.checkpoint(connection, self._reader, key))
            for key in row_log.keys(connection)
        ]

    async def progress_of(self, key: str) -> Progress:
        """How far one key is."""
        return await self._database.read(
            lambda connection: Progress(
                key, row_log.end_of(connection, key), row_log.checkpoint(connection, self._reader, key)
            )
        )

    async def entries(self, key: str, first: int, end: int) -> list[Entry]:
        """The entries that hold any row of [first, end), in order."""
        return await self._database.read(lambda connection: list(row_log.read(connection, key, first, end)))

    async def close_window(self, key: str, verdict: CloudEvent, first: int, end: int, spent: int) -> None:
        """Advance the checkpoint to `end`, note the window, queue its verdict: all or nothing.

        Of the events that end at position `spent` or before, the values are forgotten; their identities stay.
        """

        def work(connection: sqlite3.Connection) -> None:
            body = json_format.encode(verdict)
            row_log.advance(connection, self._reader, key, end)
            connection.execute("INSERT OR REPLACE INTO closed VALUES (?, ?, ?, ?)", (key, first, end, verdict.id))
            connection.execute("INSERT OR IGNORE INTO outbox (id, event) VALUES (?, ?)", (verdict.id, body))
            row_log.forget_values(connection, key, spent - (end - first), spent)

        await self._database.write(work)

    async def next_posting(self) -> Posting | None:
        """The oldest verdict that waits for the sink."""
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT position, event FROM outbox WHERE refused IS NULL ORDER BY position LIMIT 1"
            ).fetchone()
        )
        return None if row is None else Posting(row[0], json_format.decode(row[1]))

    async def mark_posted(self, posting: Posting) -> None:
        """The sink has it."""
        await self._change("DELETE FROM outbox WHERE position = ?", (posting.position,))

    async def mark_refused(self, posting: Posting, reason: str) -> None:
        """The sink will never take it: it stays, with the reason, and blocks nothing."""
        await self._change("UPDATE outbox SET refused = ? WHERE position = ?", (reason[:1000], posting.position))

    async def _change(self, statement: str, parameters: Iterable[Any]) -> None:
        await self._database.write(lambda connection: connection.execute(statement, tuple(parameters)) and None)

    def view(self) -> Mapping[str, Any]:
        """What the file holds now, for people and for the balance."""
        assert self._view is not None
        windows = dict(self._view.execute("SELECT key, count(*) FROM closed GROUP BY key"))
        keys = [
            {
                "key": at.key,
                "rows": at.end,
                "in_windows": at.position,
                "open": at.end - at.position,
                "windows": windows.get(at.key, 0),
            }
            for at in self._progress(self._view)
        ]
        unposted, refused = self._view.execute(
            "SELECT count(*) FILTER (WHERE refused IS NULL), count(refused) FROM outbox"
        ).fetchone()
        return {"keys": keys, "outbox": unposted, "refused": refused, **self._pairs(self._view)}

    def _pairs(self, connection: sqlite3.Connection) -> Mapping[str, Any]:
        """The parts of pairs by role and fate, where pairs are what is read."""
        if self._side is not Side.PAIR:
            return {}
        at = waiting.standing(connection)
        held = {"watermark": at.watermark, "held": at.held, "held_bytes": at.held_bytes}
        return {"side": self._side.value, "pairs": {**held, "parts": at.by_role()}}


def _append(connection: sqlite3.Connection, entry: Entry, event: CloudEvent) -> str:
    if row_log.append(connection, entry):
        connection.execute("INSERT INTO taken VALUES (?, ?, ?)", (event.source, event.id, event.digest))
        return "scored"
    known = connection.execute("SELECT digest FROM taken WHERE source = ? AND id = ?", (event.source, event.id))
    if known.fetchone()[0] == event.digest:
        return "duplicate"
    _keep_apart(connection, event, entry.time)
    return "conflict"


def _keep_apart(connection: sqlite3.Connection, event: CloudEvent, time: str) -> None:
    """Keep an event whose key came with other data: the newest thousand of them."""
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflict (source, id, digest, time, data) VALUES (?, ?, ?, ?, ?)",
        (event.source, event.id, event.digest, time, event.data),
    )
    if kept.rowcount:
        oldest = "DELETE FROM conflict WHERE position <= (SELECT max(position) FROM conflict) - ?"
        connection.execute(oldest, (_CONFLICTS_KEPT,))
