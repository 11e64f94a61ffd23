"""Damage inside a journal that SQLite can still read: found, cut, counted, and the counts made right again.

Invariant: only entries whose checksum fails are cut, each once, and `damaged_entries` counts them; after `mend` the
counts are those of the tables.
"""

import sqlite3
import time
from collections.abc import Sequence

from wayside.eventing.storage.entry import ROW_BYTES
from wayside.eventing.storage.journal_cursors import advance
from wayside.eventing.storage.journal_tables import JUMP, SIZE, read_page

TAIL_ROWS = 1_024
_PAGE_BYTES = 8 << 20
_LEAST = 1 - (1 << 63)


def cut_tail(connection: sqlite3.Connection) -> int:
    """Check the last entries and cut those that are torn; returns how many were."""
    found = connection.execute(
        "SELECT position FROM journal_entry ORDER BY position DESC LIMIT 1 OFFSET ?", (TAIL_ROWS - 1,)
    ).fetchone()
    return _cut_from(connection, 0 if found is None else found[0])


def _cut_from(connection: sqlite3.Connection, first: int) -> int:
    after, cut, more = first - 1, 0, True
    while more:
        page = read_page(connection, after, TAIL_ROWS, _PAGE_BYTES)
        cut += cut_damaged(connection, page.damaged)
        more, after = page.last != after, page.last
    return cut


def cut_damaged(connection: sqlite3.Connection, positions: Sequence[int]) -> int:
    """Take entries out whose checksum failed, and count them; returns how many of them were still there."""
    cut = sum(_cut(connection, position) for position in positions)
    if cut:
        for (cursor,) in connection.execute("SELECT cursor FROM journal_cursor").fetchall():
            advance(connection, cursor)
    return cut


def _cut(connection: sqlite3.Connection, position: int) -> bool:
    if position not in read_page(connection, position - 1, 1, _PAGE_BYTES).damaged:
        return False  # gone, or whole: damage to a page can show an entry that is none, in the place of others
    found = connection.execute(f"SELECT {SIZE} FROM journal_entry WHERE position = ?", (position,)).fetchone()
    size_bytes = found[0] if isinstance(found[0], int) else ROW_BYTES
    connection.execute(
        "UPDATE journal_cursor SET waiting_entries = waiting_entries - 1, waiting_bytes = waiting_bytes - :bytes"
        " WHERE position < :position AND NOT EXISTS (SELECT 1 FROM journal_ahead a"
        " WHERE a.cursor = journal_cursor.cursor AND a.position = :position)",
        {"bytes": size_bytes, "position": position},
    )
    connection.execute("DELETE FROM journal_ahead WHERE position = ?", (position,))
    connection.execute("DELETE FROM journal_entry WHERE position = ?", (position,))
    connection.execute(
        "UPDATE journal_log SET entries = entries - 1, bytes = bytes - :bytes,"
        " damaged_entries = damaged_entries + 1, damaged_bytes = damaged_bytes + :bytes",
        {"bytes": size_bytes},
    )
    return True


def jump(connection: sqlite3.Connection) -> None:
    """Go on with positions that were certainly never given: the last of those that were may be lost."""
    connection.execute("UPDATE journal_log SET next = next + ?", (JUMP,))


def jump_over_all(connection: sqlite3.Connection) -> None:
    """As `jump`, where the file has lost the next position itself: on to the time in nanoseconds since the epoch.

    No journal gives a position for each nanosecond that it lives, nor ends without a stop every four seconds.
    """
    connection.execute("UPDATE journal_log SET next = max(next + ?, ?)", (JUMP, time.time_ns()))


def mend(connection: sqlite3.Connection) -> None:
    """After a salvage, which may have lost rows of any table: cut what is torn, make every count that of the tables,
    and go on with positions that were never given.

    Where no cursor was saved, those opened from now on begin with the entries that were (`rewind_to`).
    """
    _cut_from(connection, _LEAST)
    connection.execute(
        f"UPDATE journal_log SET (entries, bytes) = (SELECT count(*), coalesce(sum({SIZE}), 0) FROM journal_entry),"
        " next = max(next, 1 + coalesce((SELECT max(position) FROM journal_entry), 0)),"
        " rewind_to = CASE WHEN EXISTS (SELECT 1 FROM journal_cursor) THEN rewind_to"
        " ELSE 1 + coalesce((SELECT max(position) FROM journal_entry), -1) END"
    )
    connection.execute("UPDATE journal_cursor SET position = 0 WHERE position >= (SELECT next FROM journal_log)")
    connection.execute("DELETE FROM journal_ahead WHERE cursor NOT IN (SELECT cursor FROM journal_cursor)")
    connection.execute("DELETE FROM journal_ahead WHERE position NOT IN (SELECT position FROM journal_entry)")
    for (cursor,) in connection.execute("SELECT cursor FROM journal_cursor").fetchall():
        advance(connection, cursor)
        _count_waiting(connection, cursor)
    jump_over_all(connection)


def _count_waiting(connection: sqlite3.Connection, cursor: int) -> None:
    connection.execute(
        "UPDATE journal_cursor SET (waiting_entries, waiting_bytes) ="
        f" (SELECT count(*), coalesce(sum({SIZE}), 0) FROM journal_entry e WHERE e.position > journal_cursor.position"
        " AND NOT EXISTS (SELECT 1 FROM journal_ahead a"
        " WHERE a.cursor = journal_cursor.cursor AND a.position = e.position)) WHERE cursor = ?",
        (cursor,),
    )
