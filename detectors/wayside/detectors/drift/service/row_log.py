"""The log that windows are cut from: rows by key, in persisted order of arrival, each event once, with checkpoints.

Invariant: positions of a key count from 0 without a gap in units of rows; an event that was appended before keeps its
first position, so that redelivery changes nothing. `append` joins the caller's transaction: positions, checkpoints and
what follows from them (an outbox) commit together or not at all.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

SCHEMA = """
CREATE TABLE IF NOT EXISTS row_log (
    key TEXT NOT NULL, first INTEGER NOT NULL, rows INTEGER NOT NULL,
    source TEXT NOT NULL, id TEXT NOT NULL, time TEXT NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (key, first)
);
CREATE UNIQUE INDEX IF NOT EXISTS row_log_event ON row_log (source, id);
CREATE TABLE IF NOT EXISTS row_log_end (key TEXT PRIMARY KEY, end INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (
    reader TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (reader, key)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of one event. `payload` is the rows' bytes in a form the writer chose; `first` is set when read."""

    key: str
    source: str
    id: str
    time: str
    rows: int
    payload: bytes
    first: int = -1

    @property
    def end(self) -> int:
        return self.first + self.rows


def append(connection: sqlite3.Connection, entry: Entry) -> bool:
    """Add an entry at the end of its key; False, and nothing changed, where (source, id) is in the log already.

    Raises `ValueError` for an entry without a row: it would have no position.
    """
    if entry.rows < 1:
        raise ValueError(f"entry {entry.id!r} of {entry.source!r} has no row")
    known = connection.execute("SELECT 1 FROM row_log WHERE source = ? AND id = ?", (entry.source, entry.id))
    if known.fetchone():
        return False
    first = end_of(connection, entry.key)
    connection.execute(
        "INSERT INTO row_log (key, first, rows, source, id, time, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (entry.key, first, entry.rows, entry.source, entry.id, entry.time, entry.payload),
    )
    connection.execute("INSERT OR REPLACE INTO row_log_end (key, end) VALUES (?, ?)", (entry.key, first + entry.rows))
    return True


def end_of(connection: sqlite3.Connection, key: str) -> int:
    """How many rows the key has: the position of its next one."""
    row = connection.execute("SELECT end FROM row_log_end WHERE key = ?", (key,)).fetchone()
    return row[0] if row else 0


def read(connection: sqlite3.Connection, key: str, first: int, end: int) -> Iterator[Entry]:
    """The entries that hold any row from `first` up to but without `end`, in order; take them inside the same work."""
    if first >= end:
        return iter(())
    found = connection.execute(
        "SELECT key, source, id, time, rows, payload, first FROM row_log WHERE key = :key AND first < :end"
        " AND first >= coalesce((SELECT max(first) FROM row_log WHERE key = :key AND first <= :first), 0)"
        " AND first + rows > :first ORDER BY first",
        {"key": key, "first": first, "end": end},
    )
    return (Entry(*row) for row in found)


def keys(connection: sqlite3.Connection) -> list[str]:
    """Every key that has an entry."""
    return [row[0] for row in connection.execute("SELECT key FROM row_log_end ORDER BY key")]


def checkpoint(connection: sqlite3.Connection, reader: str, key: str) -> int:
    """The position up to which `reader` has dealt with the key; 0 before its first `advance`."""
    row = connection.execute("SELECT position FROM checkpoint WHERE reader = ? AND key = ?", (reader, key)).fetchone()
    return row[0] if row else 0


def advance(connection: sqlite3.Connection, reader: str, key: str, position: int) -> None:
    """Move a reader's checkpoint."""
    connection.execute(
        "INSERT OR REPLACE INTO checkpoint (reader, key, position) VALUES (?, ?, ?)", (reader, key, position)
    )


def forget_values(connection: sqlite3.Connection, key: str, first: int, end: int) -> None:
    """Forget the values of entries that touch [first, end) and end by `end`; positions and identities stay."""
    spent = [(key, entry.first) for entry in read(connection, key, max(0, first), end) if entry.end <= end]
    connection.executemany("UPDATE row_log SET payload = x'' WHERE key = ? AND first = ?", spent)
