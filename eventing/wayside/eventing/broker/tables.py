"""The broker's tables beside the journal's, and what reads and changes them, inside the caller's transaction.

Invariant: for every Trigger, `matched - delivered - dead_lettered` deliveries wait in every committed state. They are
the entries past its cursor whose head names it and that it has not settled ahead, and those in `broker_again`.
Whatever takes an entry out of the journal takes along what these tables say of it.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wayside.eventing.broker import kept
from wayside.eventing.broker.changes import Delivery, settle_new
from wayside.eventing.broker.kept import Kept
from wayside.eventing.broker.wire import Failure
from wayside.eventing.storage import journal_damage, journal_tables
from wayside.eventing.storage.journal_tables import Page
from wayside.eventing.triggers.names import BrokerName, TriggerName

ROW_BYTES = 64  # what an event costs beside its entry: its identity, its share of the pages above that
SCAN_ROWS = 20_000
_ASIDE_BYTES = 96


def _counted(table: str) -> str:
    """SQL that counts the bytes of a table's rows, which answers of subscribers fill."""
    return "".join(
        f"CREATE TRIGGER IF NOT EXISTS {table}_{word} AFTER {word} ON {table} BEGIN UPDATE broker_aside SET"
        f" bytes = bytes {sign} (length({row}.reason) + length({row}.response) + {_ASIDE_BYTES}); END;\n"
        for word, sign, row in (("INSERT", "+", "new"), ("DELETE", "-", "old"))
    )


