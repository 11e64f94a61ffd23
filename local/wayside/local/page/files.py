"""Where the page's facts come from on disk: the record store and, while a demo runs, its ledger.

Invariant: both are only read, on one thread of their own, and opened anew after any failure, so that a file may appear
late or be replaced while the page looks on.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wayside.eventing.clock import Clock
from wayside.eventing.errors import ConfigurationError
from wayside.local.demo.facts import Span
from wayside.local.demo.ledger import Fault, LedgerReader, PhaseRow, Route
from wayside.local.page.latency import AnswerSeries
from wayside.local.page.sources import Problem
from wayside.sinks.embedded.reader import Alert, DetectorRate, RecordCounts, RecordReader, SeriesStanding, WindowRow

T = TypeVar("T")
_FLAGGED = 12
_WINDOWS = 200
_ALERTS = 50
_SETTLED_S = 120.0


@dataclass(frozen=True, slots=True)
class RecordsReading:
    """What the record store holds; documents, windows and alerts newest first, series in order."""

    counts: RecordCounts
    flagged: Sequence[dict[str, Any]]
    windows: Sequence[WindowRow]
    alerts: Sequence[Alert]
    rates: Sequence[DetectorRate]
    standings: Sequence[SeriesStanding] = ()


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The demo's books. The series are shared with the next reading and only touched on the event loop's thread
    between two of them. `answered_rows` were answered 200 through the logger.
    """

    phases: Sequence[PhaseRow]
    faults: Sequence[Fault]
    through: AnswerSeries
    direct: AnswerSeries
    answered_rows: int


class Books:
    """Reads the answers of one ledger as they are added, each of them once."""

    def __init__(self, path: Path) -> None:
        self._reader = LedgerReader(path)
        self._answers = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        self._series = {route.value: AnswerSeries() for route in Route}
        self._answered_rows = 0
        self._last_row = 0

    def close(self) -> None:
        self._reader.close()
        self._answers.close()

    def read(self) -> LedgerReading:
        for row, t, route, rows, status, latency_s in self._new_answers():
            self._last_row = row
            self._series[route].add(t, rows, status, latency_s)
            if route == Route.THROUGH and status == 200:
                self._answered_rows += rows
        for series in self._series.values():
            series.forget()
        through, direct = self._series[Route.THROUGH], self._series[Route.DIRECT]
        return LedgerReading(self._reader.phases(), self._reader.faults(), through, direct, self._answered_rows)

    def _new_answers(self) -> Iterator[tuple[int, float, str, int, int, float]]:
        return self._answers.execute(
            "SELECT rowid, t, route, rows, status, latency_s FROM answers WHERE rowid > ? ORDER BY rowid",
            (self._last_row,),
        )


class Files:
    """The page's files. Methods raise `Problem`; `close` ends the thread."""

    def __init__(self, records: Path | None, ledger: Path | None, clock: Clock) -> None:
        self._records_path = records
        self._ledger_path = ledger
        self._clock = clock
        self._records: RecordReader | None = None
        self._books: Books | None = None
        self._settled: dict[str, Sequence[DetectorRate]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="page-files")

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        for source in (self._records, self._books):
            if source is not None:
                source.close()

    async def rows(self) -> int:
        """How many rows are recorded."""
        return await self._run(lambda: self._from_records(lambda reader: reader.counts().records))

    async def records(self) -> RecordsReading:
        return await self._run(lambda: self._from_records(self._read_records))

    async def document(self, record_id: str) -> dict[str, Any] | None:
        """One record's document; None where there is no such record."""
        return await self._run(lambda: self._from_records(lambda reader: reader.document(record_id)))

    async def ledger(self) -> LedgerReading:
        return await self._run(self._read_ledger)

    async def phase_rates(self, phases: Sequence[PhaseRow]) -> list[Sequence[DetectorRate]]:
        """What row detectors flagged in each phase; a phase that is long over is read only once."""
        return await self._run(lambda: [self._phase_rates(phase) for phase in phases])

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _read_records(self, reader: RecordReader) -> RecordsReading:
        return RecordsReading(
            reader.counts(),
            reader.flagged(_FLAGGED),
            reader.windows(_WINDOWS),
            reader.alerts(_ALERTS),
            reader.rates(),
            reader.standings(),
        )

    def _phase_rates(self, phase: PhaseRow) -> Sequence[DetectorRate]:
        known = self._settled.get(phase.name)
        if known is not None:
            return known
        span = Span.of(phase)
        rates = self._from_records(lambda reader: reader.rates(span.since, span.until))
        if phase.ended is not None and self._clock.time_ns() / 1e9 - phase.ended > _SETTLED_S:
            self._settled[phase.name] = rates
        return rates

    def _from_records(self, read: Callable[[RecordReader], T]) -> T:
        if self._records_path is None:
            raise Problem("not watched: start the page with --records FILE")
        try:
            self._records = self._records or RecordReader(self._records_path)
            return read(self._records)
        except (ConfigurationError, sqlite3.Error) as exc:
            if self._records is not None:
                self._records.close()
            self._records = None
            raise Problem(f"not readable: {exc}") from exc

    def _read_ledger(self) -> LedgerReading:
        if self._ledger_path is None:
            raise Problem("no demo runs: start the page with --ledger FILE")
        try:
            self._books = self._books or Books(self._ledger_path)
            return self._books.read()
        except (ConfigurationError, sqlite3.Error) as exc:
            if self._books is not None:
                self._books.close()
            self._books = None
            raise Problem(f"not readable: {exc}") from exc
