"""The events that a broker keeps, each with how it stands with every Trigger that it concerns.

Invariant: a page is one committed state, and reads alone: also beside a broker that runs, from another process.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wayside.eventing.broker import kept
from wayside.eventing.broker.events.again import IS_DEAD_LETTER, STATE, State
from wayside.eventing.broker.events.scan import Range, newest, scan
from wayside.eventing.broker.kept import Kept
from wayside.eventing.broker.tables import IS_AGAIN
from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.triggers.names import BrokerName, TriggerName

_CONCERNS = f"(instr(e.head, t.tag) OR {IS_AGAIN} OR {IS_DEAD_LETTER})"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events: those that concern a Trigger, of a type, of a source, dead letters alone; all by default."""

    trigger: TriggerName | None = None
    type: str | None = None
    source: str | None = None
    dead_letters: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why and when a delivery failed for good."""

    time_ns: int
    attempts: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How an event stands with one Trigger that it matched, or was replayed to."""

    trigger: TriggerName
    state: State
    dead_letter: DeadLetter | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One event that is kept."""

    kept: Kept
    broker: BrokerName
    deliveries: tuple[Standing, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Listing:
    """Events in the order that was asked for; go on from `last` until `done`. `newest`: the last position there is."""

    events: tuple[Listed, ...]
    damaged: tuple[int, ...]
    last: int
    newest: int
    done: bool


def known_triggers(connection: sqlite3.Connection) -> tuple[TriggerName, ...]:
    """Every Trigger that the store ever knew."""
    rows = connection.execute("SELECT namespace, broker, name FROM broker_trigger ORDER BY rowid")
    return tuple(TriggerName(*row) for row in rows)


def read_listing(connection: sqlite3.Connection, within: Range, chosen: Selection) -> Listing:
    """The next events of the range that are chosen; there may be none though there are more further on."""
    conditions, values = _conditions(chosen)
    found = scan(connection, within, " AND ".join(conditions), values)
    entries = [entry for entry in found.entries if _is_chosen(entry, chosen)]
    deliveries = _deliveries(connection, [entry.position for entry in entries])
    events = tuple(
        Listed(kept.unpack(entry), kept.broker_of(entry.head), tuple(deliveries[entry.position])) for entry in entries
    )
    return Listing(events, found.damaged, found.last, newest(connection), found.done)


def _conditions(chosen: Selection) -> tuple[Sequence[str], Mapping[str, object]]:
    """What SQL can tell; it lets pass all that is chosen, and little more."""
    conditions, values = ["1"], dict[str, object]()
    for name in ("type", "source"):
        value = getattr(chosen, name)
        if value is not None:
            conditions.append(f"instr(e.head, :{name})")
            values[name] = kept.json_text(value)
    of_trigger = "1"
    if chosen.trigger is not None:
        of_trigger, values["tag"] = "t.tag = :tag", kept.tag(chosen.trigger)
        conditions.append(f"EXISTS (SELECT 1 FROM broker_trigger t WHERE {of_trigger} AND {_CONCERNS})")
    if chosen.dead_letters:
        conditions.append(f"EXISTS (SELECT 1 FROM broker_trigger t WHERE {of_trigger} AND {IS_DEAD_LETTER})")
    return conditions, values


def _is_chosen(entry: KeptEntry, chosen: Selection) -> bool:
    if chosen.type is None and chosen.source is None:
        return True
    event = kept.unpack(entry).event
    return chosen.type in (None, event.type) and chosen.source in (None, event.source)


def _deliveries(connection: sqlite3.Connection, positions: Sequence[int]) -> Mapping[int, Sequence[Standing]]:
    """By position, in the order in which the Triggers became known."""
    rows = connection.execute(
        f"SELECT e.position, t.namespace, t.broker, t.name, {STATE}, d.time_ns, d.attempts, d.code, d.reason"
        " FROM journal_entry e CROSS JOIN broker_trigger t"
        " LEFT JOIN broker_dead_letter d ON d.position = e.position AND d.tag = t.tag"
        f" WHERE e.position IN (SELECT value FROM json_each(?)) AND {_CONCERNS} ORDER BY e.position, t.rowid",
        (json.dumps(positions),),
    )
    deliveries: defaultdict[int, list[Standing]] = defaultdict(list)
    for position, namespace, broker, name, state, *why in rows:
        dead_letter = DeadLetter(*why) if why[0] is not None else None
        deliveries[position].append(Standing(TriggerName(namespace, broker, name), State(state), dead_letter))
    return deliveries
