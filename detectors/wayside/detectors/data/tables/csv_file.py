"""Comma-separated values.

Source: RFC 4180, as Python's csv reads it.
Invariant: a cell that is empty or reads as NaN is missing; one that reads as a number is that number, never rounded; a
column of texts is a category. The file is read once, a part at a time.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.data.tables.builder import Cell, TableBuilder
from wayside.detectors.data.tables.reading import Header, Reading, located
from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

_PART_ROWS = 4096
_OTHER_MARKS = (";", "\t")
_EXACT = 9.0e15  # below 2^53: every whole number up to it is one that float64 holds
_WHOLE = re.compile(r"[+-]?\d{1,400}", re.ASCII)  # what has more digits is infinite as a float
_WHOLE_FLOAT = re.compile(r"([+-]?\d+)\.0+", re.ASCII)


@dataclass(slots=True)
class Rows:
    """Some rows of a file, and the line that each ended on."""

    cells: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_csv(path: Path, reading: Reading) -> Table:
    """Raises `ConfigurationError` that names the line and the column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(str(path), csv.reader(file, strict=True), reading)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigurationError(f"cannot read {path}: {exc}") from exc


def _read(where: str, lines: Any, reading: Reading) -> Table:
    numbered = ((lines.line_num, cells) for cells in lines if cells)
    first = next(numbered, None)
    if first is None:
        raise ConfigurationError(f"{where} holds no rows")
    _check_commas(where, first[1])
    names = _names(first[1], reading.header)
    wanted = reading.wanted(names or [str(at) for at in range(len(first[1]))], named=names is not None)
    chosen = None if names is None else [names[at] for at in wanted]
    if not wanted:
        raise ConfigurationError(f"{where} has none of the columns {', '.join(reading.columns)[:256]}")
    builder = reading.builder(chosen, len(wanted))
    for rows in _parts(where, numbered if names else chain([first], numbered), len(first[1])):
        _add(where, builder, wanted, rows)
    if not builder.rows:
        raise ConfigurationError(f"{where} holds no rows")
    return builder.table()


def _check_commas(where: str, cells: Sequence[str]) -> None:
    """Raises `ConfigurationError` where a file's one column looks like several that other marks separate."""
    if len(cells) == 1 and any(mark in cells[0] for mark in _OTHER_MARKS):
        raise ConfigurationError(
            f"{where} has one column, {cells[0][:64]!r}: if it is separated by semicolons or tabs, write it anew with"
            " commas, and its numbers with points"
        )


def _names(cells: Sequence[str], header: Header) -> list[str] | None:
    if header is Header.NO or (header is Header.AUTO and any(not cell.strip() or _is_number(cell) for cell in cells)):
        return None
    return [cell.strip() for cell in cells]


def _parts(where: str, numbered: Iterator[tuple[int, list[str]]], width: int) -> Iterator[Rows]:
    while taken := list(islice(numbered, _PART_ROWS)):
        for line, cells in taken:
            if len(cells) != width:
                raise ConfigurationError(f"{where}, line {line}: {len(cells)} columns where the others have {width}")
        yield Rows([cells for _, cells in taken], [line for line, _ in taken])


def _add(where: str, builder: TableBuilder, wanted: Sequence[int], rows: Rows) -> None:
    by_column = list(zip(*rows.cells, strict=True))
    parts = [_part(by_column[at], column.declared) for at, column in zip(wanted, builder.columns, strict=True)]
    with located(where, lambda at: f"line {rows.lines[at]}"):
        builder.add(parts)


def _part(cells: Sequence[str], is_category: bool) -> Vector | Sequence[Cell]:
    if is_category:
        return [_category(cell.strip()) for cell in cells]
    numbers = _numbers(cells)
    return [_parse(cell.strip()) for cell in cells] if numbers is None else numbers


def _numbers(cells: Sequence[str]) -> Vector | None:
    """All of the cells at once; None where one of them wants a closer look."""
    try:
        numbers = np.array(list(map(float, cells)))
    except ValueError:
        return None
    is_plain = not (np.abs(numbers) >= _EXACT).any() and "_" not in "".join(cells)
    return numbers if is_plain else None


def _parse(text: str) -> Cell:
    """A cell by what it looks like."""
    if not text:
        return None
    if not _is_number(text):
        return text
    return int(text) if _WHOLE.fullmatch(text) else None if _is_nan(text) else float(text)


def _is_number(text: str) -> bool:
    """Whether a text is a number to other programs too: Python alone takes 1_000 for one."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _category(text: str) -> str | None:
    """The text of a declared category: 80.0, which some programs make of 80 where cells are missing, is 80, and nan,
    which they make of what is missing, is missing."""
    whole = _WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else None if not text or _is_nan(text) else text


def _is_nan(text: str) -> bool:
    return text.lower().lstrip("+-") == "nan"
