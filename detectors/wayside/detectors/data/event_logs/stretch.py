"""A stretch of logged events as a table: those of one side and of some span of event time, each once.

Invariant: an event gives all of its rows or none. What gives none is counted by its reason, and where more are refused
than taken the log is not what it was said to be, and is refused.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np

from wayside.detectors.data.event_logs.files import Logged, event_files, read_logged
from wayside.detectors.data.tables.files import Origin, Rows, with_categories
from wayside.detectors.data.tables.labels import take_label
from wayside.detectors.data.tables.own_texts import check_categories
from wayside.detectors.data.tables.payload_rows import PayloadRows
from wayside.detectors.data.tables.reading import Expected, Reading
from wayside.detectors.data.tables.times import take_time
from wayside.detectors.tabular.event_rows import Side, is_judged, rows_of
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import request_time_if_any, request_time_ns

_KEY_BYTES = 16
_TAKEN, _REFUSED = "taken", "refused"
_ONE_COLUMN = Schema.of_width(1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which events: of any side but pairs, whose request came at or after `from_ns` and before `to_ns`."""

    path: Path
    side: Side = Side.REQUEST
    from_ns: int | None = None
    to_ns: int | None = None

    def __post_init__(self) -> None:
        if self.side is Side.PAIR:
            raise ConfigurationError("pairs are not joined here: give a file with inputs beside predictions")
        if self.from_ns is not None and self.to_ns is not None and self.from_ns >= self.to_ns:
            raise ConfigurationError("--from-time is not before --to-time")


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRows:
    """What a stretch gave: its rows, and what became of each event in the log, in words by how many."""

    rows: Rows
    outcomes: Counter[str]
    first_refused: str | None


def read_stretch(stretch: Stretch, reading: Reading) -> LoggedRows:
    """Raises `ConfigurationError` where no event can be taken, or more are refused than taken."""
    taking = _Taking(stretch, reading)
    origins = [_taken_from(taking, file) for file in event_files(stretch.path)]
    table = taking.table()
    if reading.label is not None:
        table = take_label(table, reading.label, reading.ordinary)
    if reading.time is not None:
        table = take_time(table, reading.time)
    if reading.columns:
        table = table.select(reading.columns)
    check_categories(table, reading.declared, str(stretch.path))
    table = with_categories(table, reading.categories)
    rows = Rows(table, tuple(origin for origin in origins if origin.rows))
    return LoggedRows(rows, taking.outcomes, taking.first_refused)


def _taken_from(taking: "_Taking", file: Path) -> Origin:
    before = taking.rows.rows
    for logged in read_logged(file):
        taking.take(logged)
    with file.open("rb") as content:
        return Origin(file.name, file_digest(content, "sha256").hexdigest(), taking.rows.rows - before)


def _column_of(side: Side, expected: Expected) -> str | None:
    """The name of the only column of a side's rows: what a detector of one column calls it, or else the side's own.

    A service gives such a detector the rows of verdicts and feedback whatever its column is called.
    """
    if side.column is None or len(expected.names) != 1:
        return side.column
    (name,) = expected.names
    return name


class _Taking:
    """Takes events one by one."""

    def __init__(self, stretch: Stretch, reading: Reading) -> None:
        self._stretch = stretch
        self._column = _column_of(stretch.side, reading.expected)
        self._seen: set[bytes] = set()
        self._times = array("d")
        self.rows = PayloadRows(reading)
        self.outcomes: Counter[str] = Counter()
        self.first_refused: str | None = None

    def take(self, logged: Logged) -> None:
        try:
            self.outcomes[self._outcome(logged.event)] += 1
        except MalformedEvent as exc:
            self.outcomes[_REFUSED] += 1
            self.first_refused = self.first_refused or f"{logged.where}: {exc}"

    def _outcome(self, event: CloudEvent | Refusal) -> str:
        """What becomes of an event, in a word or two. Raises `MalformedEvent`."""
        if isinstance(event, Refusal):
            raise MalformedEvent(event.reason)
        if event.type not in self._stretch.side.types:
            return "of another type"
        if not self._is_within(event):
            return "of another time"
        if not is_judged(event):
            return "cut off or an error"
        key = sha256(repr((event.source, event.id, event.type)).encode()).digest()[:_KEY_BYTES]
        if key in self._seen:
            return "there before"
        time = request_time_if_any(event)
        time_s = np.nan if time is None else parse_time(time) / 1e9
        self._times.extend([time_s] * self._add(event))
        self._seen.add(key)
        return _TAKEN

    def _add(self, event: CloudEvent) -> int:
        """Take its rows; returns how many. Raises `MalformedEvent`."""
        if self._column is None:
            return self.rows.add(decode(message_of(event)))
        return self.rows.add_column(self._column, rows_of(event, self._stretch.side, _ONE_COLUMN)[:, 0])

    def _is_within(self, event: CloudEvent) -> bool:
        start, end = self._stretch.from_ns, self._stretch.to_ns
        if start is None and end is None:
            return True
        time_ns = request_time_ns(event)
        return (start is None or time_ns >= start) and (end is None or time_ns < end)

    def table(self) -> Table:
        """With the times of the rows' requests, where each has one. Raises `ConfigurationError` where it is no log to
        fit on."""
        table = self.rows.table()
        first = f"; the first: {self.first_refused}" if self.first_refused else ""
        if table is None:
            raise ConfigurationError(f"{self._stretch.path} gives no rows: {describe_outcomes(self.outcomes)}{first}")
        if self.outcomes[_REFUSED] > self.outcomes[_TAKEN]:
            raise ConfigurationError(f"{self._stretch.path}: {describe_outcomes(self.outcomes)}{first}")
        times = np.array(self._times)
        return table if np.isnan(times).any() else replace(table, time_s=times)


def describe_outcomes(outcomes: Counter[str]) -> str:
    """How many events met which outcome, for people."""
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    return f"{outcomes.total()} events ({told})" if told else "no event"
