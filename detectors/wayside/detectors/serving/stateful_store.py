"""What a stateful detector must not forget: the memory of each key, and the verdict on each event it judged.

Invariant: the memory that an event moved and the verdict on it are one transaction, so that after a crash at any point
an event is either not judged at all or judged once, and told the same verdict whenever it is sent again.
"""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wayside.eventing import json_format
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.storage.database import Database, open_connection
from wayside.eventing.storage.owner_lock import OwnerLock
from wayside.eventing.verdict import RowVerdict
from wayside.eventing.vocabulary import request_time

_SCHEMA = """
CREATE TABLE IF NOT EXISTS judged (
    position INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    digest BLOB NOT NULL, verdict BLOB NOT NULL, ends INTEGER NOT NULL, UNIQUE (source, id, type)
);
CREATE TABLE IF NOT EXISTS memory (
    key TEXT NOT NULL, artifact TEXT NOT NULL, used INTEGER NOT NULL, events INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (key, artifact)
);
CREATE INDEX IF NOT EXISTS memory_used ON memory (used);
CREATE TABLE IF NOT EXISTS conflict (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, digest BLOB NOT NULL, time TEXT NOT NULL,
    data BLOB NOT NULL, UNIQUE (source, id, type, digest)
);
"""
_CONFLICTS_KEPT = 1000
_KEYS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Judgement:
    """One event judged: what was said of its rows, as the event that says so, and the memory after it."""

    said: RowVerdict
    verdict: CloudEvent
    memory: bytes


# Judges an event by the memory before it; None where its key has none yet.
Judge = Callable[[bytes | None], Judgement]


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much is remembered: memories by number and bytes, of which the least recently used goes first; verdicts by
    number and bytes, of which the oldest goes first. The newest of each stays, whatever its size."""

    memories: int = 4096
    memory_bytes: int = 256 << 20
    verdicts: int = 1_000_000
    verdict_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if min(self.memories, self.memory_bytes, self.verdicts, self.verdict_bytes) < 1:
            raise ConfigurationError("what a stateful detector remembers is at least one memory and one verdict")


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of an event: `scored`, `duplicate` with the verdict of then, or `conflict` without one.

    `said` is there where it was scored; `evicted` and `forgotten` count the memories and verdicts that went for it.
    """

    outcome: str
    verdict: CloudEvent | None = None
    said: RowVerdict | None = None
    evicted: int = 0
    forgotten: int = 0


