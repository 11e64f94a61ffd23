"""The embedded record store: each row's request, response and verdicts are one record, in whatever order they come.

Invariant: every event is taken once, by (source, id, type). The same event again changes nothing and is counted; an
event with a known key and other data is kept apart, in `conflicts`, and changes no record.
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id, stable_id
from wayside.eventing.pairs import Role, role_of, subject_of
from wayside.eventing.storage.database import Database
from wayside.eventing.verdict import RowVerdict, WindowVerdict, read_identity, read_row_verdict, read_window_verdict
from wayside.eventing.vocabulary import ARTIFACT_DIGEST, DETECTOR, request_time
from wayside.sinks.document import RecordHead, RowPart, row_parts

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, digest BLOB NOT NULL, time TEXT NOT NULL,
    PRIMARY KEY (source, id, type)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_time ON events (time);
CREATE TABLE IF NOT EXISTS conflicts (
    source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, digest BLOB NOT NULL, time TEXT NOT NULL,
    attributes TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (source, id, type, digest)
);
CREATE TABLE IF NOT EXISTS records (
    record_id TEXT PRIMARY KEY, source TEXT NOT NULL, event_id TEXT NOT NULL, row INTEGER NOT NULL,
    time TEXT NOT NULL, parts INTEGER NOT NULL, head TEXT, request_id TEXT, request TEXT, response TEXT, window_id TEXT
);
CREATE INDEX IF NOT EXISTS records_parts ON records (parts);
CREATE INDEX IF NOT EXISTS records_time ON records (time);
CREATE TABLE IF NOT EXISTS verdicts (
    record_id TEXT NOT NULL, role TEXT NOT NULL, detector TEXT NOT NULL, decision INTEGER NOT NULL, time TEXT NOT NULL,
    score REAL, p_value REAL NOT NULL, judge INTEGER NOT NULL, PRIMARY KEY (record_id, role, detector, judge)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS verdicts_time ON verdicts (role, decision, time, judge);
CREATE TABLE IF NOT EXISTS judges (
    judge INTEGER PRIMARY KEY, detector TEXT NOT NULL, digest TEXT NOT NULL, threshold REAL NOT NULL,
    meta TEXT NOT NULL, UNIQUE (detector, digest, threshold, meta)
);
CREATE TABLE IF NOT EXISTS windows (
    window_id TEXT PRIMARY KEY, namespace TEXT NOT NULL, service TEXT NOT NULL, component TEXT NOT NULL,
    endpoint TEXT NOT NULL, detector TEXT NOT NULL, first INTEGER NOT NULL, "end" INTEGER NOT NULL, time TEXT NOT NULL,
    p_value REAL NOT NULL, threshold REAL NOT NULL, distance REAL NOT NULL, is_drift INTEGER NOT NULL,
    meta TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS windows_time ON windows (time);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

# Bits of `records.parts`: which parts a record has, so that all counts are one pass over one small index.
PART_BITS = {Role.REQUEST: 1, Role.RESPONSE: 2, Role.OUTLIER: 4, Role.ADVERSARIAL: 8, Role.DRIFT: 16}
FLAGGED_BIT = 32
_WINDOW_ROWS_LIMIT = 1_000_000


class Outcome(StrEnum):
    """What became of an event that was sent to the store."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class _RowVerdictPart:
    source: str
    event_id: str
    role: Role
    detector: str
    digest: str
    meta: str
    time: str
    verdict: RowVerdict


@dataclass(frozen=True, slots=True)
class _WindowPart:
    window_id: str
    detector: str
    meta: str
    time: str
    verdict: WindowVerdict


@dataclass(frozen=True, slots=True)
class _PayloadPart:
    head: RecordHead
    role: Role
    rows: list[RowPart]


_Part = _PayloadPart | _RowVerdictPart | _WindowPart


class RecordStore:
    """One SQLite file. `take` returns once the event is on disk."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA)

    async def start(self) -> None:
        """Open or create the file. Raises `ConfigurationError` where that cannot be done."""
        await self._database.start()

    async def stop(self) -> None:
        await self._database.stop()

    async def take(self, event: CloudEvent) -> Outcome:
        """Store an event's part of its records. Raises `MalformedEvent` for a verdict or a time that cannot be read."""
        role = role_of(event)
        if role is None:
            return Outcome.IGNORED
        part = _part_of(event, role)
        try:
            return await self._database.write(lambda connection: _store(connection, event, part))
        except UnicodeEncodeError as exc:
            raise MalformedEvent("a name in the verdict holds a lone surrogate, which no encoding can carry") from exc

    async def prune(self, before: str) -> None:
        """Forget events, records and windows whose request time is before an RFC 3339 UTC timestamp."""
        await self._database.write(lambda connection: _prune(connection, before))


def _part_of(event: CloudEvent, role: Role) -> _Part:
    """An event's part, read before the transaction, so that what cannot be read touches nothing."""
    time = format_time(parse_time(request_time(event)))
    if role in (Role.REQUEST, Role.RESPONSE):
        return _PayloadPart(RecordHead.of(event, time), role, row_parts(event))
    detector = event.extensions.get(DETECTOR, "")
    meta = json.dumps(read_identity(event).meta(), separators=(",", ":"))
    if role is Role.DRIFT:
        return _WindowPart(stable_id(event.source, event.id), detector, meta, time, _window_verdict(event))
    subject, digest = subject_of(event), event.extensions.get(ARTIFACT_DIGEST, "")
    return _RowVerdictPart(subject.source, subject.id, role, detector, digest, meta, time, read_row_verdict(event))


