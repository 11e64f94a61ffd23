"""The join over SQLite: parts that wait are stored, so that whoever sent them can be answered, and nothing is held up.

Invariant: `take` is part of the caller's transaction: what it decides, what it keeps and what the caller makes of a
whole are committed together or not at all. It decides with `join.take` alone, so that a restart or a kill -9 changes
nothing.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from wayside.eventing.clock import format_time
from wayside.eventing.pairs import join
from wayside.eventing.pairs.join import LATEST_NS, Fate, Held, JoinSettings, Known, Line, Part, Shelf, Taken
from wayside.eventing.pairs.subject import Role, Subject

SCHEMA = """
CREATE TABLE IF NOT EXISTS pair_subject (
    source TEXT NOT NULL, id TEXT NOT NULL, time_ns INTEGER NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS pair_subject_time ON pair_subject (time_ns);
CREATE TABLE IF NOT EXISTS pair_payload (
    source TEXT NOT NULL, id TEXT NOT NULL, role TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (source, id, role)
);
CREATE TABLE IF NOT EXISTS pair_line (
    only INTEGER PRIMARY KEY CHECK (only = 0), watermark_ns INTEGER NOT NULL, horizon_ns INTEGER NOT NULL,
    parts INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS pair_count (
    role TEXT NOT NULL, fate TEXT NOT NULL, parts INTEGER NOT NULL, PRIMARY KEY (role, fate)
) WITHOUT ROWID;
"""

_ASKED_AT_ONCE = 100  # subjects, of two variables each: older SQLites take 999


def take(connection: sqlite3.Connection, part: Part, settings: JoinSettings, ceiling_ns: int = LATEST_NS) -> Taken:
    """`join.take` over the tables of `SCHEMA`. Raises `UnicodeEncodeError` for a subject that no encoding can carry."""
    return join.take(SqliteShelf(connection), part, settings, ceiling_ns)


def take_all(
    connection: sqlite3.Connection, parts: Sequence[Part], settings: JoinSettings, ceiling_ns: int = LATEST_NS
) -> list[Taken]:
    """`take` of one part after the other, whose statements are shared."""
    if not parts:
        return []
    shelf = _Batch(SqliteShelf(connection), list({part.subject for part in parts}))
    taken = [join.take(shelf, part, settings, ceiling_ns) for part in parts]
    shelf.flush()
    return taken


def count(connection: sqlite3.Connection, changes: Mapping[tuple[Role, Fate], int]) -> None:
    """Count parts whose fate the caller knows from a memory of its own, which is longer than the join's."""
    SqliteShelf(connection).count(changes)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a join holds and has counted. `watermark` is RFC 3339 in UTC, None before the first part."""

    watermark: str | None
    held: int
    held_bytes: int
    counts: Mapping[tuple[Role, Fate], int]

    def by_role(self) -> Mapping[str, Mapping[str, int]]:
        """For people: parts by role and fate, where there are any."""
        shown: dict[str, dict[str, int]] = {}
        for (role, fate), parts in sorted(self.counts.items()):
            if parts:
                shown.setdefault(role.value, {})[fate.value] = parts
        return shown


def standing(connection: sqlite3.Connection) -> Standing:
    """What the tables hold now."""
    shelf = SqliteShelf(connection)
    line = shelf.line()
    watermark = format_time(line.watermark_ns) if line.watermark_ns > join.EARLIEST_NS else None
    found = connection.execute("SELECT role, fate, parts FROM pair_count")
    counts = {(Role(role), Fate(fate)): parts for role, fate, parts in found}
    return Standing(watermark, line.parts, line.bytes, counts)


class SqliteShelf(Shelf):
    """The tables of `SCHEMA`, within a transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def line(self) -> Line:
        row = self._connection.execute("SELECT watermark_ns, horizon_ns, parts, bytes FROM pair_line").fetchone()
        return Line(*row) if row else Line()

    def move_line(self, line: Line) -> None:
        values = (line.watermark_ns, line.horizon_ns, line.parts, line.bytes)
        self._connection.execute("INSERT OR REPLACE INTO pair_line VALUES (0, ?, ?, ?, ?)", values)

    def find(self, subject: Subject) -> Held | None:
        row = self._connection.execute(
            "SELECT time_ns, parts FROM pair_subject WHERE source = ? AND id = ?", (subject.source, subject.id)
        ).fetchone()
        return Held(row[0], _decoded(row[1])) if row else None

    def find_all(self, subjects: Sequence[Subject]) -> Mapping[Subject, Held]:
        """What is held of these subjects."""
        found: dict[Subject, Held] = {}
        for start in range(0, len(subjects), _ASKED_AT_ONCE):
            some = subjects[start : start + _ASKED_AT_ONCE]
            asked = ", ".join(["(?, ?)"] * len(some))
            rows = self._connection.execute(  # a cross join is a search for each; `IN` would be a scan of the table
                f"WITH asked (source, id) AS (VALUES {asked})"
                " SELECT source, id, time_ns, parts FROM asked CROSS JOIN pair_subject USING (source, id)",
                list(chain.from_iterable(some)),
            )
            found |= {Subject(source, name): Held(time_ns, _decoded(parts)) for source, name, time_ns, parts in rows}
        return found

    def put(self, subject: Subject, held: Held) -> None:
        self.put_all({subject: held})

    def put_all(self, subjects: Mapping[Subject, Held]) -> None:
        # changed in place: the index of ids, which are random, is touched once a subject
        self._connection.executemany(
            "INSERT INTO pair_subject VALUES (?, ?, ?, ?)"
            " ON CONFLICT (source, id) DO UPDATE SET time_ns = excluded.time_ns, parts = excluded.parts",
            [(subject.source, subject.id, held.time_ns, _encoded(held.parts)) for subject, held in subjects.items()],
        )

    def put_payload(self, part: Part) -> None:
        values = (part.subject.source, part.subject.id, part.role.value, part.payload)
        self._connection.execute("INSERT INTO pair_payload VALUES (?, ?, ?, ?)", values)

    def take_payloads(self, subject: Subject) -> Mapping[Role, bytes]:
        names = (subject.source, subject.id)
        found = self._connection.execute(
            "DELETE FROM pair_payload WHERE source = ? AND id = ? RETURNING role, payload", names
        ).fetchall()
        return {Role(role): payload for role, payload in found}

    def oldest_ns(self) -> int | None:
        oldest: int | None = self._connection.execute("SELECT min(time_ns) FROM pair_subject").fetchone()[0]
        return oldest

    def remove_until(self, horizon_ns: int) -> Sequence[tuple[Subject, Held]]:
        found = self._connection.execute(
            "SELECT source, id, time_ns, parts FROM pair_subject WHERE time_ns <= ? ORDER BY time_ns, source, id",
            (horizon_ns,),
        ).fetchall()
        names = [row[:2] for row in found]
        self._connection.executemany("DELETE FROM pair_payload WHERE source = ? AND id = ?", names)
        self._connection.execute("DELETE FROM pair_subject WHERE time_ns <= ?", (horizon_ns,))
        return [(Subject(*row[:2]), Held(row[2], _decoded(row[3]))) for row in found]

    def count(self, changes: Mapping[tuple[Role, Fate], int]) -> None:
        self._connection.executemany(
            "INSERT INTO pair_count VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET parts = parts + excluded.parts",
            [(role.value, fate.value, change) for (role, fate), change in changes.items() if change],
        )


class _Batch(Shelf):
    """A shelf before another one, which is told of changes at the end, and before it forgets what is old."""

    def __init__(self, behind: SqliteShelf, subjects: Sequence[Subject]) -> None:
        self._behind = behind
        self._line = behind.line()
        self._found: dict[Subject, Held | None] = {**dict.fromkeys(subjects), **behind.find_all(subjects)}
        self._changed: dict[Subject, Held] = {}
        self._counts: dict[tuple[Role, Fate], int] = {}

    def line(self) -> Line:
        return self._line

    def move_line(self, line: Line) -> None:
        self._line = line

    def find(self, subject: Subject) -> Held | None:
        if subject not in self._found:
            self._found[subject] = self._behind.find(subject)
        return self._found[subject]

    def put(self, subject: Subject, held: Held) -> None:
        self._found[subject] = self._changed[subject] = held

    def put_payload(self, part: Part) -> None:
        self._behind.put_payload(part)

    def take_payloads(self, subject: Subject) -> Mapping[Role, bytes]:
        return self._behind.take_payloads(subject)

    def oldest_ns(self) -> int | None:
        self._tell()
        return self._behind.oldest_ns()

    def remove_until(self, horizon_ns: int) -> Sequence[tuple[Subject, Held]]:
        self._tell()
        return self._behind.remove_until(horizon_ns)

    def count(self, changes: Mapping[tuple[Role, Fate], int]) -> None:
        for key, change in changes.items():
            self._counts[key] = self._counts.get(key, 0) + change

    def _tell(self) -> None:
        self._behind.put_all(self._changed)
        self._found, self._changed = {}, {}

    def flush(self) -> None:
        self._tell()
        self._behind.move_line(self._line)
        self._behind.count(self._counts)


_JSON = json.JSONEncoder(separators=(",", ":"))


def _encoded(parts: Sequence[Known]) -> str:
    return _JSON.encode([(part.role, part.name, part.digest.hex(), part.size_bytes, part.joined) for part in parts])


def _decoded(text: str) -> tuple[Known, ...]:
    return tuple(
        [
            Known(Role(role), name, bytes.fromhex(digest), size_bytes, joined)
            for role, name, digest, size_bytes, joined in json.loads(text)
        ]
    )
