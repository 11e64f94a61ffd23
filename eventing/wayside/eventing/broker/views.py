"""What the broker shows of its state: counts, and the dead letters that it keeps.

Invariant: each view is one committed state, read in one statement.
"""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wayside.eventing.broker import kept, pruning, tables
from wayside.eventing.clock import format_time
from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.triggers.names import TriggerName

DEAD_LETTERS_SHOWN = 100
_OLDEST = f"(SELECT time_ns FROM journal_entry e WHERE {tables.NOT_SETTLED} ORDER BY e.position LIMIT 1)"
_AGAIN_OLDEST = (
    "(SELECT e.time_ns FROM broker_again g JOIN journal_entry e USING (position) WHERE g.tag = t.tag"
    " ORDER BY g.position LIMIT 1)"
)
_WAITING = "t.matched - t.delivered - t.dead_lettered"
_SELECT = (
    "SELECT t.namespace, t.broker, t.name, t.matched, t.delivered, t.dead_lettered,"
    f" {_WAITING}, t.attempts, t.replayed,"
    " max(0, t.seen + ifnull(o.events - t.since, 0) - (t.matched - t.replayed)),"
    f" CASE WHEN {_WAITING} > 0 THEN {_OLDEST} END, CASE WHEN {_WAITING} > 0 THEN {_AGAIN_OLDEST} END"
    " FROM broker_trigger t LEFT JOIN broker_total o ON o.broker = t.namespace || '/' || t.broker ORDER BY t.rowid"
)


@dataclass(frozen=True, slots=True)
class TriggerCounts:
    """Deliveries of one Trigger. `active` is False for one that is no longer in the manifests.

    `matched` counts `replayed` ones too. `filtered` are events of its broker that it did not let pass. `oldest_ns` is
    when the oldest event that waits was received.
    """

    namespace: str
    broker: str
    name: str
    matched: int
    delivered: int
    dead_lettered: int
    waiting: int
    attempts: int
    replayed: int
    filtered: int
    oldest_ns: int | None
    active: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """One committed state. `events` counts what was ever kept, conflicts included; `bytes` what is kept now."""

    events: int
    duplicates: int
    conflicts: int
    bytes: int
    triggers: tuple[TriggerCounts, ...]

    def view(self) -> Mapping[str, Any]:
        return asdict(self)


def counts(connection: sqlite3.Connection, active: Collection[TriggerName]) -> Counts:
    """What was counted, as of one committed state."""
    connection.execute("BEGIN")
    try:
        events, duplicates, conflicts = connection.execute(
            "SELECT ifnull(sum(events), 0), ifnull(sum(duplicates), 0), ifnull(sum(conflicts), 0) FROM broker_total"
        ).fetchone()
        rows = connection.execute(_SELECT).fetchall()
        size = pruning.bytes_kept(connection)
    finally:
        connection.execute("ROLLBACK")
    triggers = tuple(_trigger(row, TriggerName(*row[:3]) in active) for row in rows)
    return Counts(events, duplicates, conflicts, size, triggers)


def _trigger(row: tuple[Any, ...], active: bool) -> TriggerCounts:
    *counted, oldest_ns, oldest_again_ns = row
    waits = [time_ns for time_ns in (oldest_ns, oldest_again_ns) if time_ns is not None]
    return TriggerCounts(*(*counted, min(waits, default=None), active))


def dead_letters(connection: sqlite3.Connection, limit_rows: int = DEAD_LETTERS_SHOWN) -> Mapping[str, Any]:
    """The newest dead letters that the broker keeps, without their data."""
    rows = connection.execute(
        "SELECT t.namespace, t.broker, t.name, e.position, e.head, d.time_ns, d.attempts, d.code, d.reason"
        " FROM broker_dead_letter d JOIN broker_trigger t USING (tag) JOIN journal_entry e USING (position)"
        " ORDER BY position DESC LIMIT ?",
        (limit_rows,),
    )
    return {"dead_letters": [_dead_letter(TriggerName(*row[:3]), *row[3:]) for row in rows]}


def _dead_letter(
    trigger: TriggerName, position: int, head: bytes, time_ns: int, attempts: int, code: int, reason: str
) -> Mapping[str, Any]:
    event = kept.unpack(KeptEntry(position, 0, head, b"")).event
    return {
        "trigger": trigger._asdict(),
        "position": position,
        "event": {"source": event.source, "id": event.id, "type": event.type},
        "time": format_time(time_ns),
        "attempts": attempts,
        "code": code,
        "reason": reason,
    }
