"""What the drift service must not forget: the journal of rows, checkpoints, closed windows, and verdicts to post.

Invariant: a window is closed by one transaction that advances the checkpoint, names the window as closed and puts its
verdict in the outbox: after a crash at any point a window is either still open or closed once, with its verdict kept
until the sink has accepted it.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode_structured, encode_structured
from wayside.eventing.storage import journal
from wayside.eventing.storage.database import Database, open_connection
from wayside.eventing.storage.journal import Entry

_SCHEMA = f"""{journal.SCHEMA}
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
"""
_CONFLICTS_KEPT = 1000


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
    """The file `drift.sqlite` in a folder, for the window detector `reader` and rows of `features` columns."""

    def __init__(self, folder: Path, reader: str, features: int) -> None:
        self._database = Database(folder / "drift.sqlite", _SCHEMA)
        self._reader = reader
        self._features = features
        self._view: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError`, also where it holds rows of another width."""
        await self._database.start()
        self._view = open_connection(self._database.path)
        known = await self._database.write(self._register)
        if known != self._features:
            await self.stop()
            raise ConfigurationError(
                f"{self._database.path} holds rows of {known} features, the artifact was fitted on {self._features}:"
                " name another --data folder"
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

    def _register(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT features FROM reader LIMIT 1").fetchone()
        connection.execute("INSERT OR IGNORE INTO reader VALUES (?, ?)", (self._reader, self._features))
        return int(row[0]) if row else self._features

    async def append(self, entry: Entry, event: CloudEvent) -> str:
        """Put an event's rows at the end of their key, on disk when this returns.

        Returns `scored`; `duplicate` where (source, id) came before with the same data; or `conflict` where it came
        with other data: the first stays in its window, and the other is kept apart (the newest thousand of them).
        """
        return await self._database.write(lambda connection: _append(connection, entry, event))

    async def progress(self) -> list[Progress]:
        """Every key and how far it is."""
        return await self._database.read(self._progress)

    def _progress(self, connection: sqlite3.Connection) -> list[Progress]:
        return [
            Progress(key, journal.end_of(connection, key), journal.checkpoint(connection, self._reader, key))
            for key in journal.keys(connection)
        ]

    async def progress_of(self, key: str) -> Progress:
        """How far one key is."""
        return await self._database.read(
            lambda connection: Progress(
                key, journal.end_of(connection, key), journal.checkpoint(connection, self._reader, key)
            )
        )

    async def entries(self, key: str, first: int, end: int) -> list[Entry]:
        """The entries that hold any row of [first, end), in order."""
        return await self._database.read(lambda connection: list(journal.read(connection, key, first, end)))

    async def close_window(self, key: str, verdict: CloudEvent, first: int, end: int, spent: int) -> None:
        """Advance the checkpoint to `end`, note the window, queue its verdict: all or nothing.

        Of the events that end at position `spent` or before, the values are forgotten; their identities stay.
        """

        def work(connection: sqlite3.Connection) -> None:
            _, body = encode_structured(verdict)
            journal.advance(connection, self._reader, key, end)
            connection.execute("INSERT OR REPLACE INTO closed VALUES (?, ?, ?, ?)", (key, first, end, verdict.id))
            connection.execute("INSERT OR IGNORE INTO outbox (id, event) VALUES (?, ?)", (verdict.id, body))
            _trim(connection, key, spent - (end - first), spent)

        await self._database.write(work)

    async def next_posting(self) -> Posting | None:
        """The oldest verdict that waits for the sink."""
        row = await self._database.read(
            lambda connection: connection.execute(
                "SELECT position, event FROM outbox WHERE refused IS NULL ORDER BY position LIMIT 1"
            ).fetchone()
        )
        return None if row is None else Posting(row[0], decode_structured(row[1]))

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
        waiting, refused = self._view.execute(
            "SELECT count(*) FILTER (WHERE refused IS NULL), count(refused) FROM outbox"
        ).fetchone()
        return {"keys": keys, "outbox": waiting, "refused": refused}


def _trim(connection: sqlite3.Connection, key: str, first: int, end: int) -> None:
    """Forget the values of events that touch [first, end) and end by `end`; what came before was trimmed before."""
    spent = [(key, entry.first) for entry in journal.read(connection, key, max(0, first), end) if entry.end <= end]
    connection.executemany("UPDATE journal SET payload = x'' WHERE key = ? AND first = ?", spent)


def _append(connection: sqlite3.Connection, entry: Entry, event: CloudEvent) -> str:
    if journal.append(connection, entry):
        connection.execute("INSERT INTO taken VALUES (?, ?, ?)", (event.source, event.id, event.digest))
        return "scored"
    known = connection.execute("SELECT digest FROM taken WHERE source = ? AND id = ?", (event.source, event.id))
    if known.fetchone()[0] == event.digest:
        return "duplicate"
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflict (source, id, digest, time, data) VALUES (?, ?, ?, ?, ?)",
        (event.source, event.id, event.digest, entry.time, event.data),
    )
    if kept.rowcount:
        oldest = "DELETE FROM conflict WHERE position <= (SELECT max(position) FROM conflict) - ?"
        connection.execute(oldest, (_CONFLICTS_KEPT,))
    return "conflict"
