"""The embedded record store: each row's request, response and verdicts are one record, in whatever order they come.

Invariant: every event is taken once, by its `part_key`. The same event again changes nothing and is counted; an
event with a known key and other data is kept apart, in `conflicts`, and changes no record.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from wayside.eventing.clock import Clock, SystemClock, format_time, parse_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id
from wayside.eventing.pairs import join, waiting
from wayside.eventing.pairs.join import JoinSettings
from wayside.eventing.pairs.subject import Role, Subject, part_key
from wayside.eventing.storage.database import Database, open_connection
from wayside.sinks.alerts import AlertPart
from wayside.sinks.document import dump
from wayside.sinks.embedded import drift_tables
from wayside.sinks.embedded.batches import Arrival, Batches
from wayside.sinks.merging import FeedbackPart, Outcome, Part, PayloadPart, RowVerdictPart, WindowPart, part_of

SCHEMA = f"""{waiting.SCHEMA}{drift_tables.SCHEMA}
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
CREATE TABLE IF NOT EXISTS feedback (
    record_id TEXT PRIMARY KEY, time TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL, side TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""

# Bits of `records.parts`: which parts a record has, so that all counts are one pass over one small index.
PART_BITS = {Role.REQUEST: 1, Role.RESPONSE: 2, Role.OUTLIER: 4, Role.ADVERSARIAL: 8, Role.DRIFT: 16, Role.FEEDBACK: 64}
FLAGGED_BIT = 32
FAILED_BIT = 128  # the response is no prediction: an error's text, or a cut body
_PAYLOAD_BITS = PART_BITS[Role.REQUEST] | PART_BITS[Role.RESPONSE]
# The request's word stands, whichever of the two comes last; and so does a payload's time over a verdict's.
_HEAD_STANDS = {
    Role.REQUEST: "head = excluded.head, request_id = excluded.request_id, time = excluded.time",
    Role.RESPONSE: (
        "head = coalesce(head, excluded.head), request_id = coalesce(request_id, excluded.request_id),"
        f" time = iif(parts & {PART_BITS[Role.REQUEST]}, time, excluded.time)"
    ),
}
# Two verdicts of one detector on one row, which only a foreign detector sends: as in `merging.joined_verdicts`.
_MOST_SEVERE_STANDS = """
ON CONFLICT DO UPDATE SET
    decision = excluded.decision, time = excluded.time, score = excluded.score, p_value = excluded.p_value
WHERE (excluded.decision, excluded.score IS NULL, coalesce(excluded.score, 0), excluded.p_value)
    > (verdicts.decision, verdicts.score IS NULL, coalesce(verdicts.score, 0), verdicts.p_value)
"""


class RecordStore:
    """One SQLite file. `take` returns once the event is on disk.

    `settings` say how long the parts of a record are awaited before they are counted as lonely.
    """

    def __init__(self, path: Path, settings: JoinSettings | None = None, clock: Clock | None = None) -> None:
        self._database = Database(path, SCHEMA)
        self._batches = Batches(self._database, _store, settings or JoinSettings(), clock or SystemClock())
        self._view: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open or create the file. Raises `ConfigurationError` where that cannot be done."""
        _check_shape(self._database.path)
        await self._database.start()
        self._view = open_connection(self._database.path)

    async def stop(self) -> None:
        await self._database.stop()
        if self._view is not None:
            self._view.close()
            self._view = None

    def standing(self) -> waiting.Standing | None:
        """The parts of records by what became of them; None while the store is not open."""
        return None if self._view is None else waiting.standing(self._view)

    async def take(self, event: CloudEvent) -> Outcome:
        """Store an event's part of its records. Raises `MalformedEvent` for a verdict or a time that cannot be read."""
        part = part_of(event)  # before the transaction, so that what cannot be read touches nothing
        if part is None:
            return Outcome.IGNORED
        try:
            return await self._batches.put(Arrival(event, part, _awaited(event, part)))
        except UnicodeEncodeError as exc:
            raise MalformedEvent("a name in the verdict holds a lone surrogate, which no encoding can carry") from exc

    async def prune(self, before: str) -> None:
        """Forget events, records and windows whose request time is before an RFC 3339 UTC timestamp."""
        await self._database.write(lambda connection: _prune(connection, before))


def _check_shape(path: Path) -> None:
    """Refuse the file of an earlier Wayside, which has other columns, before anything is written into it."""
    if not path.is_file():
        return
    with suppress(sqlite3.Error), closing(open_connection(path)) as connection:  # what is no database its opening says
        columns = [column[1] for column in connection.execute("PRAGMA table_info(windows)")]
        if columns and "any_feature" not in columns:
            raise ConfigurationError(
                f"{path} was written by an earlier Wayside, whose windows have other columns: move it away"
            )


def _awaited(event: CloudEvent, part: Part) -> join.Part | None:
    """The part as others of its record wait for it: windows speak of many records, feedback comes when it comes."""
    if isinstance(part, PayloadPart):
        return join.Part(Subject(part.head.source, part.head.event_id), part.role, part.time_ns, event.digest)
    if isinstance(part, RowVerdictPart):
        subject, name = Subject(part.source, part.event_id), f"{event.source} {event.id}"
        return join.Part(subject, part.role, parse_time(part.time), event.digest, name=name)
    return None


def _store(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Store what is new of the arrivals. Records are the same in any order of their parts, so payloads, which are
    most of what comes, share statements.
    """
    outcomes = [_identify(connection, arrival.event, arrival.part) for arrival in arrivals]
    payloads: dict[Role, list[PayloadPart]] = {Role.REQUEST: [], Role.RESPONSE: []}
    for (_, part, _), outcome in zip(arrivals, outcomes, strict=True):
        if outcome is not Outcome.STORED:
            _count(connection, outcome)
        elif isinstance(part, PayloadPart):
            payloads[part.role].append(part)
        else:
            _store_other(connection, part)
    for role, parts in payloads.items():
        _store_payloads(connection, role, parts)
    return outcomes


def _count(connection: sqlite3.Connection, outcome: Outcome) -> None:
    connection.execute(
        "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1", (outcome.value,)
    )


def _store_other(connection: sqlite3.Connection, part: RowVerdictPart | FeedbackPart | WindowPart | AlertPart) -> None:
    if isinstance(part, RowVerdictPart):
        _store_row_verdict(connection, part)
    elif isinstance(part, FeedbackPart):
        _store_feedback(connection, part)
    elif isinstance(part, AlertPart):
        drift_tables.store_alert(connection, part)
    else:
        _store_window(connection, part)


def _identify(connection: sqlite3.Connection, event: CloudEvent, part: Part) -> Outcome:
    key, digest = part_key(event), event.digest
    known = connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (*key, digest, part.time)
    )
    if known.rowcount:
        return Outcome.STORED
    known = connection.execute("SELECT digest FROM events WHERE source = ? AND id = ? AND type = ?", key)
    if known.fetchone()[0] == digest:
        return Outcome.DUPLICATE
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflicts VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*key, digest, part.time, json.dumps(dict(event.attributes())), event.data),
    )
    return Outcome.CONFLICT if kept.rowcount else Outcome.DUPLICATE


def _store_payloads(connection: sqlite3.Connection, role: Role, parts: Sequence[PayloadPart]) -> None:
    column = role.value
    connection.executemany(
        f"INSERT INTO records (record_id, source, event_id, row, time, parts, head, request_id, {column})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record_id) DO UPDATE SET"
        f" parts = parts | excluded.parts, {column} = excluded.{column}, {_HEAD_STANDS[role]}",
        (row for part in parts for row in _payload_rows(part)),
    )


def _payload_rows(part: PayloadPart) -> Iterator[tuple[object, ...]]:
    head, bit = part.head, PART_BITS[part.role]
    if part.role is Role.RESPONSE and not part.is_whole:
        bit |= FAILED_BIT
    source, event_id, fields = head.source, head.event_id, dump(head.fields())
    for each in part.rows:
        name = record_id(source, event_id, each.row)
        yield name, source, event_id, each.row, head.time, bit, fields, head.request_id, each.text


def _store_row_verdict(connection: sqlite3.Connection, part: RowVerdictPart) -> None:
    verdict, names = (
        part.verdict,
        [record_id(part.source, part.event_id, row) for row in range(len(part.verdict.scores))],
    )
    judge = _judge(connection, part)
    columns = zip(names, verdict.decisions, verdict.scores, verdict.p_values, strict=True)
    connection.executemany(
        f"INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_MOST_SEVERE_STANDS}",
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


def _judge(connection: sqlite3.Connection, part: RowVerdictPart) -> int:
    """The number of a detector's identity, which its verdicts share."""
    identity = (part.detector, part.digest, part.verdict.threshold, part.meta)
    connection.execute("INSERT OR IGNORE INTO judges (detector, digest, threshold, meta) VALUES (?, ?, ?, ?)", identity)
    found = connection.execute(
        "SELECT judge FROM judges WHERE detector = ? AND digest = ? AND threshold = ? AND meta = ?", identity
    )
    number: int = found.fetchone()[0]
    return number


def _store_feedback(connection: sqlite3.Connection, part: FeedbackPart) -> None:
    """Of several feedbacks on one row the latest stands: the order of `merging.feedback_order`."""
    names = [record_id(part.source, part.event_id, row) for row in range(len(part.sides))]
    connection.executemany(
        "INSERT INTO feedback VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " time = excluded.time, source = excluded.source, id = excluded.id, side = excluded.side"
        " WHERE (excluded.time, excluded.source, excluded.id, excluded.side) > (feedback.time, feedback.source,"
        " feedback.id, feedback.side)",
        (
            (name, side["ce-time"], side["ce-source"], side["ce-id"], dump(side))
            for name, side in zip(names, part.sides, strict=True)
        ),
    )
    bit = PART_BITS[Role.FEEDBACK]
    rows = enumerate(names)
    _mark(connection, ((name, part.source, part.event_id, row, part.time, bit, None) for row, name in rows))


def _store_window(connection: sqlite3.Connection, part: WindowPart) -> None:
    drift_tables.store_window(connection, part)
    _mark(
        connection,
        (
            (record_id(member.source, member.id, row), member.source, member.id, row, time, 16, part.window_id)
            for member in part.verdict.members
            for time in (format_time(parse_time(member.time)),)
            for row in range(member.first_row, member.end_row)
        ),
    )


def _mark(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, str, int, str, int, str | None]]) -> None:
    """Set bits of records, and the window where one is given; a record that has no other part yet is made."""
    connection.executemany(
        "INSERT INTO records (record_id, source, event_id, row, time, parts, window_id) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (record_id) DO UPDATE SET parts = parts | excluded.parts,"
        f" time = iif(parts & {_PAYLOAD_BITS}, time, min(time, excluded.time)),"
        # of two windows that hold the row the same one stands, whichever came last
        " window_id = max(coalesce(excluded.window_id, window_id), coalesce(window_id, excluded.window_id))",
        rows,
    )


def _prune(connection: sqlite3.Connection, before: str) -> None:
    for table in ("verdicts", "feedback"):
        old = "SELECT record_id FROM records WHERE time < ?"
        connection.execute(f"DELETE FROM {table} WHERE record_id IN ({old})", (before,))
    for table in ("records", "events", "conflicts"):
        connection.execute(f"DELETE FROM {table} WHERE time < ?", (before,))
    drift_tables.prune_drift(connection, before)
