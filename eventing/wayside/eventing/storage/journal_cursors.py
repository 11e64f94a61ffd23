"""Named cursors: what each reader of a journal has dealt with, in whatever order it did.

Invariant: at and before a cursor's position every entry was acknowledged by it, dropped and counted as its overflow, or
cut as damaged; past it, the first entry that is kept is not acknowledged.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from wayside.eventing.storage.journal_errors import UnknownCursor
from wayside.eventing.storage.journal_tables import SIZE


class Start(Enum):
    """Where a cursor begins that the journal does not know yet."""

    NOW = "now"
    BEGINNING = "beginning"


@dataclass(frozen=True, slots=True)
class CursorState:
    """One reader's progress. `waiting_…` counts what is kept and not acknowledged, `overflow_…` what it never will be
    given because room was needed. `oldest_ns` is the time of the oldest entry that waits.
    """

    cursor: int
    name: str
    position: int
    waiting_entries: int
    waiting_bytes: int
    overflow_entries: int
    overflow_bytes: int
    oldest_ns: int | None


_SELECT_STATES = (
    "SELECT cursor, name, position, waiting_entries, waiting_bytes, overflow_entries, overflow_bytes,"
    " (SELECT time_ns FROM journal_entry e WHERE e.position > c.position ORDER BY e.position LIMIT 1)"
    " FROM journal_cursor c"
)


def cursors(connection: sqlite3.Connection) -> tuple[CursorState, ...]:
    """Every cursor, by name."""
    return tuple(CursorState(*row) for row in connection.execute(f"{_SELECT_STATES} ORDER BY name"))


def find(connection: sqlite3.Connection, name: str) -> CursorState:
    """One cursor. Raises `UnknownCursor`."""
    row = connection.execute(f"{_SELECT_STATES} WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise UnknownCursor(f"the journal has no cursor {name!r}: open it first")
    return CursorState(*row)


def open_cursor(connection: sqlite3.Connection, name: str, start: Start) -> CursorState:
    """The cursor of this name, where it was; one that is not known begins at `start`.

    Where damage took the cursors' names, a new one begins with what was salvaged and is still kept, whatever `start`
    says: to be given an entry twice is better than never.
    """
    known = connection.execute("SELECT 1 FROM journal_cursor WHERE name = ?", (name,)).fetchone()
    if known is None:
        is_salvaged = "EXISTS (SELECT 1 FROM journal_entry WHERE position < rewind_to)"
        since = "0" if start is Start.BEGINNING else f"CASE WHEN {is_salvaged} THEN 0 ELSE next - 1 END"
        connection.execute(f"INSERT INTO journal_cursor SELECT NULL, ?, {since}, 0, 0, 0, 0 FROM journal_log", (name,))
        _count_waiting(connection, name)
    return find(connection, name)


def _count_waiting(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "UPDATE journal_cursor SET (waiting_entries, waiting_bytes) ="
        " (SELECT entries, bytes FROM journal_log WHERE journal_cursor.position = 0) WHERE name = ? AND position = 0",
        (name,),
    )


def drop_cursor(connection: sqlite3.Connection, name: str) -> bool:
    """Forget a cursor and what it acknowledged; False where there was none."""
    connection.execute(
        "DELETE FROM journal_ahead WHERE cursor = (SELECT cursor FROM journal_cursor WHERE name = ?)", (name,)
    )
    return connection.execute("DELETE FROM journal_cursor WHERE name = ?", (name,)).rowcount > 0


def acknowledge(connection: sqlite3.Connection, cursor: int, positions: Sequence[int]) -> int:
    """The reader has dealt with these entries, in any order, and is not given them again; returns how many are new.

    Positions without an entry, or acknowledged before, change nothing.
    """
    listed = json.dumps(positions)
    new, size_bytes = connection.execute(
        f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM journal_entry e WHERE position IN"
        " (SELECT value FROM json_each(:listed)) AND position > (SELECT position FROM journal_cursor"
        " WHERE cursor = :cursor) AND NOT EXISTS"
        " (SELECT 1 FROM journal_ahead a WHERE a.cursor = :cursor AND a.position = e.position)",
        {"listed": listed, "cursor": cursor},
    ).fetchone()
    if not new:
        return 0
    connection.execute(
        "INSERT OR IGNORE INTO journal_ahead SELECT c.cursor, value FROM journal_cursor c, json_each(:listed)"
        " WHERE c.cursor = :cursor AND value > c.position"
        " AND EXISTS (SELECT 1 FROM journal_entry e WHERE e.position = value)",
        {"listed": listed, "cursor": cursor},
    )
    connection.execute(
        "UPDATE journal_cursor SET waiting_entries = waiting_entries - ?, waiting_bytes = waiting_bytes - ?"
        " WHERE cursor = ?",
        (new, size_bytes, cursor),
    )
    advance(connection, cursor)
    return int(new)


def advance(connection: sqlite3.Connection, cursor: int) -> None:
    """Move the cursor's position over what it acknowledged, up to the first entry that it did not."""
    (before,) = connection.execute("SELECT position FROM journal_cursor WHERE cursor = ?", (cursor,)).fetchone()
    position = _walk(connection, cursor, before)
    if position != before:
        connection.execute("UPDATE journal_cursor SET position = ? WHERE cursor = ?", (position, cursor))
        connection.execute("DELETE FROM journal_ahead WHERE cursor = ? AND position <= ?", (cursor, position))


def _walk(connection: sqlite3.Connection, cursor: int, position: int) -> int:
    """Over the acknowledged positions that follow, as far as none is missing."""
    ahead = connection.execute(
        "SELECT position FROM journal_ahead WHERE cursor = ? AND position > ? ORDER BY position", (cursor, position)
    )
    for (acknowledged,) in ahead:
        if acknowledged != position + 1 and acknowledged != _next_entry(connection, position):
            break
        position = acknowledged
    return position


def _next_entry(connection: sqlite3.Connection, position: int) -> int | None:
    """Positions have gaps where entries were cut or dropped, and where a journal was not stopped."""
    found = connection.execute(
        "SELECT position FROM journal_entry WHERE position > ? ORDER BY position LIMIT 1", (position,)
    ).fetchone()
    return None if found is None else int(found[0])