def _window_verdict(event: CloudEvent) -> WindowVerdict:
    """A window verdict whose members can be marked one by one. Raises `MalformedEvent` where they are too many."""
    verdict = read_window_verdict(event)
    if sum(max(0, member.end_row - member.first_row) for member in verdict.members) > _WINDOW_ROWS_LIMIT:
        raise MalformedEvent(f"window verdict's members are over {_WINDOW_ROWS_LIMIT} rows")
    return verdict


def _store(connection: sqlite3.Connection, event: CloudEvent, part: _Part) -> Outcome:
    outcome = _identify(connection, event, part)
    if outcome is not Outcome.STORED:
        connection.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (outcome.value,)
        )
        return outcome
    if isinstance(part, _PayloadPart):
        _store_payload(connection, part)
    elif isinstance(part, _RowVerdictPart):
        _store_row_verdict(connection, part)
    else:
        _store_window(connection, part)
    return outcome


def _identify(connection: sqlite3.Connection, event: CloudEvent, part: _Part) -> Outcome:
    time = part.head.time if isinstance(part, _PayloadPart) else part.time
    known = connection.execute(
        "SELECT digest FROM events WHERE source = ? AND id = ? AND type = ?", event.key
    ).fetchone()
    if known is None:
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (*event.key, event.digest, time))
        return Outcome.STORED
    if known[0] == event.digest:
        return Outcome.DUPLICATE
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflicts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*event.key, event.digest, time, json.dumps(dict(event.attributes())), event.data),
    )
    return Outcome.CONFLICT if kept.rowcount else Outcome.DUPLICATE


def _store_payload(connection: sqlite3.Connection, part: _PayloadPart) -> None:
    head, column = part.head, part.role.value
    fields = json.dumps(head.fields(), separators=(",", ":"))
    shared = (head.source, head.event_id)
    rest = (head.time, PART_BITS[part.role], fields, head.request_id)
    connection.executemany(
        f"INSERT INTO records (record_id, source, event_id, row, time, parts, head, request_id, {column})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record_id) DO UPDATE SET"
        f" parts = parts | excluded.parts, {column} = excluded.{column}, time = excluded.time,"
        # the request's word stands, whichever of the two comes last
        + (
            " head = excluded.head, request_id = excluded.request_id"
            if part.role is Role.REQUEST
            else " head = coalesce(head, excluded.head), request_id = coalesce(request_id, excluded.request_id)"
        ),
        ((record_id(*shared, row.row), *shared, row.row, *rest, row.text) for row in part.rows),
    )


def _store_row_verdict(connection: sqlite3.Connection, part: _RowVerdictPart) -> None:
    verdict, names = (
        part.verdict,
        [record_id(part.source, part.event_id, row) for row in range(len(part.verdict.scores))],
    )
    judge = _judge(connection, part)
    columns = zip(names, verdict.decisions, verdict.scores, verdict.p_values, strict=True)
    connection.executemany(
        "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (name, part.role.value, part.detector, int(decision), part.time, score, p_value, judge)
            for name, decision, score, p_value in columns
        ),
    )
    bit = PART_BITS[part.role]
    flag = FLAGGED_BIT if part.role is Role.OUTLIER else 0
    parts = (bit | (flag if decision else 0) for decision in verdict.decisions)
    _mark(
        connection,
        (
            (name, part.source, part.event_id, row, part.time, bits, None)
            for row, (name, bits) in enumerate(zip(names, parts, strict=True))
        ),
    )


def _judge(connection: sqlite3.Connection, part: _RowVerdictPart) -> int:
    """The number of a detector's identity, which its verdicts share."""
    identity = (part.detector, part.digest, part.verdict.threshold, part.meta)
    connection.execute("INSERT OR IGNORE INTO judges (detector, digest, threshold, meta) VALUES (?, ?, ?, ?)", identity)
    found = connection.execute(
        "SELECT judge FROM judges WHERE detector = ? AND digest = ? AND threshold = ? AND meta = ?", identity
    )
    number: int = found.fetchone()[0]
    return number


def _store_window(connection: sqlite3.Connection, part: _WindowPart) -> None:
    verdict, key = part.verdict, part.verdict.key
    connection.execute(
        "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(part.window_id, key.namespace, key.service, key.component, key.endpoint, part.detector),
            *(verdict.first, verdict.end, part.time, verdict.p_value, verdict.threshold, verdict.distance),
            *(int(verdict.is_drift), part.meta),
        ),
    )
    _mark(
        connection,
        (
            (record_id(member.source, member.id, row), member.source, member.id, row, time, 16, part.window_id)
            for member in verdict.members
            for time in (format_time(parse_time(member.time)),)
            for row in range(member.first_row, member.end_row)
        ),
    )


def _mark(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, str, int, str, int, str | None]]) -> None:
    """Set bits of records, and the window where one is given; a record that has no other part yet is made."""
    connection.executemany(
        "INSERT INTO records (record_id, source, event_id, row, time, parts, window_id) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (record_id) DO UPDATE SET parts = parts | excluded.parts,"
        # of two windows that hold the row the same one stands, whichever came last
        " window_id = max(coalesce(excluded.window_id, window_id), coalesce(window_id, excluded.window_id))",
        rows,
    )


def _prune(connection: sqlite3.Connection, before: str) -> None:
    connection.execute(
        "DELETE FROM verdicts WHERE record_id IN (SELECT record_id FROM records WHERE time < ?)", (before,)
    )
    for table in ("records", "events", "conflicts", "windows"):
        connection.execute(f"DELETE FROM {table} WHERE time < ?", (before,))
