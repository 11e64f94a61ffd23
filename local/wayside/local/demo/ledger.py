"""The demo's own books: every answer that the client saw, the phases, the faults, in one SQLite file.

Invariant: after `stop` every answer that was recorded is on disk, exactly once; what the client saw is written by the
client alone, so that the balance compares two independent accounts.

Times are seconds since the epoch on the machine's wall clock, the same as the logger's, so that an event's request
time falls into the phase that its answer names.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.errors import ConfigurationError, QueueFull
from wayside.eventing.storage.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    t REAL NOT NULL, route TEXT NOT NULL, request_id TEXT NOT NULL, rows INTEGER NOT NULL,
    status INTEGER NOT NULL, latency_s REAL NOT NULL, phase TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_t ON answers (t);
CREATE TABLE IF NOT EXISTS phases (
    name TEXT NOT NULL, title TEXT NOT NULL, kind TEXT NOT NULL, started REAL NOT NULL, ended REAL
);
CREATE TABLE IF NOT EXISTS faults (t REAL NOT NULL, what TEXT NOT NULL);
"""
NO_ANSWER = 0


class Route(StrEnum):
    """Which way a request took: through the logger, or to the model server alone."""

    THROUGH = "through"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request as its client saw it. `status` is 0 where no answer came; `t` is when the request was sent."""

    t: float
    route: Route
    request_id: str
    rows: int
    status: int
    latency_s: float
    phase: str


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """A phase as the books have it; `ended` is None while it runs."""

    name: str
    title: str
    kind: str
    started: float
    ended: float | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to a process, and when."""

    t: float
    what: str


class Ledger:
    """Writes the books. `record` never waits: answers lie in memory for `flush_s` at most and are then one commit."""

    def __init__(
        self, path: Path, clock: Clock | None = None, flush_s: float = 0.2, limit_answers: int = 100_000
    ) -> None:
        self._database = Database(path, SCHEMA)
        self._clock = clock or SystemClock()
        self._flush_s = flush_s
        self._limit_answers = limit_answers
        self._waiting: list[Answer] = []
        self._flusher: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        return self._database.path

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.time_ns() / 1e9

    async def start(self) -> None:
        """Open or create the file. Raises `ConfigurationError` where that cannot be done."""
        await self._database.start()
        self._flusher = asyncio.create_task(self._flush_regularly())

    async def stop(self) -> None:
        """Write what waits, then close. May be called twice or before `start`."""
        if self._flusher is None:
            return
        flusher, self._flusher = self._flusher, None
        flusher.cancel()
        with suppress(asyncio.CancelledError):
            await flusher
        await self.flush()
        await self._database.stop()

    def record(self, answer: Answer) -> None:
        """Keep one answer. Raises `QueueFull` where the disk has taken none for so long that memory is full."""
        if len(self._waiting) >= self._limit_answers:
            raise QueueFull(f"{self.path} takes no answers: {self._limit_answers} wait; look at the disk")
        self._waiting.append(answer)

    async def flush(self) -> None:
        """Return once every answer recorded before this call is on disk."""
        batch, self._waiting = self._waiting, []
        try:
            await self._database.write(lambda connection: _insert(connection, batch))
        except sqlite3.Error:
            self._waiting = batch + self._waiting
            raise

    async def begin_phase(self, name: str, title: str, kind: str) -> None:
        """Open a phase; it is on disk when this returns, and requests sent afterwards fall into it."""
        row = (name, title, kind, self.now())
        await self._database.write(
            lambda connection: connection.execute("INSERT INTO phases VALUES (?, ?, ?, ?, NULL)", row)
        )

    async def end_phase(self, name: str) -> None:
        """Close a phase, after its last answer has come."""
        await self.flush()
        ended = self.now()
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE phases SET ended = ? WHERE name = ? AND ended IS NULL", (ended, name)
            )
        )

    async def note_fault(self, what: str) -> None:
        """Write down what is being done to a process, at the moment of it."""
        row = (self.now(), what)
        await self._database.write(lambda connection: connection.execute("INSERT INTO faults VALUES (?, ?)", row))

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            if self._waiting:
                await asyncio.shield(self.flush())


def _insert(connection: sqlite3.Connection, batch: Sequence[Answer]) -> None:
    connection.executemany(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(a.t, a.route.value, a.request_id, a.rows, a.status, a.latency_s, a.phase) for a in batch],
    )


@dataclass(frozen=True, slots=True)
class RouteSummary:
    """The answers of one phase on one route; quantiles in seconds over answers with status 200, None without any."""

    phase: str
    route: Route
    requests: int
    answered: int
    answered_rows: int
    p50_s: float | None
    p99_s: float | None

    @property
    def failed(self) -> int:
        """Requests that got no answer, or one other than 200."""
        return self.requests - self.answered


class LedgerReader:
    """Reads the books of a demo, running or over. Synchronous; the caller closes it."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` where there is no such file."""
        try:
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        except sqlite3.Error as exc:
            raise ConfigurationError(f"cannot open the ledger {path}: {exc}") from exc

    def close(self) -> None:
        self._connection.close()

    def answered_rows(self) -> int:
        """Distinct (request id, row) that were answered 200 through the logger: the client's side of the balance."""
        found = self._connection.execute(
            "SELECT coalesce(sum(rows), 0) FROM"
            " (SELECT max(rows) AS rows FROM answers WHERE route = 'through' AND status = 200 GROUP BY request_id)"
        )
        return int(found.fetchone()[0])

    def answered(self) -> Iterator[tuple[str, int]]:
        """(request id, row) of every row that was answered 200 through the logger."""
        found = self._connection.execute(
            "SELECT request_id, max(rows) FROM answers WHERE route = 'through' AND status = 200 GROUP BY request_id"
        )
        return ((request_id, row) for request_id, rows in found for row in range(rows))

    def phases(self) -> list[PhaseRow]:
        """Every phase in the order in which they began."""
        found = self._connection.execute("SELECT name, title, kind, started, ended FROM phases ORDER BY started")
        return [PhaseRow(*row) for row in found]

    def faults(self) -> list[Fault]:
        """Every fault in order of time."""
        return [Fault(*row) for row in self._connection.execute("SELECT t, what FROM faults ORDER BY t")]

    def phase_summary(self) -> list[RouteSummary]:
        """One summary a phase and route, phases in order, the logger's route first."""
        routes = (Route.THROUGH, Route.DIRECT)
        return [self.route_summary(phase.name, route) for phase in self.phases() for route in routes]

    def route_summary(self, phase: str, route: Route) -> RouteSummary:
        """What one phase's requests met on one route."""
        where = "FROM answers WHERE phase = ? AND route = ?"
        total = self._connection.execute(f"SELECT count(*) {where}", (phase, route.value)).fetchone()[0]
        found = self._connection.execute(
            f"SELECT latency_s, rows {where} AND status = 200 ORDER BY latency_s", (phase, route.value)
        ).fetchall()
        latencies = [latency_s for latency_s, _ in found]
        rows = sum(rows for _, rows in found)
        p50_s, p99_s = quantile(latencies, 0.5), quantile(latencies, 0.99)
        return RouteSummary(phase, route, total, len(found), rows, p50_s, p99_s)


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the ordered values do not exceed; None where there is no value."""
    if not ordered:
        return None
    rank = -(-len(ordered) * share // 1)
    return ordered[min(len(ordered), max(1, int(rank))) - 1]
