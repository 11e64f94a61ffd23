"""The tables of a journal, and what appends to them and reads them, inside the caller's transaction.

Invariant: `journal_log` and every cursor say how many entries, and how many bytes, they count, as of the same
transaction; the next position is larger than every position that was ever given.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from wayside.eventing.storage.entry import ROW_BYTES, Entry, KeptEntry, checksum
from wayside.eventing.storage.journal_errors import StructureDamaged

JUMP = 1 << 32  # more positions than a damaged file can have lost
_INSERT_ROWS = 64

SCHEMA = """
CREATE TABLE IF NOT EXISTS journal_log (
    one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
    damaged_entries INTEGER NOT NULL, damaged_bytes INTEGER NOT NULL, rewind_to INTEGER NOT NULL,
    CHECK (typeof(next) = 'integer' AND next BETWEEN 1 AND 0x3FFFFFFFFFFFFFFF)
);
INSERT OR IGNORE INTO journal_log VALUES (1, 1, 0, 0, 0, 0, 0);
CREATE TABLE IF NOT EXISTS journal_entry (
    position INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, checksum INTEGER NOT NULL,
    head BLOB NOT NULL, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS journal_cursor (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, position INTEGER NOT NULL,
    waiting_entries INTEGER NOT NULL, waiting_bytes INTEGER NOT NULL,
    overflow_entries INTEGER NOT NULL, overflow_bytes INTEGER NOT NULL,
    CHECK (typeof(position) = 'integer' AND position >= 0)
);
CREATE TABLE IF NOT EXISTS journal_ahead (
    cursor INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (cursor, position)
) WITHOUT ROWID;
"""
# damage can give a column any type: what is none of its own is read as what its checksum does not hold for
_READABLE = (
    "position, iif(typeof(time_ns) = 'integer', time_ns, 0), iif(typeof(checksum) = 'integer', checksum, -1),"
    " iif(typeof(head) = 'blob', head, x''), iif(typeof(data) = 'blob', data, x'')"
)
SIZE = f"(ifnull(length(head), 0) + ifnull(length(data), 0) + {ROW_BYTES})"  # damage can make a column NULL


@dataclass(frozen=True, slots=True)
class LogState:
    """`next`: the position of the next entry. `damaged_…`: what was cut because its checksum did not hold."""

    next: int
    entries: int
    bytes: int
    damaged_entries: int
    damaged_bytes: int


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in order, and `last`, the position to read on from. `damaged` are positions whose checksum fails.

    `cut_short`: there were more, which the bytes had no room for.
    """

    entries: tuple[KeptEntry, ...]
    damaged: tuple[int, ...]
    last: int
    cut_short: bool = False


def state(connection: sqlite3.Connection) -> LogState:
    """What the log counts, as of this transaction."""
    found = connection.execute("SELECT next, entries, bytes, damaged_entries, damaged_bytes FROM journal_log")
    return LogState(*found.fetchone())


def append(connection: sqlite3.Connection, entries: Sequence[Entry]) -> range:
    """Keep the entries at the end of the log, whatever it holds; their positions follow one another."""
    (first,) = connection.execute("SELECT next FROM journal_log").fetchone()
    positions = range(first, first + len(entries))
    for start in range(0, len(entries), _INSERT_ROWS):
        rows = entries[start : start + _INSERT_ROWS]
        connection.execute(_insert(len(rows)), _values(rows, first + start))
    size_bytes = sum(entry.size_bytes for entry in entries)
    connection.execute(
        "UPDATE journal_log SET next = ?, entries = entries + ?, bytes = bytes + ?",
        (positions.stop, len(entries), size_bytes),
    )
    connection.execute(
        "UPDATE journal_cursor SET waiting_entries = waiting_entries + ?, waiting_bytes = waiting_bytes + ?",
        (len(entries), size_bytes),
    )
    return positions


@lru_cache(maxsize=_INSERT_ROWS)
def _insert(rows: int) -> str:
    """Few statements for many rows: each costs the writer's thread a wait for the interpreter's lock."""
    marks = ", ".join(["(?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO journal_entry (position, time_ns, checksum, head, data) VALUES {marks}"


def _values(entries: Sequence[Entry], first: int) -> list[object]:
    values: list[object] = []
    for position, entry in enumerate(entries, first):
        check = checksum(position, entry.time_ns, entry.head, entry.data)
        values += (position, entry.time_ns, check, entry.head, entry.data)
    return values


def read_page(
    connection: sqlite3.Connection, after: int, limit_rows: int, limit_bytes: int, cursor: int | None = None
) -> Page:
    """Entries past `after`, those that the cursor has acknowledged left out; one at least, however large it is.

    No more are held in memory than the page will hold. Those that are left out cost time, 2 s a million: go on with
    `after` rather than from the front. Raises `StructureDamaged` for entries that are out of order.
    """
    return read_where(
        connection,
        "NOT EXISTS (SELECT 1 FROM journal_ahead a WHERE a.cursor = :cursor AND a.position = e.position)",
        {"after": after, "cursor": cursor, "rows": limit_rows},
        limit_bytes,
    )


def read_where(connection: sqlite3.Connection, condition: str, values: Mapping[str, object], limit_bytes: int) -> Page:
    """Entries past `:after` for which an SQL condition on `journal_entry e` holds, `:rows` at most, as `read_page`.

    `values` are those of `:after`, `:rows` and of what else the condition names.
    """
    rows = connection.execute(
        f"SELECT {_READABLE} FROM journal_entry e WHERE position > :after AND {condition}"
        " ORDER BY position LIMIT :rows",
        values,
    )
    after = values["after"]
    assert isinstance(after, int)
    return _take(rows, after, limit_bytes)


def forget(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Take entries out, wherever they lie in the log; the caller knows that no reader waits for them.

    For callers that keep cursors of their own: the journal's are not looked at.
    """
    gone = connection.execute(
        f"DELETE FROM journal_entry WHERE position IN (SELECT value FROM json_each(?)) RETURNING {SIZE}",
        (json.dumps(positions),),
    ).fetchall()
    connection.execute(
        "UPDATE journal_log SET entries = entries - ?, bytes = bytes - ?",
        (len(gone), sum(size_bytes for (size_bytes,) in gone)),
    )


def _take(rows: Iterator[tuple[int, int, int, bytes, bytes]], last: int, limit_bytes: int) -> Page:
    entries: list[KeptEntry] = []
    damaged: list[int] = []
    taken_bytes = 0
    for position, time_ns, check, head, data in rows:
        if position <= last:
            raise StructureDamaged(f"the entry {position} lies behind {last}")
        taken_bytes += len(head) + len(data)
        if taken_bytes > limit_bytes and entries:
            return Page(tuple(entries), tuple(damaged), last, cut_short=True)
        if check == checksum(position, time_ns, head, data):
            entries.append(KeptEntry(position, time_ns, head, data))
        else:
            damaged.append(position)
        last = position
    return Page(tuple(entries), tuple(damaged), last)
