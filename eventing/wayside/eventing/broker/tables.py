"""The broker's tables, and what reads and changes them, each as one function that joins the caller's transaction.

Invariant: for every Trigger, matched = delivered + dead_lettered + waiting in every committed state, and `waiting` is
the number of its rows in `deliveries`. A delivery is settled at most once: the row that goes is what is counted.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wayside.eventing.broker.changes import load_headers
from wayside.eventing.broker.names import TriggerName
from wayside.eventing.broker.wire import Failure
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, broker TEXT NOT NULL,
    source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, digest BLOB NOT NULL,
    received_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, ttl INTEGER NOT NULL,
    attributes TEXT NOT NULL, forwards TEXT NOT NULL, data BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS event_identity ON events (source, id, type, broker, digest);
CREATE TABLE IF NOT EXISTS triggers (
    trigger INTEGER PRIMARY KEY, namespace TEXT NOT NULL, broker TEXT NOT NULL, name TEXT NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0,
    dead_lettered INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, UNIQUE (namespace, broker, name)
);
CREATE TABLE IF NOT EXISTS deliveries (
    trigger INTEGER NOT NULL, seq INTEGER NOT NULL, code INTEGER, reason TEXT, response BLOB,
    PRIMARY KEY (trigger, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    seq INTEGER NOT NULL, trigger INTEGER NOT NULL, time_ns INTEGER NOT NULL, attempts INTEGER NOT NULL,
    code INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (seq, trigger)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (
    only INTEGER PRIMARY KEY CHECK (only = 1), events INTEGER NOT NULL, duplicates INTEGER NOT NULL,
    conflicts INTEGER NOT NULL, bytes INTEGER NOT NULL
);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0, 0);
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One delivery that is not settled. `failure` is set once only the dead-letter sink is still to be told."""

    trigger: int
    seq: int
    event: CloudEvent
    ttl: int
    forwards: Headers
    failure: Failure | None


def register(connection: sqlite3.Connection, names: Iterable[TriggerName]) -> dict[TriggerName, int]:
    """The key of every Trigger that the store ever knew, these included. Keys are never given anew."""
    connection.executemany("INSERT OR IGNORE INTO triggers (namespace, broker, name) VALUES (?, ?, ?)", list(names))
    rows = connection.execute("SELECT namespace, broker, name, trigger FROM triggers")
    return {TriggerName(namespace, broker, name): key for namespace, broker, name, key in rows}


def read_page(
    connection: sqlite3.Connection, trigger: int, after: int, limit_rows: int, limit_bytes: int
) -> list[Waiting]:
    """The oldest waiting deliveries past `after`; the one that goes over the bytes is the last."""
    rows = connection.execute(f"{_SELECT_WAITING} AND d.seq > ? ORDER BY d.seq LIMIT ?", (trigger, after, limit_rows))
    return _read_up_to(rows, limit_bytes)


def read_some(connection: sqlite3.Connection, trigger: int, seqs: Sequence[int], limit_bytes: int) -> list[Waiting]:
    """Those of these deliveries that still wait, in order; the one that goes over the bytes is the last."""
    chosen = "AND d.seq IN (SELECT value FROM json_each(?)) ORDER BY d.seq"
    return _read_up_to(connection.execute(f"{_SELECT_WAITING} {chosen}", (trigger, json.dumps(seqs))), limit_bytes)


_SELECT_WAITING = (
    "SELECT d.trigger, d.seq, d.code, d.reason, d.response, e.ttl, e.attributes, e.forwards, e.data"
    " FROM deliveries d JOIN events e ON e.seq = d.seq WHERE d.trigger = ?"
)


def _read_up_to(rows: sqlite3.Cursor, limit_bytes: int) -> list[Waiting]:
    found: list[Waiting] = []
    for trigger, seq, code, reason, response, ttl, attributes, forwards, data in rows:
        event = CloudEvent.from_attributes(json.loads(attributes), data)
        failure = None if code is None else Failure(code, reason, response)
        found.append(Waiting(trigger, seq, event, ttl, load_headers(forwards), failure))
        limit_bytes -= len(data)
        if limit_bytes <= 0:
            break
    return found


def settle_dead_lettered(connection: sqlite3.Connection, waiting: Waiting) -> None:
    """The dead-letter sink has it."""
    _settle(connection, waiting, 0)


def keep_dead_letter(
    connection: sqlite3.Connection, waiting: Waiting, failure: Failure, attempts: int, now_ns: int
) -> None:
    """Nobody else wants it: it stays here as a dead letter, with its reason."""
    if _settle(connection, waiting, attempts):
        connection.execute(
            "INSERT INTO dead_letters (seq, trigger, time_ns, attempts, code, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (waiting.seq, waiting.trigger, now_ns, attempts, failure.code, failure.reason),
        )


def give_up(connection: sqlite3.Connection, waiting: Waiting, failure: Failure, attempts: int) -> None:
    """The subscriber will not have it; the delivery waits on, for the dead-letter sink."""
    connection.execute(
        "UPDATE deliveries SET code = ?, reason = ?, response = ? WHERE trigger = ? AND seq = ?",
        (failure.code, failure.reason, failure.response, waiting.trigger, waiting.seq),
    )
    connection.execute("UPDATE triggers SET attempts = attempts + ? WHERE trigger = ?", (attempts, waiting.trigger))


def _settle(connection: sqlite3.Connection, waiting: Waiting, attempts: int) -> bool:
    gone = connection.execute(
        "DELETE FROM deliveries WHERE trigger = ? AND seq = ?", (waiting.trigger, waiting.seq)
    ).rowcount
    if gone:
        connection.execute(
            "UPDATE triggers SET waiting = waiting - 1, dead_lettered = dead_lettered + 1, attempts = attempts + ?"
            " WHERE trigger = ?",
            (attempts, waiting.trigger),
        )
    return bool(gone)


def bytes_kept(connection: sqlite3.Connection) -> int:
    """What the events that are kept are counted as."""
    size: int = connection.execute("SELECT bytes FROM totals").fetchone()[0]
    return size


def prune(connection: sqlite3.Connection, after: int, received_before_ns: int, limit_rows: int) -> int | None:
    """Forget the settled among the next `limit_rows` events past `after` that are old enough.

    Returns the last of the events that were looked at, None where there was none. Dead letters go with their events.
    """
    last: int | None = connection.execute(
        "SELECT max(seq) FROM (SELECT seq, received_ns FROM events WHERE seq > ? ORDER BY seq LIMIT ?)"
        " WHERE received_ns < ?",
        (after, limit_rows, received_before_ns),
    ).fetchone()[0]
    if last is None:
        return None
    freed = connection.execute(
        "DELETE FROM events WHERE seq > ? AND seq <= ? AND received_ns < ? AND NOT EXISTS"
        " (SELECT 1 FROM triggers t JOIN deliveries d ON d.trigger = t.trigger AND d.seq = events.seq)"
        " RETURNING bytes",
        (after, last, received_before_ns),
    ).fetchall()
    connection.execute(
        "DELETE FROM dead_letters WHERE seq > ? AND seq <= ? AND seq NOT IN (SELECT seq FROM events)", (after, last)
    )
    connection.execute("UPDATE totals SET bytes = bytes - ?", (sum(size for (size,) in freed),))
    return last