SCHEMA = f"""
CREATE TABLE IF NOT EXISTS broker_total (
    broker TEXT PRIMARY KEY, events INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_aside (
    one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL, damaged_entries INTEGER NOT NULL,
    rewind_to INTEGER NOT NULL
);
INSERT OR IGNORE INTO broker_aside VALUES (1, 0, 0, 0);
CREATE TABLE IF NOT EXISTS broker_trigger (
    tag BLOB PRIMARY KEY, namespace TEXT NOT NULL, broker TEXT NOT NULL, name TEXT NOT NULL, cursor INTEGER NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0, replayed INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,
    dead_lettered INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL DEFAULT 0, since INTEGER
);
CREATE TABLE IF NOT EXISTS broker_ahead (
    tag BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tag, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_again (
    tag BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tag, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_event (
    prefix BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (prefix, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_give_up (
    position INTEGER NOT NULL, tag BLOB NOT NULL, code INTEGER NOT NULL, reason TEXT NOT NULL,
    response BLOB NOT NULL, PRIMARY KEY (position, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS broker_dead_letter (
    position INTEGER NOT NULL, tag BLOB NOT NULL, time_ns INTEGER NOT NULL, attempts INTEGER NOT NULL,
    code INTEGER NOT NULL, reason TEXT NOT NULL, response BLOB NOT NULL, PRIMARY KEY (position, tag)
) WITHOUT ROWID;
{_counted("broker_give_up")}
{_counted("broker_dead_letter")}
CREATE TRIGGER IF NOT EXISTS broker_forget AFTER DELETE ON journal_entry BEGIN
    DELETE FROM broker_event WHERE prefix = substr(old.head, 1, {kept.PREFIX_BYTES}) AND position = old.position;
    DELETE FROM broker_ahead WHERE tag IN (SELECT tag FROM broker_trigger) AND position = old.position;
    DELETE FROM broker_again WHERE tag IN (SELECT tag FROM broker_trigger) AND position = old.position;
    DELETE FROM broker_give_up WHERE position = old.position;
    DELETE FROM broker_dead_letter WHERE position = old.position;
END;
"""
# SQL conditions on journal_entry e and broker_trigger t
NOT_SETTLED = (
    "e.position > t.cursor AND instr(e.head, t.tag)"
    " AND NOT EXISTS (SELECT 1 FROM broker_ahead a WHERE a.tag = t.tag AND a.position = e.position)"
)
_IS_SALVAGED = "EXISTS (SELECT 1 FROM journal_entry WHERE position < rewind_to)"
IS_AGAIN = "EXISTS (SELECT 1 FROM broker_again g WHERE g.tag = t.tag AND g.position = e.position)"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One delivery that is not settled. `failure` is set once only the dead-letter sink is still to be told."""

    kept: Kept
    failure: Failure | None = None
    again: bool = False


class Place(NamedTuple):
    """Where a Trigger is: its cursor, the last position that the store gave, and how many deliveries wait."""

    cursor: int
    last: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Found:
    """Deliveries in order; `last`: the position up to which was looked; `damaged`: entries that cannot be read."""

    waiting: tuple[Waiting, ...]
    last: int
    damaged: tuple[int, ...] = ()


# Triggers


def register(connection: sqlite3.Connection, names: Collection[TriggerName], brokers: Collection[BrokerName]) -> None:
    """Make these known, and see those of before that are not among them as gone.

    A new Trigger begins with what comes next; where damage took the one of before, with what is still kept for it.
    """
    connection.executemany("INSERT OR IGNORE INTO broker_total (broker) VALUES (?)", [(str(name),) for name in brokers])
    active = json.dumps([kept.tag(name).hex() for name in names])
    for name in names:
        connection.execute(
            "INSERT OR IGNORE INTO broker_trigger (tag, namespace, broker, name, cursor)"
            f" SELECT ?, ?, ?, ?, CASE WHEN {_IS_SALVAGED} THEN 0 ELSE next - 1 END FROM journal_log",
            (kept.tag(name), *name),
        )
    if connection.execute(f"SELECT {_IS_SALVAGED} FROM journal_log").fetchone()[0]:
        recount(connection)
    total = "(SELECT events FROM broker_total o WHERE o.broker = t.namespace || '/' || t.broker)"
    is_active = "lower(hex(tag)) IN (SELECT value FROM json_each(?))"
    connection.execute(
        f"UPDATE broker_trigger AS t SET seen = seen + ifnull({total}, since) - since, since = NULL"
        f" WHERE since IS NOT NULL AND NOT {is_active}",
        (active,),
    )
    connection.execute(
        f"UPDATE broker_trigger AS t SET since = ifnull({total}, 0) WHERE since IS NULL AND {is_active}", (active,)
    )


def place(connection: sqlite3.Connection, tag: bytes) -> Place:
    """Where a Trigger is that was registered."""
    found = connection.execute(
        "SELECT cursor, next - 1, matched - delivered - dead_lettered FROM broker_trigger, journal_log WHERE tag = ?",
        (tag,),
    ).fetchone()
    return Place(*found)


def recount(connection: sqlite3.Connection) -> int:
    """Make `matched` what is settled and what waits; returns for how many Triggers it was not.

    It differs after damage alone, which can take entries without a trace.
    """
    waiting = (
        f"(SELECT count(*) FROM journal_entry e WHERE {NOT_SETTLED})"
        " + (SELECT count(*) FROM broker_again g WHERE g.tag = t.tag)"
    )
    changed = connection.execute(
        f"UPDATE broker_trigger AS t SET matched = delivered + dead_lettered + {waiting}"
        f" WHERE matched != delivered + dead_lettered + {waiting}"
    )
    connection.execute(
        "UPDATE broker_aside SET (damaged_entries, rewind_to) = (SELECT damaged_entries, rewind_to FROM journal_log)"
    )
    return changed.rowcount


def recount_after_damage(connection: sqlite3.Connection) -> bool:
    """Count anew where entries were cut or salvaged since it was last done; False where none were."""
    (is_counted,) = connection.execute(
        "SELECT (a.damaged_entries, a.rewind_to) IS (l.damaged_entries, l.rewind_to) FROM broker_aside a, journal_log l"
    ).fetchone()
    if not is_counted:
        recount(connection)
    return not is_counted


def cut(connection: sqlite3.Connection, damaged: Sequence[int]) -> None:
    """Take out what is damaged; nothing waits for it any more."""
    journal_damage.cut_damaged(connection, damaged)
    recount(connection)


# deliveries


def read_page(connection: sqlite3.Connection, tag: bytes, after: int, limit_rows: int, limit_bytes: int) -> Found:
    """What waits among the next entries past `after`, of which no more than `SCAN_ROWS` are looked at."""
    through = _scan_to(connection, after)
    page = journal_tables.read_where(
        connection,
        "position <= :through AND position > (SELECT cursor FROM broker_trigger WHERE tag = :tag) AND instr(head, :tag)"
        " AND NOT EXISTS (SELECT 1 FROM broker_ahead a WHERE a.tag = :tag AND a.position = e.position)",
        {"after": after, "through": through, "tag": tag, "rows": limit_rows},
        limit_bytes,
    )
    found = len(page.entries) + len(page.damaged)
    is_whole = found < limit_rows and not page.cut_short
    return Found(_waiting(connection, tag, page, again=False), through if is_whole else page.last, page.damaged)


def _scan_to(connection: sqlite3.Connection, after: int) -> int:
    """As far as a scan past `after` is to look. Positions have gaps, wide ones too: it begins with the next entry."""
    found = connection.execute(
        "SELECT min(next - 1, ifnull((SELECT min(position) FROM journal_entry WHERE position > ?) + ?, next - 1))"
        " FROM journal_log",
        (after, SCAN_ROWS - 1),
    ).fetchone()
    return int(found[0])


def read_some(
    connection: sqlite3.Connection, tag: bytes, positions: Sequence[int], again: bool, limit_bytes: int
) -> Found:
    """These deliveries, in order; where their bytes are many, only the first of them, as `last` says.

    Those to be made `again` that were settled since their positions were read are left out.
    """
    page = journal_tables.read_where(
        connection,
        "position IN (SELECT value FROM json_each(:listed)) AND (NOT :again OR EXISTS"
        " (SELECT 1 FROM broker_again g WHERE g.tag = :tag AND g.position = e.position))",
        {"after": -1, "listed": json.dumps(positions), "rows": len(positions), "again": again, "tag": tag},
        limit_bytes,
    )
    last = page.last if page.cut_short else max(positions)
    return Found(_waiting(connection, tag, page, again), last, page.damaged)


def _waiting(connection: sqlite3.Connection, tag: bytes, page: Page, again: bool) -> tuple[Waiting, ...]:
    if not page.entries:
        return ()
    found = connection.execute(
        "SELECT position, code, reason, response FROM broker_give_up WHERE tag = ? AND position BETWEEN ? AND ?",
        (tag, page.entries[0].position, page.last),
    )
    failures = {position: Failure(*why) for position, *why in found}
    return tuple(Waiting(kept.unpack(entry), failures.get(entry.position), again) for entry in page.entries)


def read_again(connection: sqlite3.Connection, tag: bytes, after: int, limit_rows: int) -> list[int]:
    """Positions past `after` of deliveries that are to be made once more."""
    rows = connection.execute(
        "SELECT position FROM broker_again WHERE tag = ? AND position > ? ORDER BY position LIMIT ?",
        (tag, after, limit_rows),
    )
    return [position for (position,) in rows]


def settle_dead_lettered(connection: sqlite3.Connection, delivery: Delivery, attempts: int = 0) -> bool:
    """The event is a dead letter; False where the delivery was settled before."""
    if not settle_new(connection, delivery.tag, [delivery.position], delivery.again):
        return False
    connection.execute("DELETE FROM broker_give_up WHERE position = ? AND tag = ?", (delivery.position, delivery.tag))
    connection.execute(
        "UPDATE broker_trigger SET dead_lettered = dead_lettered + 1, attempts = attempts + ? WHERE tag = ?",
        (attempts, delivery.tag),
    )
    return True


def keep_dead_letter(
    connection: sqlite3.Connection, delivery: Delivery, failure: Failure, attempts: int, now_ns: int
) -> None:
    """Nobody else wants it: it stays here as a dead letter, with its reason."""
    if settle_dead_lettered(connection, delivery, attempts):
        connection.execute(
            "INSERT OR IGNORE INTO broker_dead_letter VALUES (?, ?, ?, ?, ?, ?, ?)",
            (delivery.position, delivery.tag, now_ns, attempts, failure.code, failure.reason, failure.response),
        )


def give_up(connection: sqlite3.Connection, delivery: Delivery, failure: Failure, attempts: int) -> None:
    """The subscriber will not have it; the delivery waits on, for the dead-letter sink."""
    connection.execute(
        "INSERT OR IGNORE INTO broker_give_up VALUES (?, ?, ?, ?, ?)",
        (delivery.position, delivery.tag, failure.code, failure.reason, failure.response),
    )
    connection.execute("UPDATE broker_trigger SET attempts = attempts + ? WHERE tag = ?", (attempts, delivery.tag))
