"""The changes that every event makes: it arrives, and it is delivered. Many at a time, in few statements.

Invariant: a change is counted in the same transaction that makes it. An event's number is the count of events kept
before it plus one, so that numbers are never used twice.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from wayside.eventing.broker.names import BrokerName
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers

_ROW_BYTES = 256  # what an event costs beside its texts and data: keys, index, page overhead
_EventKey = tuple[str, str, str, str]


class Admission(Enum):
    """What became of an arriving event. All three are accepted; a duplicate is not kept a second time."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to keep, with the Triggers that it matched."""

    broker: BrokerName
    event: CloudEvent
    ttl: int
    forwards: Headers
    matched: Sequence[int]

    @property
    def key(self) -> _EventKey:
        return self.event.source, self.event.id, self.event.type, str(self.broker)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery that the subscriber took, after so many attempts."""

    trigger: int
    seq: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Change:
    """An event that arrived, a delivery that was made, or both: a reply, and the delivery that it came back from."""

    new: NewEvent | None = None
    delivered: Delivered | None = None


def apply(connection: sqlite3.Connection, changes: Sequence[Change], now_ns: int) -> list[Admission | None]:
    """Make the changes; for each, what became of its event."""
    admissions = iter(_admit(connection, [change.new for change in changes if change.new is not None], now_ns))
    _settle(connection, [change.delivered for change in changes if change.delivered is not None])
    return [None if change.new is None else next(admissions) for change in changes]


def _admit(connection: sqlite3.Connection, arrived: Sequence[NewEvent], now_ns: int) -> list[Admission]:
    if not arrived:
        return []
    digests = [new.event.digest for new in arrived]
    admissions = _judge(arrived, digests, _look_up(connection, arrived, digests))
    kept = [place for place, admission in enumerate(admissions) if admission is not Admission.DUPLICATE]
    (first,) = connection.execute("SELECT events + 1 FROM totals").fetchone()
    size = _insert(connection, [(arrived[place], digests[place]) for place in kept], first, now_ns)
    _match(connection, [arrived[place] for place in kept], first)
    counts = Counter(admissions)
    connection.execute(
        "UPDATE totals SET events = events + ?, duplicates = duplicates + ?, conflicts = conflicts + ?,"
        " bytes = bytes + ?",
        (len(kept), counts[Admission.DUPLICATE], counts[Admission.CONFLICT], size),
    )
    return admissions


def _look_up(
    connection: sqlite3.Connection, arrived: Sequence[NewEvent], digests: Sequence[bytes]
) -> Sequence[tuple[bool, bool]]:
    """For each event whether it is kept already, and whether any event with its key is."""
    key = "e.source = w.source AND e.id = w.id AND e.type = w.type AND e.broker = w.broker"
    values: list[object] = []
    for place, (new, digest) in enumerate(zip(arrived, digests, strict=True)):
        values += (place, *new.key, digest)
    return connection.execute(
        f"WITH wanted (place, source, id, type, broker, digest) AS (VALUES {_marks(6, len(arrived))})"
        f" SELECT EXISTS (SELECT 1 FROM events e WHERE {key} AND e.digest = w.digest),"
        f" EXISTS (SELECT 1 FROM events e WHERE {key}) FROM wanted w ORDER BY place",
        values,
    ).fetchall()


def _judge(arrived: Sequence[NewEvent], digests: Sequence[bytes], kept: Sequence[tuple[bool, bool]]) -> list[Admission]:
    """By what is kept, and by those that come earlier in this batch."""
    earlier: defaultdict[_EventKey, set[bytes]] = defaultdict(set)
    admissions = []
    for new, digest, (event_kept, key_kept) in zip(arrived, digests, kept, strict=True):
        same_key = earlier[new.key]
        if event_kept or digest in same_key:
            admissions.append(Admission.DUPLICATE)
        else:
            admissions.append(Admission.CONFLICT if key_kept or same_key else Admission.STORED)
        same_key.add(digest)
    return admissions


def _insert(connection: sqlite3.Connection, kept: Sequence[tuple[NewEvent, bytes]], first: int, now_ns: int) -> int:
    """Keep the events under numbers from `first`; returns the bytes that they are counted as."""
    if not kept:
        return 0
    values: list[object] = []
    total_bytes = 0
    for seq, (new, digest) in enumerate(kept, first):
        attributes = json.dumps(dict(new.event.attributes()))
        forwards = _dump_headers(new.forwards)
        size = len(new.event.data) + len(attributes) + len(forwards) + _ROW_BYTES
        values += (seq, *new.key, digest, now_ns, size, new.ttl, attributes, forwards, new.event.data)
        total_bytes += size
    connection.execute(
        "INSERT INTO events (seq, source, id, type, broker, digest, received_ns, bytes, ttl, attributes, forwards,"
        f" data) VALUES {_marks(12, len(kept))}",
        values,
    )
    return total_bytes


def _match(connection: sqlite3.Connection, kept: Sequence[NewEvent], first: int) -> None:
    rows = [(trigger, seq) for seq, new in enumerate(kept, first) for trigger in new.matched]
    if not rows:
        return
    connection.execute(
        f"INSERT INTO deliveries (trigger, seq) VALUES {_marks(2, len(rows))}", [part for row in rows for part in row]
    )
    for trigger, count in Counter(trigger for trigger, _ in rows).items():
        connection.execute(
            "UPDATE triggers SET matched = matched + ?, waiting = waiting + ? WHERE trigger = ?",
            (count, count, trigger),
        )


def _settle(connection: sqlite3.Connection, deliveries: Iterable[Delivered]) -> None:
    by_trigger: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for delivered in deliveries:
        by_trigger[delivered.trigger][delivered.seq] = delivered.attempts
    for trigger, attempts in by_trigger.items():
        gone = connection.execute(
            "DELETE FROM deliveries WHERE trigger = ? AND seq IN (SELECT value FROM json_each(?)) RETURNING seq",
            (trigger, json.dumps(list(attempts))),
        ).fetchall()
        connection.execute(
            "UPDATE triggers SET waiting = waiting - ?, delivered = delivered + ?, attempts = attempts + ?"
            " WHERE trigger = ?",
            (len(gone), len(gone), sum(attempts[seq] for (seq,) in gone), trigger),
        )


def _marks(columns: int, rows: int) -> str:
    """Placeholders of a VALUES clause."""
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def _dump_headers(headers: Headers) -> str:
    """As JSON, "" for none. Read back by `load_headers`."""
    if not headers:
        return ""
    return json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers])


def load_headers(text: str) -> Headers:
    """Headers from what a row of `events` holds."""
    if not text:
        return []
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(text)]
