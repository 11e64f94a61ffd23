"""The flags that say where rows are and how they are read: what `wayside fit` and `wayside score` share.

Invariant: either files or a log of events, never both and never neither.
"""

import argparse
import csv
import re
from dataclasses import dataclass
from pathlib import Path

from wayside.detectors.data.event_logs.stretch import Stretch, describe_outcomes, read_stretch
from wayside.detectors.data.tables.builder import LIMIT_BYTES
from wayside.detectors.data.tables.files import SUFFIXES, Rows, check_finite, path_of, read_files
from wayside.detectors.data.tables.reading import Header, Reading
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.clock import Clock
from wayside.eventing.command import parse_size
from wayside.eventing.errors import ConfigurationError

_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s+per\s+(second|minute|hour|day|week)\s*")
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


@dataclass(frozen=True, slots=True)
class Data:
    """Where rows are: files, or a stretch of a log; and how to read them."""

    files: tuple[str, ...]
    stretch: Stretch | None
    reading: Reading
    allow_missing: bool = True

    @property
    def sources(self) -> tuple[Path, ...]:
        """What is read: files, or a folder of logged events."""
        label = [self.reading.label] if self.reading.label else []
        logged = [] if self.stretch is None else [self.stretch.path]
        return (*(path_of(each) for each in (*self.files, *label)), *logged)


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", action="append", default=[], metavar="FILE",
        help=f"{', '.join(SUFFIXES)}, a row an instance; FILE.npz:ARRAY names an array; may be repeated")  # fmt: skip
    add("--from-events", type=Path, metavar="PATH",
        help="logged events: JSON (lines) of CloudEvents, what the logger's store keeps, a folder of these, or a"
        " broker's --data")  # fmt: skip
    add("--on", choices=[side.value for side in Side if side is not Side.PAIR], default=Side.REQUEST.value,
        help="which logged events: requests (default), responses, verdicts of row detectors (column 'p_value'), or"
        " feedback (column 'error')")  # fmt: skip
    add("--from-time", metavar="TIME", help="take events whose request came then or later: 2026-11-21T17:00:00Z, or 7d")
    add("--to-time", metavar="TIME", help="take events whose request came before: a time, or an age such as 2h")
    add("--columns", metavar="A,B,C", help="the columns to take, in this order (default: all)")
    add("--category", action="append", default=[], metavar="NAME",
        help="a column that is a category although it holds numbers; may be repeated")  # fmt: skip
    add(
        "--label", metavar="COLUMN", help="what says which rows are outliers: a column, an array of the .npz, or a file"
    )
    add("--ordinary", action="append", default=[], metavar="VALUE",
        help="a label of ordinary rows, all others being outliers (default: 0 is ordinary, 1 an outlier)")  # fmt: skip
    add("--time-column", metavar="COLUMN",
        help="when each row was: RFC 3339, or seconds since the epoch (events have their own)")  # fmt: skip
    add("--header", type=Header, choices=list(Header), default=Header.AUTO, metavar="auto|yes|no",
        help="whether a CSV file's first line names columns (default: where no cell of it is a number)")  # fmt: skip
    add("--data-limit", type=parse_size, default=LIMIT_BYTES, metavar="SIZE",
        help="of all values as float64 (default: 4Gi)")  # fmt: skip


def data_of(arguments: argparse.Namespace, clock: Clock, allow_missing: bool = True) -> Data:
    """What the flags say. Raises `ConfigurationError`."""
    if bool(arguments.data) == bool(arguments.from_events):
        raise ConfigurationError("give rows with --data FILE, or logged events with --from-events PATH")
    reading = Reading(
        columns=_names(arguments.columns),
        categories=frozenset(arguments.category),
        label=arguments.label,
        time=arguments.time_column,
        ordinary=frozenset(arguments.ordinary),
        header=arguments.header,
        limit_bytes=arguments.data_limit,
    )
    if reading.label in {*reading.columns, *reading.categories} and reading.label is not None:
        raise ConfigurationError(f"column {reading.label!r} is the label: it is no feature as well")
    if reading.time is not None and reading.time in {*reading.columns, *reading.categories, reading.label}:
        raise ConfigurationError(f"column {reading.time!r} is the time: it is no feature and no label as well")
    return Data(tuple(arguments.data), _stretch(arguments, clock), reading, allow_missing)


def _names(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in next(csv.reader([text]))) if text else ()
    if len(set(names)) < len(names) or "" in names:
        raise ConfigurationError("--columns names a column twice, or one without a name")
    return names


def _stretch(arguments: argparse.Namespace, clock: Clock) -> Stretch | None:
    if arguments.from_events is None:
        if arguments.from_time or arguments.to_time:
            raise ConfigurationError("--from-time and --to-time choose among --from-events")
        return None
    from wayside.eventing.broker.events.instants import parse_instant  # pure, and only logs have times

    times = (arguments.from_time, arguments.to_time)
    from_ns, to_ns = (None if text is None else parse_instant(text, clock.time_ns()) for text in times)
    return Stretch(arguments.from_events, Side(arguments.on), from_ns, to_ns)


def read_data(data: Data) -> tuple[Rows, list[str]]:
    """As `read_rows`, with the rows checked: none is infinite, and none misses a value where none may be missing."""
    rows, told = read_rows(data)
    check_finite(rows.table, ", ".join(origin.name for origin in rows.origins)[:256], data.allow_missing)
    return rows, told


def read_rows(data: Data) -> tuple[Rows, list[str]]:
    """The rows, and what there is to tell people of how they were found. Raises `ConfigurationError`."""
    if data.stretch is None:
        return read_files(data.files, data.reading), []
    logged = read_stretch(data.stretch, data.reading)
    told = [f"read {describe_outcomes(logged.outcomes)}"]
    return logged.rows, [*told, *([f"first refused: {logged.first_refused}"] if logged.first_refused else [])]


def parse_rate(text: str) -> float:
    """`10000 per hour` as rows a second. Raises `ConfigurationError`."""
    match = _RATE.fullmatch(text.lower())
    if match is None or not float(match[1]):
        raise ConfigurationError(f"--expect-rows {text[:64]!r}: write it as '10000 per hour'")
    return float(match[1]) / _UNITS_S[match[2]]
