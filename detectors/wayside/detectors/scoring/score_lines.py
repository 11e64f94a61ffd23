"""What `wayside score` writes: a line a row, or a window, as JSON or as CSV.

Invariant: every row of the data, or window, has one line, in order; JSON holds no NaN and no infinity. A file is
written whole or not at all, and is none of the data.
"""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from wayside.detectors.data.console import OutputFailed
from wayside.eventing.errors import ConfigurationError

STDOUT = "-"
SUFFIXES = (".jsonl", ".ndjson", ".csv")


class ScoredRow(NamedTuple):
    """One row by its number from 0. `error` says why there is no score; a row that was not judged has no decision."""

    row: int
    score: float | None
    p_value: float | None
    decision: bool | None
    error: str | None = None


class Write(Protocol):
    """Takes lines as they are scored: named tuples of numbers, texts, truths, None, or tuples of texts."""

    def __call__(self, rows: Sequence[Any]) -> None: ...


def check_target(target: str, sources: Iterable[Path]) -> str:
    """`-`, or a file whose name ends in one of the formats and that is none of the sources, nor lies in one that is a
    folder. Raises `ConfigurationError`."""
    if target == STDOUT:
        return target
    if Path(target).suffix not in SUFFIXES:
        raise ConfigurationError(f"--out {target!r} is neither - nor a {', '.join(SUFFIXES)} file")
    if any(Path(target).resolve().is_relative_to(source.resolve()) for source in sources):
        raise ConfigurationError(f"--out {target!r} is among the data: name another file")
    return target


@contextmanager
def open_lines(target: str, fields: Sequence[str] = ScoredRow._fields) -> Iterator[Write]:
    """Where lines of these fields go: JSON lines on stdout, or a file, which is replaced once all are there.

    Raises `ConfigurationError` where it cannot be made, and `OutputFailed` where it cannot be written to its end.
    `BrokenPipeError` says that whoever read stdout has gone.
    """
    if target == STDOUT:
        with _writing("to stdout"):
            yield _json_lines(sys.stdout)
            sys.stdout.flush()
        return
    part = Path(target).with_name(f".{Path(target).name}.part")
    try:
        file = part.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise ConfigurationError(f"cannot write {target}: {exc.strerror or exc}") from exc
    try:
        with _writing(target):
            with file:
                yield _csv_lines(file, fields) if target.endswith(".csv") else _json_lines(file)
            os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _writing(where: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OutputFailed(f"cannot write {where}: {exc.strerror or exc}") from exc


def _json_lines(file: IO[str]) -> Write:
    def write(rows: Sequence[Any]) -> None:
        file.write("".join(json.dumps(row._asdict(), allow_nan=False) + "\n" for row in rows))

    return write


def _csv_lines(file: IO[str], fields: Sequence[str]) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)

    def write(rows: Sequence[Any]) -> None:
        writer.writerows([_cell(value) for value in row] for row in rows)

    return write


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return "; ".join(value)
    return str(value).lower() if isinstance(value, bool) else value
