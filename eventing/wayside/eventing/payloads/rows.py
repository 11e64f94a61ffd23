"""Rows as columns: a list of rows, with nothing that says what is in them, as typed columns.

Source: KServe's V1 protocol and TensorFlow Serving's row format leave a row's form to the model; our table of decisions
is in docs/payloads.md.
Invariant: every row is in every column, in the order of the list. Building columns takes time linear in what was sent:
objects that share few names do not become a wide table of nulls.
"""

from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any, Final, NamedTuple

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Column, Datatype, Limits, NumberBlock, Tree
from wayside.eventing.payloads.tensors import check_rows, column_of, columns_of, is_b64, json_column

_NUMBERS: Final = {int, float, NoneType}
_CELLS_A_MEMBER: Final = 8
_CELLS_ALWAYS: Final = 100_000


class Table(NamedTuple):
    """Columns, and whether their names are the sender's."""

    columns: tuple[Column, ...]
    named: bool


def table_of(name: str, rows: Sequence[Tree] | NumberBlock, limits: Limits) -> Table:
    """The columns of a list of rows; `name` is of the one column where rows name none.

    Objects give a column a member, null where a row has none of that name. Flat lists of one length that have one type
    at each position, but not the same at all, give the columns "0", "1", …. All else is one column.

    Raises `MalformedPayload` for more rows or columns than the limits, and for base64 that is none.
    """
    if not isinstance(rows, NumberBlock) and _are_objects(rows):
        check_rows(rows, limits)
        return _of_objects(name, rows, limits)
    column = column_of(name, rows, limits)
    if column.datatype is Datatype.JSON and not isinstance(rows, NumberBlock):
        by_position = _by_position(rows, limits)
        if by_position is not None:
            return by_position
    return Table((column,), named=False)


def _are_objects(rows: Sequence[Tree]) -> bool:
    return set(map(type, rows)) == {dict} and not all(map(is_b64, rows))


def _of_objects(name: str, rows: Sequence[dict[str, Tree]], limits: Limits) -> Table:
    names = list(dict.fromkeys(chain.from_iterable(rows)))
    if len(names) * len(rows) > max(_CELLS_ALWAYS, _CELLS_A_MEMBER * sum(map(len, rows))):
        return Table((json_column(name, rows, "rows are objects that share few names"),), named=False)
    if not names:
        return Table((json_column(name, rows, "rows are empty objects"),), named=False)
    if len(names) > limits.columns:
        raise MalformedPayload(f"rows have {len(names)} names, the limit is {limits.columns} columns")
    return Table(columns_of(((each, [row.get(each) for row in rows]) for each in names), limits), named=True)


def _by_position(rows: Sequence[Any], limits: Limits) -> Table | None:
    """A column a position, or None where a position has no one type."""
    if set(map(type, rows)) != {list} or len(set(map(len, rows))) > 1 or not 0 < len(rows[0]) <= limits.columns:
        return None
    types = set(map(type, chain.from_iterable(rows)))
    if types <= _NUMBERS or list in types:  # numbers that no one type holds are not told apart by position
        return None
    columns = columns_of(((str(at), values) for at, values in enumerate(zip(*rows, strict=True))), limits)
    mixed = any(
        column.datatype is Datatype.JSON and any(v is not None for v in column.row_values()) for column in columns
    )
    return None if mixed else Table(columns, named=True)
