"""The journal of arrivals: each event's rows in the order in which they came, until no window needs them any more.

Invariant: positions rise and none is given twice, also after a restart and after all arrivals are spent. An event is
taken once: for as long as its identity is remembered, (source, id, type) of its subject, it changes nothing when it
comes again, and one of earlier event time than what is remembered is late.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.kinds.protocol import Matrix
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.vocabulary import ServiceKey

SCHEMA = """
CREATE TABLE IF NOT EXISTS taken (
    identity BLOB PRIMARY KEY, digest BLOB NOT NULL, time_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taken_time ON taken (time_ns);
CREATE TABLE IF NOT EXISTS arrival (
    position INTEGER PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL, time TEXT NOT NULL,
    time_ns INTEGER NOT NULL, came_ns INTEGER NOT NULL, rows INTEGER NOT NULL, told_apart TEXT NOT NULL,
    part TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS conflict (
    position INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    digest BLOB NOT NULL, time TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (source, id, type, digest)
);
CREATE TABLE IF NOT EXISTS journal (
    only INTEGER PRIMARY KEY CHECK (only = 0), folded INTEGER NOT NULL, forgotten INTEGER NOT NULL,
    forgotten_rows INTEGER NOT NULL
);
INSERT OR IGNORE INTO journal VALUES (0, 0, 0, 0);
"""
ARRIVAL_COLUMNS = "position, key, source, id, time_ns, time, payload, told_apart, rows, came_ns, part"
_CONFLICTS_KEPT = 1000
_PRUNED_EVERY, _PRUNED_AT_ONCE = 64, 256  # more than come meanwhile, and so few that no event waits for it
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """The rows of one event as they were read, and what they go by.

    (source, id) is what windows name; `part` is what the event is known by when it comes again, `digest` tells whether
    it is the same then. `came_ns` is the clock here when it came. `beside` tells it apart from others that speak of the
    same inference.
    """

    key: WindowKey
    source: str
    id: str
    part: tuple[str, str, str]
    digest: bytes
    time: str
    time_ns: int
    rows: Matrix
    came_ns: int
    group: str = ""
    beside: str = ""

    @property
    def identity(self) -> bytes:
        """Sixteen bytes that no client can make two parts share."""
        return bytes.fromhex(stable_id(*self.part)[: 2 * _DIGEST_BYTES])

    def at(self, position: int) -> Arrival:
        """The same as an arrival."""
        head = (position, self.key, self.source, self.id, self.time_ns, self.time, self.rows)
        return Arrival(*head, group=self.group, came_ns=self.came_ns, part=self.beside)


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an event: `scored`, with its arrival; `duplicate`, `conflict` or `late`, without one."""

    outcome: str
    arrival: Arrival | None = None


class Journal:
    """The tables of `SCHEMA`, for the thread that writes them. Identities are remembered for `remember_ns` of event
    time behind the latest."""

    def __init__(self, remember_ns: int) -> None:
        self._remember_ns = remember_ns
        self._position = 0
        self._latest_ns = 0
        self._appended = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Go on from what the tables hold."""
        query = "SELECT max(coalesce((SELECT max(position) FROM arrival), 0), folded) FROM journal"
        (self._position,) = connection.execute(query).fetchone()
        self._latest_ns = connection.execute("SELECT max(time_ns) FROM taken").fetchone()[0] or 0

    def append(self, connection: sqlite3.Connection, incoming: Incoming, event: CloudEvent | None = None) -> Appended:
        """Put an event's rows at the end, unless they were taken before or are too old to know that.

        `event` is kept apart where it came before with other data; None for what was made of several events.
        """
        row = (incoming.identity, incoming.digest[:_DIGEST_BYTES], incoming.time_ns)
        is_old = incoming.time_ns < self._latest_ns - self._remember_ns
        if is_old or not connection.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?)", row).rowcount:
            known = connection.execute("SELECT digest FROM taken WHERE identity = ?", row[:1]).fetchone()
            if known is not None:
                return _known(connection, incoming, event, known[0])
            _count_forgotten(connection, len(incoming.rows))
            return Appended("late")
        self._position += 1
        arrival = incoming.at(self._position)
        connection.execute("INSERT INTO arrival VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row_of(arrival))
        self._latest_ns = max(self._latest_ns, incoming.time_ns)
        self._forget_some(connection)
        return Appended("scored", arrival)

    def _forget_some(self, connection: sqlite3.Connection) -> None:
        """Identities behind the horizon, the oldest first, a few at a time."""
        self._appended += 1
        if self._appended % _PRUNED_EVERY:
            return
        connection.execute(
            "DELETE FROM taken WHERE identity IN"
            " (SELECT identity FROM taken WHERE time_ns < ? ORDER BY time_ns LIMIT ?)",
            (self._latest_ns - self._remember_ns, _PRUNED_AT_ONCE),
        )


def keep_apart(connection: sqlite3.Connection, event: CloudEvent, time: str) -> None:
    """Keep an event whose identity came with other data: the newest thousand of them."""
    kept = connection.execute(
        "INSERT OR IGNORE INTO conflict (source, id, type, digest, time, data) VALUES (?, ?, ?, ?, ?, ?)",
        (*event.key, event.digest, time, event.data),
    )
    if kept.rowcount:
        oldest = "DELETE FROM conflict WHERE position <= (SELECT max(position) FROM conflict) - ?"
        connection.execute(oldest, (_CONFLICTS_KEPT,))


def spend(connection: sqlite3.Connection, positions: Sequence[int], folded: int) -> None:
    """Forget arrivals that no window needs any more; what was folded up to `folded` has its part in some series."""
    connection.executemany("DELETE FROM arrival WHERE position = ?", [(position,) for position in positions])
    connection.execute("UPDATE journal SET folded = max(folded, ?)", (folded,))


def arrival_of(row: "tuple[int, str, str, str, int, str, bytes, str, int, int, str]") -> Arrival:
    """An arrival from its `ARRIVAL_COLUMNS`."""
    position, key, source, event_id, time_ns, time, payload, group, rows, came_ns, part = row
    values = np.frombuffer(payload, dtype="<f8").astype(np.float64).reshape(rows, -1)
    head = (position, parse_key(key), source, event_id, time_ns, time, values)
    return Arrival(*head, group=group, came_ns=came_ns, part=part)


def parse_key(text: str) -> WindowKey:
    """The key that `str(key)` named."""
    namespace, service, component, endpoint, revision = (
        part.replace("%2F", "/").replace("%25", "%") for part in text.split("/")
    )
    return WindowKey(ServiceKey(namespace, service, component, endpoint), revision)


def _row_of(arrival: Arrival) -> "tuple[object, ...]":
    payload = np.ascontiguousarray(arrival.rows, dtype="<f8").tobytes()
    head = (arrival.position, str(arrival.key), arrival.source, arrival.id, arrival.time, arrival.time_ns)
    return *head, arrival.came_ns, len(arrival.rows), arrival.group, arrival.part, payload


def _known(connection: sqlite3.Connection, incoming: Incoming, event: CloudEvent | None, digest: bytes) -> Appended:
    if event is None or digest == incoming.digest[:_DIGEST_BYTES]:
        return Appended("duplicate")
    keep_apart(connection, event, incoming.time)
    return Appended("conflict")


def _count_forgotten(connection: sqlite3.Connection, rows: int) -> None:
    connection.execute("UPDATE journal SET forgotten = forgotten + 1, forgotten_rows = forgotten_rows + ?", (rows,))
