"""JSON lines: a row a line, as a list of values or an object of named features, or a payload a line.

Source: jsonlines.org; payloads as `wayside.eventing.payloads` reads them.
Invariant: the first line says which of the three the file holds, and what is another on a later line is refused. An
object of scalars is a row; one that holds lists or objects is a payload. A name that an object lacks is missing in it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from wayside.detectors.data.tables.payload_rows import PayloadRows
from wayside.detectors.data.tables.reading import Reading, located
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.arrays import decode
from wayside.eventing.payloads.payload import Limits, Message, Protocol

_PART_ROWS = 2048
_LIMITS = Limits()
_LINE_LIMIT_BYTES = _LIMITS.inflated_bytes


class Line(NamedTuple):
    """A line that is not empty, and its number from 1."""

    number: int
    text: bytes


def read_json_lines(path: Path, reading: Reading) -> Table:
    """Raises `ConfigurationError` that names the line, and where it can the column."""
    try:
        with path.open("rb") as file:
            lines = numbered_lines(str(path), file)
            first = next(lines, None)
            if first is None:
                raise ConfigurationError(f"{path} holds no rows")
            return _read(str(path), first, lines, reading)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc


def first_object(path: Path) -> Mapping[str, Any]:
    """The first line, where it is an object; else empty. Raises `ConfigurationError`, or `OSError`."""
    with path.open("rb") as file:
        first = next(numbered_lines(str(path), file), None)
    tree = None if first is None else _load(str(path), first)
    return tree if isinstance(tree, dict) else {}


def numbered_lines(where: str, file: IO[bytes]) -> Iterator[Line]:
    """The lines of a binary file, one at a time. Raises `ConfigurationError` for one that is too long to be held."""
    number = 0
    while text := file.readline(_LINE_LIMIT_BYTES + 1):
        number += 1
        if len(text) > _LINE_LIMIT_BYTES:
            raise ConfigurationError(f"{where}, line {number}: it has more than {_LINE_LIMIT_BYTES >> 20} MiB")
        if text.strip():
            yield Line(number, text)


def _read(where: str, first: Line, lines: Iterator[Line], reading: Reading) -> Table:
    tree, lines = _load(where, first), chain([first], lines)
    if isinstance(tree, dict) and not _has_parts(tree.values()):
        return _Rows(where, tuple(tree), True, partial(_of_object, tuple(tree), frozenset(tree))).read(lines, reading)
    if isinstance(tree, list) and not _has_parts(tree):
        known = tuple(str(at) for at in range(len(tree)))
        return _Rows(where, known, False, partial(_of_list, len(tree))).read(lines, reading)
    if isinstance(tree, list | dict):
        return _read_payloads(where, lines, reading)
    raise ConfigurationError(f"{where}, line {first.number}: neither a list, nor an object, nor a payload")


def _has_parts(values: Iterable[Any]) -> bool:
    return any(isinstance(value, list | dict) for value in values)


def _load(where: str, line: Line) -> Any:
    try:
        return json_body.load(line.text, _LIMITS)
    except MalformedPayload as exc:
        raise ConfigurationError(f"{where}, line {line.number}: {exc}") from exc


def _of_list(width: int, tree: Any) -> Sequence[Any]:
    if not isinstance(tree, list) or len(tree) != width:
        what = f"{len(tree)} values" if isinstance(tree, list) else "no list"
        raise MalformedPayload(f"{what} where others have {width} values")
    return tree


def _of_object(known: Sequence[str], names: Set[str], tree: Any) -> Sequence[Any]:
    if not isinstance(tree, dict):
        raise MalformedPayload("no object, as the first line is")
    unknown = tree.keys() - names
    if unknown:
        raise MalformedPayload(f"the first line has no feature {min(unknown)[:64]!r}")
    return [tree.get(name) for name in known]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Lines that are rows of one form: `cells_of` takes one apart, in the order of the columns that are known."""

    where: str
    known: tuple[str, ...]
    named: bool
    cells_of: Callable[[Any], Sequence[Any]]

    def read(self, lines: Iterator[Line], reading: Reading) -> Table:
        wanted = reading.wanted(self.known, self.named)
        if not wanted:
            raise ConfigurationError(f"{self.where} has none of the columns that were asked for")
        builder = reading.builder([self.known[at] for at in wanted] if self.named else None, len(wanted))
        while part := list(islice(lines, _PART_ROWS)):
            by_column = list(zip(*map(self._cells, part), strict=True))
            with located(self.where, lambda at, part=part: f"line {part[at].number}"):  # type: ignore[misc]
                builder.add([by_column[at] for at in wanted])
        return builder.table()

    def _cells(self, line: Line) -> Sequence[Any]:
        tree = _load(self.where, line)
        try:
            return self.cells_of(tree)
        except MalformedPayload as exc:
            raise ConfigurationError(f"{self.where}, line {line.number}: {exc}") from exc


def _read_payloads(where: str, lines: Iterator[Line], reading: Reading) -> Table:
    rows = PayloadRows(reading)
    for line in lines:
        protocol = Protocol.JSON if line.text.lstrip().startswith(b"[") else None
        try:
            rows.add(decode(Message(line.text, protocol=protocol)))
        except MalformedPayload as exc:
            raise ConfigurationError(f"{where}, line {line.number}: {exc}") from exc
    table = rows.table()
    assert table is not None, "a payload was added"
    return table
