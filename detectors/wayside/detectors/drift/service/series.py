"""What is kept of each key's windows: how far they are cut, what judging goes on from, and what they came to.

Invariant: a key's snapshot, its judge's state and its story change in the transaction that puts the verdicts which they
follow from into the outbox; so that after a crash at any point all of them are of one moment.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from wayside.detectors.drift.service.journal import ARRIVAL_COLUMNS, arrival_of, parse_key, spend
from wayside.detectors.drift.windowing.values import Arrival, WindowKey

SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    key TEXT PRIMARY KEY, position INTEGER NOT NULL, snapshot BLOB NOT NULL, state BLOB NOT NULL, story TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS gone (only INTEGER PRIMARY KEY CHECK (only = 0), account TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, event BLOB NOT NULL, refused TEXT
);
"""
"""The tables of series, and the outbox that they fill."""


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a key's windows: how many closed, how many of them drifted or could not be judged, how many were
    quiet since the last that drifted, and the last verdict in short."""

    windows: int = 0
    drifted: int = 0
    unjudged: int = 0
    quiet: int = 0
    last: Mapping[str, Any] | None = None

    def told(self, outcome: str) -> "Story":
        """The story with one more window."""
        quiet = {"drift": 0, "no_drift": self.quiet + 1}.get(outcome, self.quiet)
        drifted, unjudged = self.drifted + (outcome == "drift"), self.unjudged + (outcome == "unjudged")
        return Story(self.windows + 1, drifted, unjudged, quiet, self.last)

    def to_json(self) -> dict[str, Any]:
        counts = {"windows": self.windows, "drifted": self.drifted, "unjudged": self.unjudged, "quiet": self.quiet}
        return {**counts, "last": self.last}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        return cls(**fields)


class Account(NamedTuple):
    """Of keys that are no more: the rows that came, and what became of them; and their windows. `rows` is the sum of
    the next four."""

    keys: int = 0
    rows: int = 0
    in_windows: int = 0
    late: int = 0
    overflow: int = 0
    evicted: int = 0
    windows: int = 0

    def plus(self, other: "Account") -> "Account":
        return Account(*map(sum, zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Kept:
    """A key as the disk knows it: its arrivals up to `position` are folded into `snapshot`, judged into `state`."""

    key: WindowKey
    position: int
    snapshot: bytes
    state: bytes
    story: Story


@dataclass(frozen=True, slots=True)
class Restored:
    """A key as it was kept, with the arrivals that windows still need of those up to its position."""

    kept: Kept
    held: Sequence[Arrival]


@dataclass(frozen=True, slots=True)
class Closing:
    """What one transaction changes of a key: where it stands, the arrivals that are spent, and the events to post, by
    id, as JSON. `gone` is set where the key is given up, and is its last account."""

    kept: Kept
    spent: Sequence[int]
    events: Sequence[tuple[str, bytes]] = ()
    gone: Account | None = None


def close(connection: sqlite3.Connection, closing: Closing) -> None:
    """Write it down; events that are in the outbox already stay there once."""
    kept, gone = closing.kept, closing.gone
    post(connection, closing.events)
    if gone is None:
        spend(connection, closing.spent, kept.position)
        row = (str(kept.key), kept.position, kept.snapshot, kept.state, json.dumps(kept.story.to_json()))
        connection.execute("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?, ?)", row)
        return
    # others may be given up for the same arrival, which is folded once all of them are
    spend(connection, closing.spent, kept.position - 1)
    connection.execute("DELETE FROM series WHERE key = ?", (str(kept.key),))
    add_gone(connection, gone)


def post(connection: sqlite3.Connection, events: Sequence[tuple[str, bytes]]) -> None:
    """Put events into the outbox, by id; those that are in it already stay there once."""
    connection.executemany("INSERT OR IGNORE INTO outbox (id, event) VALUES (?, ?)", events)


def kept_series(connection: sqlite3.Connection) -> list[Kept]:
    """Every key, in the order of their names."""
    found = connection.execute("SELECT key, position, snapshot, state, story FROM series ORDER BY key").fetchall()
    return [_kept(row) for row in found]


def restore(connection: sqlite3.Connection) -> list[Restored]:
    """Every key, and what is held for it."""
    return [Restored(kept, list(_held(connection, kept))) for kept in kept_series(connection)]


def unfolded(connection: sqlite3.Connection, after: int, upto: int, most: int) -> list[Arrival]:
    """The next arrivals behind `after`, up to `upto`, that are in no series yet; about `most` bytes of them."""
    rows = connection.execute(
        f"SELECT {', '.join('arrival.' + name for name in ARRIVAL_COLUMNS.split(', '))}"
        " FROM arrival LEFT JOIN series ON series.key = arrival.key"
        " WHERE arrival.position > ? AND arrival.position <= ? AND arrival.position > coalesce(series.position, 0)"
        " ORDER BY arrival.position",
        (after, upto),
    )
    found: list[Arrival] = []
    size = 0
    for row in rows:
        found.append(arrival_of(row))
        size += found[-1].rows.nbytes
        if size >= most:
            break
    return found


def gone(connection: sqlite3.Connection) -> Account:
    """The account of all keys that were given up."""
    row = connection.execute("SELECT account FROM gone").fetchone()
    return Account(**json.loads(row[0])) if row else Account()


def add_gone(connection: sqlite3.Connection, account: Account) -> None:
    """Add a key that is no more."""
    total = json.dumps(gone(connection).plus(account)._asdict())
    connection.execute("INSERT OR REPLACE INTO gone VALUES (0, ?)", (total,))


def _held(connection: sqlite3.Connection, kept: Kept) -> Iterator[Arrival]:
    query = f"SELECT {ARRIVAL_COLUMNS} FROM arrival WHERE key = ? AND position <= ? ORDER BY position"
    return map(arrival_of, connection.execute(query, (str(kept.key), kept.position)))


def _kept(row: tuple[str, int, bytes, bytes, str]) -> Kept:
    key, position, snapshot, state, story = row
    return Kept(parse_key(key), position, snapshot, state, Story.from_json(json.loads(story)))