class StatefulStore:
    """The file `stateful-NAME.sqlite` in a folder, for the detector of this name; one process owns it.

    An event is known again by (source, id, type) until `limits.verdicts` others, or `limits.verdict_bytes` of their
    verdicts, have been judged after it.
    """

    def __init__(self, folder: Path, name: str, limits: StoreLimits) -> None:
        path = folder / f"stateful-{name}.sqlite"
        self._limits = limits
        self._lock = OwnerLock(path)
        self._database = Database(path, _SCHEMA)
        self._view: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Raises `ConfigurationError` where another process owns the file, or it cannot be opened."""
        self._lock.take()
        try:
            await self._database.start()
        except BaseException:
            self._lock.leave()
            raise
        self._view = open_connection(self._database.path)

    async def stop(self) -> None:
        """Commit what was asked, then leave the file. May be called twice or before `start`."""
        await self._database.stop()
        if self._view is not None:
            self._view.close()
            self._view = None
        self._lock.leave()

    @property
    def running(self) -> bool:
        return self._view is not None

    async def judge(self, event: CloudEvent, key: str, artifact: str, judge: Judge) -> Judged:
        """Judge an event that was not judged before by the memory of (key, artifact); on disk when this returns.

        Events are judged one after another, in the order of these calls, in a thread of its own. One that came before
        with other data is kept apart (the newest thousand of them). Raises what `judge` raises: nothing was changed.
        """

        def work(connection: sqlite3.Connection) -> Judged:
            known = _recall(connection, event)
            if known is not None:
                return known
            query = "SELECT value FROM memory WHERE key = ? AND artifact = ?"
            before = connection.execute(query, (key, artifact)).fetchone()
            judgement = judge(before[0] if before else None)
            position = _note(connection, event, judgement.verdict)
            _keep(connection, (key, artifact), position, judgement.memory)
            evicted = 0 if before else _evict(connection, self._most(len(judgement.memory)))
            forgotten = _forget(connection, position, self._limits)
            return Judged("scored", judgement.verdict, judgement.said, evicted, forgotten)

        return await self._database.write(work)

    def _most(self, memory_bytes: int) -> int:
        """How many memories of this size there may be."""
        return max(1, min(self._limits.memories, self._limits.memory_bytes // memory_bytes))

    def view(self) -> Mapping[str, Any]:
        """What the file holds now, for people: the keys most recently used first."""
        assert self._view is not None, "asked only while it runs"
        return _view(self._view)


def _recall(connection: sqlite3.Connection, event: CloudEvent) -> Judged | None:
    """What was said of an event before."""
    query = "SELECT digest, verdict FROM judged WHERE source = ? AND id = ? AND type = ?"
    known = connection.execute(query, event.key).fetchone()
    if known is None:
        return None
    if known[0] == event.digest:
        return Judged("duplicate", json_format.decode(known[1]))
    _keep_apart(connection, event)
    return Judged("conflict")


def _keep_apart(connection: sqlite3.Connection, event: CloudEvent) -> None:
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflict (source, id, type, digest, time, data) VALUES (?, ?, ?, ?, ?, ?)",
        (*event.key, event.digest, request_time(event), event.data),
    )
    if kept.rowcount:
        oldest = "DELETE FROM conflict WHERE position <= (SELECT max(position) FROM conflict) - ?"
        connection.execute(oldest, (_CONFLICTS_KEPT,))


def _note(connection: sqlite3.Connection, event: CloudEvent, verdict: CloudEvent) -> int:
    """The verdict's position: that of its event among all that were judged."""
    last = connection.execute("SELECT position, ends FROM judged ORDER BY position DESC LIMIT 1").fetchone() or (0, 0)
    body = json_format.encode(verdict)
    position, ends = last[0] + 1, last[1] + len(body)
    row = (position, *event.key, event.digest, body, ends)
    connection.execute("INSERT INTO judged VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return position


def _keep(connection: sqlite3.Connection, name: tuple[str, str], position: int, value: bytes) -> None:
    connection.execute(
        "INSERT INTO memory VALUES (?, ?, ?, 1, ?) ON CONFLICT (key, artifact)"
        " DO UPDATE SET used = excluded.used, events = events + 1, value = excluded.value",
        (*name, position, value),
    )


def _evict(connection: sqlite3.Connection, most: int) -> int:
    """Forget the memories least recently used, until there are `most`; returns how many."""
    newest = "SELECT rowid FROM memory ORDER BY used DESC LIMIT ?"
    return connection.execute(f"DELETE FROM memory WHERE rowid NOT IN ({newest})", (most,)).rowcount


def _forget(connection: sqlite3.Connection, position: int, limits: StoreLimits) -> int:
    """Forget the oldest verdicts beyond the limits; returns how many. `ends` rises, so a few at the front are read."""
    (ends,) = connection.execute("SELECT ends FROM judged WHERE position = ?", (position,)).fetchone()
    last = 0
    for old, old_ends, size in connection.execute("SELECT position, ends, length(verdict) FROM judged ORDER BY 1"):
        fits = position - old < limits.verdicts and ends - (old_ends - size) <= limits.verdict_bytes
        if fits or old == position:
            break
        last = old
    return connection.execute("DELETE FROM judged WHERE position <= ?", (last,)).rowcount if last else 0


def _view(connection: sqlite3.Connection) -> Mapping[str, Any]:
    keys = connection.execute(
        "SELECT key, artifact, events FROM memory ORDER BY used DESC LIMIT ?", (_KEYS_SHOWN,)
    ).fetchall()
    (memories,) = connection.execute("SELECT count(*) FROM memory").fetchone()
    first, last = connection.execute("SELECT min(position), max(position) FROM judged").fetchone()
    (conflicts,) = connection.execute("SELECT count(*) FROM conflict").fetchone()
    return {
        "keys": [{"key": key, "artifact": artifact, "events": events} for key, artifact, events in keys],
        "memories": memories,
        "judged": last or 0,
        "verdicts_kept": last - first + 1 if last else 0,
        "conflicts": conflicts,
    }
