"""A table that grows: cells come in columns of a few rows at a time, and each column finds out what it holds.

Invariant: a column holds numbers or texts, by its first cell that is not missing, and what is of the other sort is
refused with its place; a column that is declared a category takes both. A number that float64 would round is refused.
"""

from array import array
from collections.abc import Collection, Sequence
from enum import Enum

import numpy as np

from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.tabular.schema import MOST_CATEGORIES, MOST_COLUMNS
from wayside.detectors.tabular.table import Table, recode
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import ConfigurationError, MalformedEvent, WaysideError

Cell = str | float | bool | None
LIMIT_BYTES = 4 << 30  # of values, unless a user allows more
_EXACT = float(1 << 53)
_DECLARE = "if the column is a category, say so with --category"
_NAME_TIME = "it holds times: name it with --time-column"
_SHOWN = 32
_LATEST_S = 253_402_300_800.0  # the end of the year 9999: milliseconds are beyond it


class Refused(WaysideError):
    """A cell that its column cannot hold: which row of those that came together, from 0, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row = row


class Holds(Enum):
    """What a column holds; nobody knows before its first cell."""

    UNKNOWN = "unknown"
    NUMBERS = "numbers"
    TEXTS = "texts"


class Column:
    """One growing column, eight bytes a cell. `declared` says that it is a category, whatever its cells look like."""

    def __init__(self, declared: bool = False) -> None:
        self.declared = declared
        self._holds = Holds.TEXTS if declared else Holds.UNKNOWN
        self._values = array("d")
        self._codes: dict[str, int] = {}

    def add_cells(self, cells: Sequence[Cell]) -> None:
        """Cells of any sort; None is missing. Raises `Refused`."""
        if self._holds is Holds.UNKNOWN:
            first = next((cell for cell in cells if cell is not None), None)
            self._holds = _sort_of(first)
        read = self._code if self._holds is Holds.TEXTS else _number
        self._values.extend([read(at, cell) for at, cell in enumerate(cells)])

    def add_numbers(self, numbers: Vector) -> None:
        """Numbers at once, NaN for what is missing. Raises `Refused`."""
        if self._holds is Holds.TEXTS or (self._holds is Holds.UNKNOWN and np.isnan(numbers).all()):
            self.add_cells([None if number != number else number for number in numbers.tolist()])
            return
        self._holds = Holds.NUMBERS
        self._values.frombytes(np.ascontiguousarray(numbers, np.float64).tobytes())

    def cut(self, rows: int) -> None:
        """Forget all but the first rows."""
        del self._values[rows:]

    def finish(self) -> tuple[Vector, tuple[str, ...] | None]:
        """The values, and for a category its texts in order, whose indices the values are."""
        values = np.frombuffer(self._values, np.float64)
        if self._holds is not Holds.TEXTS:
            return values, None
        used = {int(code) for code in np.unique(values[~np.isnan(values)])}
        texts = sorted(text for text, code in self._codes.items() if code in used)
        place = {text: code for code, text in enumerate(texts)}
        return recode(values, [place.get(text, 0) for text in self._codes]), tuple(texts)

    def _code(self, at: int, cell: Cell) -> float:
        if cell is None:
            return np.nan
        if not isinstance(cell, str):
            if not self.declared:
                raise Refused(at, f"{cell!r} is a number where other rows have texts: {_DECLARE}")
            cell = number_text(_number(at, cell))
        code = self._codes.setdefault(cell, len(self._codes))
        if code >= MOST_CATEGORIES:
            advice = _NAME_TIME if is_time(cell) else "leave the column out"
            raise Refused(at, f"there are more than {MOST_CATEGORIES} different texts: {advice}")
        return code


class TimeColumn(Column):
    """A column of times: RFC 3339, or seconds since the epoch; it holds the latter, to the microsecond."""

    def add_cells(self, cells: Sequence[Cell]) -> None:
        self._holds = Holds.NUMBERS
        self._values.extend([_time_s(at, cell) for at, cell in enumerate(cells)])

    def add_numbers(self, numbers: Vector) -> None:
        self.add_cells(numbers.tolist())


def _time_s(at: int, cell: Cell) -> float:
    """Raises `Refused`."""
    if isinstance(cell, str):
        try:
            return round(parse_time(cell) / 1000) / 1e6
        except MalformedEvent as exc:
            raise Refused(at, f"{exc}: write times so, or as seconds since the epoch") from exc
    time_s = _number(at, cell)
    if not abs(time_s) < _LATEST_S:  # NaN is not
        raise Refused(at, f"{cell!r} is no time in seconds since the epoch")
    return time_s


def is_time(text: str) -> bool:
    """Whether a text is a time as RFC 3339 writes it."""
    try:
        parse_time(text)
    except MalformedEvent:
        return False
    return True


def _sort_of(cell: Cell) -> Holds:
    if cell is None:
        return Holds.UNKNOWN
    return Holds.TEXTS if isinstance(cell, str) else Holds.NUMBERS


def _number(at: int, cell: Cell) -> float:
    """A cell of a column of numbers. Raises `Refused`."""
    if cell is None:
        return np.nan
    if not isinstance(cell, int | float):
        if not isinstance(cell, str):
            raise Refused(at, "a list or an object is no value of a column")
        advice = _NAME_TIME if is_time(cell) else _DECLARE
        raise Refused(at, f"{cell[:_SHOWN]!r} is no number, as other rows have: {advice}")
    try:
        value = float(cell)
    except OverflowError as exc:
        raise Refused(at, "an integer is too large for float64") from exc
    if isinstance(cell, int) and abs(value) >= _EXACT and int(value) != cell:
        raise Refused(at, f"float64 would round {cell}")
    return value


def number_text(value: float) -> str:
    """A number as the text of a category: 3.0 is '3', as it is where a payload sends a number for one."""
    return str(int(value)) if value.is_integer() else repr(value)


class TableBuilder:
    """Columns that grow together. `names` is None where columns are known by position; `categories` are declared,
    `time` is the column of times.

    Raises `ConfigurationError` where there are more columns than a schema may have.
    """

    def __init__(
        self,
        names: Sequence[str] | None,
        width: int,
        categories: Collection[str | None] = (),
        limit_bytes: int = LIMIT_BYTES,
        time: str | None = None,
    ) -> None:
        if not 0 < width <= MOST_COLUMNS:
            raise ConfigurationError(f"rows have {width} columns: 1 to {MOST_COLUMNS} can be fitted on")
        self.names = None if names is None else tuple(names)
        known = self.names or [str(at) for at in range(width)]
        self.columns = tuple(TimeColumn() if name == time else Column(name in categories) for name in known)
        self.rows = 0
        self._limit_bytes = limit_bytes

    def add(self, parts: Sequence[Vector | Sequence[Cell]]) -> None:
        """Some rows, a part a column, all of one length. Raises `Refused`, and then holds none of them.

        Raises `ConfigurationError` where they are more than may be held.
        """
        rows = self.rows + len(parts[0])
        check_size(rows, len(self.columns), self._limit_bytes)
        for at, (column, part) in enumerate(zip(self.columns, parts, strict=True)):
            try:
                column.add_numbers(part) if isinstance(part, np.ndarray) else column.add_cells(part)
            except Refused as exc:
                for each in self.columns:
                    each.cut(self.rows)
                raise Refused(exc.row, f"{self.name(at)}: {exc}") from exc
        self.rows = rows

    def name(self, at: int) -> str:
        """A column, for people."""
        return f"column {at + 1}" if self.names is None else f"column {self.names[at][:64]!r}"

    def table(self) -> Table:
        """What came; columns of texts have names, by position from 0 where they had none, as payloads name them."""
        parts = [column.finish() for column in self.columns]
        categories = {at: texts for at, (_, texts) in enumerate(parts) if texts is not None}
        names = self.names
        if categories and names is None:
            names = tuple(str(at) for at in range(len(parts)))
        return Table(np.stack([values for values, _ in parts], axis=1), names, categories)


def check_size(rows: int, columns: int, limit_bytes: int) -> None:
    """Raises `ConfigurationError` where so many float64 values are beyond the limit."""
    if rows * columns * 8 > limit_bytes:
        raise ConfigurationError(
            f"{rows} rows of {columns} columns are more than {limit_bytes >> 20} MiB of values:"
            " choose columns with --columns, give fewer rows, or allow more with --data-limit"
        )
