"""Deliveries that somebody asks for once more, inside the caller's transaction.

Invariant: what is to be made again waits once: an event that waits for a Trigger already is left alone. The row in
`broker_again` and what counts it come in one transaction, so that matched = delivered + dead-lettered + waiting.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from wayside.eventing.broker import kept
from wayside.eventing.broker.events.scan import Range, scan
from wayside.eventing.broker.tables import IS_AGAIN, NOT_SETTLED
from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.names import BrokerName, TriggerName

IS_DEAD_LETTER = "EXISTS (SELECT 1 FROM broker_dead_letter d WHERE d.tag = t.tag AND d.position = e.position)"


class State(Enum):
    """How an event stands with a Trigger. Settled: delivered, or given to the dead-letter sink."""

    WAITING = "waiting"
    DEAD_LETTER = "dead-letter"
    SETTLED = "settled"


# on journal_entry e and broker_trigger t
STATE = (
    f"CASE WHEN ({NOT_SETTLED}) OR {IS_AGAIN} THEN '{State.WAITING.value}'"
    f" WHEN {IS_DEAD_LETTER} THEN '{State.DEAD_LETTER.value}' ELSE '{State.SETTLED.value}' END"
)


class Redelivered(NamedTuple):
    """How many dead letters of each Trigger, by tag, are delivered once more; `last`, `done` as a scan's."""

    counts: Mapping[bytes, int]
    last: int
    done: bool


@dataclass(frozen=True, slots=True)
class Sought:
    """Events that a filter passes, by position, of `looked` events; `damaged` are those that could not be read."""

    positions: tuple[int, ...]
    looked: int
    damaged: int
    last: int
    done: bool


class Replayed(NamedTuple):
    """Of the events that were to be replayed: how many are, and how many are left alone, and why."""

    replayed: int
    waiting: int
    dead_letters: int


def redeliver(
    connection: sqlite3.Connection,
    tags: Collection[bytes],
    positions: Sequence[int] | None,
    after: int,
    limit_rows: int,
) -> Redelivered:
    """Have the dead letters of these Triggers delivered once more: those at `positions`, None for all.

    Looks at `limit_rows` positions past `after`. Go on from `last` rather than from the front: what fails again lies
    there as a dead letter again.
    """
    of_these = "lower(hex(tag)) IN (SELECT value FROM json_each(:tags))"
    listed = "" if positions is None else "AND position IN (SELECT value FROM json_each(:listed))"
    values = {"tags": json.dumps([tag.hex() for tag in tags]), "listed": json.dumps(positions), "after": after}
    chosen = connection.execute(
        f"SELECT DISTINCT position FROM broker_dead_letter WHERE position > :after AND {of_these} {listed}"
        " ORDER BY position LIMIT :rows",
        {**values, "rows": limit_rows + 1},
    ).fetchall()
    last = chosen[:limit_rows][-1][0] if chosen else after
    gone = connection.execute(
        f"DELETE FROM broker_dead_letter WHERE position > :after AND position <= :last AND {of_these} {listed}"
        " RETURNING tag, position",
        {**values, "last": last},
    ).fetchall()
    connection.executemany("INSERT OR IGNORE INTO broker_again VALUES (?, ?)", gone)
    counts = Counter(tag for tag, _ in gone)
    connection.executemany(
        "UPDATE broker_trigger SET dead_lettered = dead_lettered - ? WHERE tag = ?",
        [(number, tag) for tag, number in counts.items()],
    )
    return Redelivered(counts, last, len(chosen) <= limit_rows)


def seek(
    connection: sqlite3.Connection, broker: BrokerName, passes: Callable[[CloudEvent], bool], within: Range
) -> Sought:
    """The next events of a broker that a filter passes, whichever Triggers they matched when they came. Reads alone."""
    found = scan(connection, within, "instr(e.head, :broker)", {"broker": kept.json_text(str(broker))})
    own = [entry for entry in found.entries if kept.broker_of(entry.head) == broker]
    positions = tuple(entry.position for entry in own if passes(kept.unpack(entry).event))
    return Sought(positions, len(own) + len(found.damaged), len(found.damaged), found.last, found.done)


def foresee(connection: sqlite3.Connection, trigger: TriggerName, positions: Sequence[int]) -> Replayed:
    """What `replay` would do. Reads alone."""
    counts = Counter(_states(connection, trigger, positions).values())
    left = counts[State.WAITING.value], counts[State.DEAD_LETTER.value]
    return Replayed(counts[State.SETTLED.value], *left)


def replay(connection: sqlite3.Connection, trigger: TriggerName, positions: Sequence[int]) -> Replayed:
    """Have these events, where they are still kept, delivered to a Trigger as if they had just matched it.

    Left alone are those that wait for it, and those that lie as its dead letters: `redeliver` is for them.
    """
    states = _states(connection, trigger, positions)
    tag = kept.tag(trigger)
    new = [position for position, state in states.items() if state == State.SETTLED.value]
    connection.executemany("INSERT INTO broker_again VALUES (?, ?)", [(tag, position) for position in new])
    connection.execute(
        "UPDATE broker_trigger SET matched = matched + :new, replayed = replayed + :new WHERE tag = :tag",
        {"new": len(new), "tag": tag},
    )
    counts = Counter(states.values())
    return Replayed(len(new), counts[State.WAITING.value], counts[State.DEAD_LETTER.value])


def _states(connection: sqlite3.Connection, trigger: TriggerName, positions: Sequence[int]) -> dict[int, str]:
    """How the events that are still kept stand with a Trigger; settled, too, where they never matched it."""
    rows = connection.execute(
        f"SELECT e.position, {STATE} FROM broker_trigger t, journal_entry e"
        " WHERE t.tag = ? AND e.position IN (SELECT value FROM json_each(?))",
        (kept.tag(trigger), json.dumps(positions)),
    )
    return dict(rows.fetchall())
