"""What a journal forgets, and when: by bytes at an append, by age at a sweep.

Invariant: an entry that some cursor has not acknowledged goes only where the settings say so, and is counted as
overflow of every cursor that was still to be given it.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, takewhile

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.storage import journal_tables
from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal_cursors import advance
from wayside.eventing.storage.journal_errors import JournalFull
from wayside.eventing.storage.journal_tables import SIZE

_STEP_ROWS = 256
_STEP_PAGES = 1_024
_SPARE_PAGES = 64


class WhenFull(Enum):
    """What an append does that finds no room but that of entries which some cursor has not acknowledged."""

    REFUSE = "refuse"
    DROP_OLDEST = "drop-oldest"


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept, and how long.

    `limit_bytes` bounds the entries as `Entry.size_bytes` counts them; the file takes up to a third more. What every
    cursor acknowledged is forgotten once it is `keep_acknowledged_s` old, and earlier where an append needs the room.
    What is not acknowledged is dropped past an age of `limit_age_s` (None: never). Ages go by the entries' own times,
    from the front of the log: an entry goes by age when it and all before it are old enough.
    """

    limit_bytes: int = 1 << 30
    when_full: WhenFull = WhenFull.REFUSE
    keep_acknowledged_s: float = 0.0
    limit_age_s: float | None = None

    def __post_init__(self) -> None:
        if self.limit_bytes < 1:
            raise ConfigurationError(f"a journal's limit_bytes is at least 1, not {self.limit_bytes}")
        if self.keep_acknowledged_s < 0 or (self.limit_age_s is not None and self.limit_age_s < 0):
            raise ConfigurationError("ages of a journal's retention are not negative")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a step of a sweep did: entries that it forgot, and how many of them overflowed, counted cursor by cursor.

    `done`: nothing was left to do.
    """

    entries: int
    overflowed: int
    done: bool


@dataclass(frozen=True, slots=True)
class _Row:
    position: int
    time_ns: int
    size_bytes: int


def append(
    connection: sqlite3.Connection, groups: Sequence[Sequence[Entry]], retention: Retention
) -> list[range | JournalFull]:
    """Append each group whole or refuse it whole, in order; what the limit asks for is forgotten first.

    Returns the positions of each group's entries, which follow one another, or why there is no room for it.
    """
    needed_bytes = sum(entry.size_bytes for group in groups for entry in group)
    if _make_room(connection, needed_bytes, retention):
        positions = journal_tables.append(connection, [entry for group in groups for entry in group])
        return list(_split(positions, groups))
    return [_append_one(connection, group, retention) for group in groups]


def _split(positions: range, groups: Sequence[Sequence[Entry]]) -> Iterator[range]:
    first = positions.start
    for group in groups:
        yield range(first, first + len(group))
        first += len(group)


def _append_one(connection: sqlite3.Connection, group: Sequence[Entry], retention: Retention) -> range | JournalFull:
    size_bytes = sum(entry.size_bytes for entry in group)
    if _make_room(connection, size_bytes, retention):
        return journal_tables.append(connection, group)
    if size_bytes > retention.limit_bytes:
        return JournalFull(f"an append of {size_bytes} bytes is larger than the journal's {retention.limit_bytes}")
    return JournalFull(
        f"the journal holds {journal_tables.state(connection).bytes} of at most {retention.limit_bytes} bytes,"
        f" not acknowledged yet, and has no room for {size_bytes} more"
    )


def _make_room(connection: sqlite3.Connection, needed_bytes: int, retention: Retention) -> bool:
    """Forget from the front until so many bytes are free; False where all that may be forgotten is not enough."""
    lacking = journal_tables.state(connection).bytes + needed_bytes - retention.limit_bytes
    if lacking <= 0:
        return True
    if needed_bytes > retention.limit_bytes:
        return False
    may_overflow = retention.when_full is WhenFull.DROP_OLDEST
    through = None if may_overflow else _acknowledged_by_all(connection)
    while lacking > 0:
        going = _until_enough(_oldest(connection, through), lacking)
        if not going:
            return False
        _forget(connection, going)
        lacking -= sum(row.size_bytes for row in going)
    return True


def _acknowledged_by_all(connection: sqlite3.Connection) -> int | None:
    """The last position that no cursor waits for; None, every position, where there is no cursor."""
    (position,) = connection.execute("SELECT min(position) FROM journal_cursor").fetchone()
    return None if position is None else int(position)


def _oldest(connection: sqlite3.Connection, through: int | None) -> list[_Row]:
    found = connection.execute(
        f"SELECT position, CAST(ifnull(time_ns, 0) AS INTEGER), {SIZE} FROM journal_entry"
        " WHERE :through IS NULL OR position <= :through ORDER BY position LIMIT :rows",
        {"through": through, "rows": _STEP_ROWS},
    )
    return [_Row(*row) for row in found]


def _until_enough(rows: Sequence[_Row], needed_bytes: int) -> Sequence[_Row]:
    """The first rows that are as large together as what is needed; all of them where they are less."""
    for count, reached_bytes in enumerate(accumulate(row.size_bytes for row in rows), 1):
        if reached_bytes >= needed_bytes:
            return rows[:count]
    return rows


def sweep(connection: sqlite3.Connection, now_ns: int, retention: Retention) -> Swept:
    """Forget what is old enough, as far as one bounded step goes."""
    through = _acknowledged_by_all(connection)
    oldest = _oldest(connection, None)
    going = list(takewhile(lambda row: _is_spent(row, through, now_ns, retention), oldest))
    overflowed = _forget(connection, going) if going else 0
    return Swept(len(going), overflowed, done=len(going) < _STEP_ROWS)


def _is_spent(row: _Row, through: int | None, now_ns: int, retention: Retention) -> bool:
    age_s = (now_ns - row.time_ns) / 1e9
    acknowledged = through is None or row.position <= through
    if acknowledged and age_s >= retention.keep_acknowledged_s:
        return True
    return retention.limit_age_s is not None and age_s >= retention.limit_age_s


def _forget(connection: sqlite3.Connection, rows: Sequence[_Row]) -> int:
    """Take the oldest entries out; returns how many were to be given to some cursor still, cursor by cursor."""
    through = rows[-1].position
    late = connection.execute("SELECT cursor FROM journal_cursor WHERE position < ?", (through,)).fetchall()
    overflowed = sum(_overflow(connection, cursor, through) for (cursor,) in late)
    connection.execute("DELETE FROM journal_entry WHERE position <= ?", (through,))
    connection.execute(
        "UPDATE journal_log SET entries = entries - ?, bytes = bytes - ?",
        (len(rows), sum(row.size_bytes for row in rows)),
    )
    for (cursor,) in late:
        advance(connection, cursor)
    return overflowed


def _overflow(connection: sqlite3.Connection, cursor: int, through: int) -> int:
    """Count what the cursor will not be given any more, and move it there."""
    count, size_bytes = connection.execute(
        f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM journal_entry e, journal_cursor c WHERE c.cursor = ?"
        " AND e.position > c.position AND e.position <= ? AND NOT EXISTS"
        " (SELECT 1 FROM journal_ahead a WHERE a.cursor = c.cursor AND a.position = e.position)",
        (cursor, through),
    ).fetchone()
    connection.execute(
        "UPDATE journal_cursor SET position = :through, waiting_entries = waiting_entries - :count,"
        " waiting_bytes = waiting_bytes - :bytes, overflow_entries = overflow_entries + :count,"
        " overflow_bytes = overflow_bytes + :bytes WHERE cursor = :cursor",
        {"through": through, "count": count, "bytes": size_bytes, "cursor": cursor},
    )
    connection.execute("DELETE FROM journal_ahead WHERE cursor = ? AND position <= ?", (cursor, through))
    return int(count)


def give_back(connection: sqlite3.Connection) -> bool:
    """Cut free pages off the file where they are more than appends will soon use; True while there is more to cut.

    Works outside a transaction, a bounded number of pages at a time.
    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    spare = max(_SPARE_PAGES, (pages - free) // 4)
    if free <= spare:
        return False
    # A script, because `execute` takes one step of a statement without columns, and a step frees one page.
    connection.executescript(f"PRAGMA incremental_vacuum({min(free - spare, _STEP_PAGES)})")
    return True


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move the log into the file and cut both to what they hold, as far as no reader is in the way; no transaction."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
