"""Rows of payloads, one payload after another, as one growing table.

Invariant: a payload, or a column, is taken whole or not at all; the first that is taken says which columns there are.
Columns are named where payloads name them, so that what is fitted finds its features where the service finds them.
"""

from collections.abc import Sequence
from dataclasses import replace

from wayside.detectors.data.tables.builder import Cell, Refused, TableBuilder
from wayside.detectors.data.tables.reading import Reading
from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays import to_array, to_matrix
from wayside.eventing.payloads.payload import Column, Datatype, Payload

Part = Vector | Sequence[Cell]


class PayloadRows:
    """The table of the payloads that were added."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._builder: TableBuilder | None = None
        self._known: tuple[str, ...] = ()
        self._wanted: list[int] = []

    @property
    def rows(self) -> int:
        return 0 if self._builder is None else self._builder.rows

    def add(self, payload: Payload) -> int:
        """Add a payload's rows; returns how many. Raises `MalformedPayload` where they are not like those before."""
        if not payload.rows:
            raise MalformedPayload("payload has no rows")
        self._add(*_parts_of(payload))
        return payload.rows

    def add_column(self, name: str, values: Vector) -> int:
        """Add rows of one column of numbers, where no payload tells it; returns how many. Raises `MalformedPayload`."""
        if not len(values):
            raise MalformedPayload("there are no rows")
        self._add((name,), [values])
        return len(values)

    def _add(self, names: tuple[str, ...] | None, parts: Sequence[Part]) -> None:
        known = names or tuple(str(at) for at in range(len(parts)))
        if self._builder is None:
            self._begin(names, known)
        if set(known) != set(self._known):
            raise MalformedPayload(f"rows have columns {_show(known)}, those before them {_show(self._known)}")
        assert self._builder is not None
        place = {name: at for at, name in enumerate(known)}
        chosen = [self._known[at] for at in self._wanted]
        try:
            self._builder.add([parts[place[name]] for name in chosen])
        except Refused as exc:
            raise MalformedPayload(f"row {exc.row}, {exc}") from exc

    def table(self) -> Table | None:
        """What was added; None where nothing was."""
        return None if self._builder is None or not self._builder.rows else self._builder.table()

    def _begin(self, names: tuple[str, ...] | None, known: tuple[str, ...]) -> None:
        wanted = self._wanted = self._reading.wanted(known, named=names is not None)
        if not wanted:
            raise MalformedPayload(f"rows have columns {_show(known)}, and none of them was asked for")
        self._known = known
        self._builder = self._reading.builder(None if names is None else [names[at] for at in wanted], len(wanted))


def _parts_of(payload: Payload) -> tuple[tuple[str, ...] | None, list[Part]]:
    """A part a column of the table, and the columns' names where the payload has them."""
    if len(payload.columns) == 1:
        return _of_tensor(payload)
    parts: list[Part] = []
    for column in payload.columns:
        found = _columns_of(payload, column)
        if len(found) != 1:
            raise MalformedPayload(f"column {column.name[:64]!r} has {len(found)} values a row beside other columns")
        parts += found
    return tuple(column.name for column in payload.columns), parts


def _of_tensor(payload: Payload) -> tuple[tuple[str, ...] | None, list[Part]]:
    column = payload.columns[0]
    parts = _columns_of(payload, column)
    if len(column.features) == len(parts):
        return column.features, parts
    is_named = payload.has_objects and len(parts) == 1
    return (column.name,) if is_named else None, parts


def _columns_of(payload: Payload, column: Column) -> list[Part]:
    if column.datatype is not Datatype.BYTES:
        matrix: Matrix = to_matrix(replace(payload, columns=(column,)))
        return list(matrix.T)
    cells = to_array(column).reshape(payload.rows, -1)
    if cells.dtype.kind != "O" or any(not isinstance(cell, str | None) for cell in cells.flat):
        raise MalformedPayload(f"column {column.name[:64]!r} holds bytes or times, neither numbers nor texts")
    return [list(each) for each in cells.T]


def _show(names: Sequence[str]) -> str:
    return f"{', '.join(names[:8])[:256]}{', …' if len(names) > 8 else ''} ({len(names)})"
