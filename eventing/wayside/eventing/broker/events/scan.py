"""Looks through the events that a broker keeps, a bounded part at a time, inside the caller's transaction.

Invariant: going on from `last` until `done`, every kept entry that the condition holds for is met once, in order; those
that come meanwhile are past it. No step looks at more than `SCAN_ROWS` entries or holds more than a few MiB of them.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wayside.eventing.broker.tables import SCAN_ROWS
from wayside.eventing.storage import journal_tables
from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.storage.journal_tables import SIZE

_PAGE_BYTES = 4 << 20
_LAST = (1 << 63) - 1


class Span(NamedTuple):
    """When events were received: at or after `from_ns`, before `to_ns`; nanoseconds since the epoch."""

    from_ns: int = -_LAST
    to_ns: int = _LAST


ANY_TIME = Span()


@dataclass(frozen=True, slots=True)
class Range:
    """Which entries come next: past the position `after`, in the order of the positions or against it."""

    span: Span = ANY_TIME
    after: int | None = None
    limit_rows: int = 1_000
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Scanned:
    """Entries in the order that was asked for; `last`: where to go on; `done`: there are no more for now."""

    entries: tuple[KeptEntry, ...]
    damaged: tuple[int, ...]
    last: int
    done: bool


def scan(connection: sqlite3.Connection, within: Range, condition: str, values: Mapping[str, object]) -> Scanned:
    """The next entries of the range for which an SQL condition on `journal_entry e` holds; `values` are its own.

    One entry at least, however large it is. Those whose checksum fails are told in `damaged`.
    """
    through, ends = _through(connection, within)
    positions, cut = _choose(connection, within, through, condition, values)
    entries, damaged = _read(connection, positions)
    if within.newest_first:
        entries = entries[::-1]
    return Scanned(entries, damaged, positions[-1] if cut else through, done=ends and not cut)


def _start(within: Range) -> int:
    return (_LAST if within.newest_first else 0) if within.after is None else within.after


def _direction(within: Range) -> tuple[str, str]:
    return ("<", "DESC") if within.newest_first else (">", "ASC")


def _through(connection: sqlite3.Connection, within: Range) -> tuple[int, bool]:
    """The position of the last entry that this step looks at, and whether it is the log's end."""
    beyond, order = _direction(within)
    found = connection.execute(
        f"SELECT position FROM journal_entry WHERE position {beyond} ? ORDER BY position {order} LIMIT 1 OFFSET ?",
        (_start(within), SCAN_ROWS - 1),
    ).fetchone()
    if found is not None:
        return int(found[0]), False
    return (0 if within.newest_first else max(_start(within), newest(connection))), True


def newest(connection: sqlite3.Connection) -> int:
    """The last position that was given; what comes next is past it."""
    return int(connection.execute("SELECT next - 1 FROM journal_log").fetchone()[0])


def _choose(
    connection: sqlite3.Connection, within: Range, through: int, condition: str, values: Mapping[str, object]
) -> tuple[list[int], bool]:
    """The positions that the step has room for, and whether there may be more up to `through`."""
    beyond, order = _direction(within)
    rows = connection.execute(
        f"SELECT position, {SIZE} FROM journal_entry e"
        f" WHERE position {beyond} :after AND NOT position {beyond} :through"
        f" AND e.time_ns >= :from_ns AND e.time_ns < :to_ns AND {condition} ORDER BY position {order} LIMIT :rows",
        {
            **values,
            **within.span._asdict(),
            "after": _start(within),
            "through": through,
            "rows": within.limit_rows + 1,
        },
    )
    return _that_fit(rows, within.limit_rows)


def _that_fit(rows: Iterable[tuple[int, int]], limit_rows: int) -> tuple[list[int], bool]:
    positions: list[int] = []
    taken_bytes = 0
    for position, size_bytes in rows:
        taken_bytes += size_bytes
        if positions and (len(positions) == limit_rows or taken_bytes > _PAGE_BYTES):
            return positions, True
        positions.append(position)
    return positions, False


def _read(connection: sqlite3.Connection, positions: list[int]) -> tuple[tuple[KeptEntry, ...], tuple[int, ...]]:
    page = journal_tables.read_where(
        connection,
        "position IN (SELECT value FROM json_each(:listed))",
        {"after": -1, "listed": json.dumps(positions), "rows": len(positions)},
        limit_bytes=_LAST,  # bounded by what was chosen
    )
    return page.entries, page.damaged
