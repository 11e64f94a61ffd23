"""What the broker's store may forget: settled events that are old enough, a part of the log at a time.

Invariant: an event that waits for some Trigger, or is to be delivered once more, is never forgotten.
"""

import json
import sqlite3
from dataclasses import dataclass

from wayside.eventing.broker.tables import IS_AGAIN, NOT_SETTLED, ROW_BYTES
from wayside.eventing.storage import journal_tables


def bytes_kept(connection: sqlite3.Connection) -> int:
    """What the events that are kept are counted as, with what is kept of answers about them."""
    log = journal_tables.state(connection)
    (aside,) = connection.execute("SELECT bytes FROM broker_aside").fetchone()
    return log.bytes + ROW_BYTES * log.entries + int(aside)


@dataclass(frozen=True, slots=True)
class Ages:
    """What is old enough to go: settled events that came before a time, and dead letters that were before another."""

    received_before_ns: int
    buried_before_ns: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """A step of pruning. `last`: the last position that was looked at, None at the end of the log. `old`: whether any
    event of the step came long enough ago. `dead_letters`: those that went with their events."""

    last: int | None
    old: bool
    dead_letters: int = 0


def prune(connection: sqlite3.Connection, after: int, ages: Ages, limit_rows: int) -> Pruned:
    """Forget the settled among the next `limit_rows` events past `after` that are old enough."""
    last, first_ns = connection.execute(
        "SELECT max(position), min(time_ns) FROM (SELECT position, time_ns FROM journal_entry WHERE position > ?"
        " ORDER BY position LIMIT ?)",
        (after, limit_rows),
    ).fetchone()
    if last is None or first_ns >= ages.received_before_ns:
        return Pruned(last, old=False)
    rows = connection.execute(
        "SELECT position FROM journal_entry e WHERE position > ? AND position <= ? AND time_ns < ?"
        " AND NOT EXISTS (SELECT 1 FROM broker_dead_letter d WHERE d.position = e.position AND d.time_ns >= ?)"
        f" AND NOT EXISTS (SELECT 1 FROM broker_trigger t WHERE ({NOT_SETTLED}) OR {IS_AGAIN})",
        (after, last, ages.received_before_ns, ages.buried_before_ns),
    )
    going = [position for (position,) in rows]
    (dead_letters,) = connection.execute(
        "SELECT count(*) FROM broker_dead_letter WHERE position IN (SELECT value FROM json_each(?))",
        (json.dumps(going),),
    ).fetchone()
    journal_tables.forget(connection, going)
    return Pruned(last, True, dead_letters)
