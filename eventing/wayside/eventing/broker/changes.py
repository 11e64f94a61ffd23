"""The changes that every event makes: it arrives, and it is delivered. Many at a time, in few statements.

Invariant: a change is counted in the same transaction that makes it, and once: a delivery that is settled again counts
for nothing.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from wayside.eventing.broker import kept
from wayside.eventing.broker.kept import DIGEST_BYTES, IDENTITY_BYTES, Packed
from wayside.eventing.storage import journal_tables


class Admission(Enum):
    """What became of an arriving event. All three are accepted; a duplicate is not kept a second time."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


class Delivery(NamedTuple):
    """One event for one Trigger, by the Trigger's tag and the event's position. `again`: it is made once more."""

    tag: bytes
    position: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """An event that arrived, a delivery that the subscriber took after so many attempts, or both: with its reply."""

    new: Packed | None = None
    delivered: Delivery | None = None
    attempts: int = 0


class Outcome(NamedTuple):
    """What became of a change's event, and the position that it got; 0 where it was not kept."""

    admission: Admission | None = None
    position: int = 0


_NOTHING_NEW = Outcome()


def apply(connection: sqlite3.Connection, changes: Sequence[Change], cursors: Mapping[bytes, int]) -> list[Outcome]:
    """Make the changes, and move Triggers' cursors; for each change, what became of its event.

    At and before a cursor in `cursors` the Trigger of this tag has settled everything; the caller vouches for it.
    """
    outcomes = iter(_admit(connection, [change.new for change in changes if change.new is not None]))
    _settle(connection, [change for change in changes if change.delivered is not None])
    for tag, cursor in cursors.items():
        _move(connection, tag, cursor)
    return [_NOTHING_NEW if change.new is None else next(outcomes) for change in changes]


def _admit(connection: sqlite3.Connection, arrived: Sequence[Packed]) -> list[Outcome]:
    if not arrived:
        return []
    admissions = _judge(connection, arrived)
    new = [one for one, admission in zip(arrived, admissions, strict=True) if admission is not Admission.DUPLICATE]
    positions = iter(_keep(connection, new) if new else ())
    _count_arrivals(connection, arrived, admissions)
    _count_matches(connection, new)
    return [Outcome(admission, 0 if admission is Admission.DUPLICATE else next(positions)) for admission in admissions]


def _judge(connection: sqlite3.Connection, arrived: Sequence[Packed]) -> list[Admission]:
    """By what is kept, and by those that come earlier in this batch."""
    known: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for identity, digest in connection.execute(
        # what an entry is, its head says; a row whose entry was lost to damage stands for nothing
        f"SELECT substr(head, 1, {IDENTITY_BYTES}), substr(head, {IDENTITY_BYTES + 1}, {DIGEST_BYTES})"
        " FROM broker_event JOIN journal_entry USING (position)"
        f" WHERE prefix IN ({', '.join('?' * len(arrived))})",
        [new.prefix for new in arrived],
    ):
        known[identity].add(digest)
    admissions = []
    for new in arrived:
        digests = known[new.identity]
        fresh = Admission.CONFLICT if digests else Admission.STORED
        admissions.append(Admission.DUPLICATE if new.digest in digests else fresh)
        digests.add(new.digest)
    return admissions


def _keep(connection: sqlite3.Connection, new: Sequence[Packed]) -> range:
    positions = journal_tables.append(connection, [one.entry for one in new])
    values: list[object] = []
    for one, position in zip(new, positions, strict=True):
        values += (one.prefix, position)
    connection.execute(f"INSERT INTO broker_event VALUES {', '.join(['(?, ?)'] * len(new))}", values)
    return positions


def _count_arrivals(connection: sqlite3.Connection, arrived: Sequence[Packed], admissions: Sequence[Admission]) -> None:
    counts: defaultdict[str, Counter[Admission]] = defaultdict(Counter)
    for one, admission in zip(arrived, admissions, strict=True):
        counts[str(one.arrival.broker)][admission] += 1
    for broker, count in counts.items():
        connection.execute(
            "UPDATE broker_total SET events = events + ?, duplicates = duplicates + ?, conflicts = conflicts + ?"
            " WHERE broker = ?",
            (
                count[Admission.STORED] + count[Admission.CONFLICT],
                count[Admission.DUPLICATE],
                count[Admission.CONFLICT],
                broker,
            ),
        )


def _count_matches(connection: sqlite3.Connection, new: Sequence[Packed]) -> None:
    for trigger, count in Counter(trigger for one in new for trigger in one.arrival.matched).items():
        connection.execute("UPDATE broker_trigger SET matched = matched + ? WHERE tag = ?", (count, kept.tag(trigger)))


def _settle(connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
    attempts: defaultdict[tuple[bytes, bool], dict[int, int]] = defaultdict(dict)
    for change in changes:
        assert change.delivered is not None
        attempts[change.delivered.tag, change.delivered.again][change.delivered.position] = change.attempts
    for (tag, again), made in attempts.items():
        new = settle_new(connection, tag, list(made), again)
        connection.execute(
            "UPDATE broker_trigger SET delivered = delivered + ?, attempts = attempts + ? WHERE tag = ?",
            (len(new), sum(made[position] for position in new), tag),
        )


def settle_new(connection: sqlite3.Connection, tag: bytes, positions: Sequence[int], again: bool) -> list[int]:
    """Note that these deliveries are over; returns those that were not yet."""
    listed = json.dumps(positions)
    if again:
        sql = (
            "DELETE FROM broker_again WHERE tag = ? AND position IN (SELECT value FROM json_each(?)) RETURNING position"
        )
    else:
        sql = (
            "INSERT OR IGNORE INTO broker_ahead SELECT tag, value FROM broker_trigger, json_each(?2)"
            " WHERE tag = ?1 AND value > cursor RETURNING position"
        )
    return [position for (position,) in connection.execute(sql, (tag, listed)).fetchall()]


def _move(connection: sqlite3.Connection, tag: bytes, cursor: int) -> None:
    connection.execute("UPDATE broker_trigger SET cursor = ?2 WHERE tag = ?1 AND cursor < ?2", (tag, cursor))
    connection.execute("DELETE FROM broker_ahead WHERE tag = ? AND position <= ?", (tag, cursor))
