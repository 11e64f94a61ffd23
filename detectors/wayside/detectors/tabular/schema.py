"""The input schema of an artifact: which columns a detector is given, and how a payload or a table becomes them.

Invariant: whatever comes in, a coded matrix has the schema's columns in the schema's order: numbers as they are, a
category as its index (`len(categories)` for one that was never seen), and NaN for what is missing. What is read by an
`align…` may hold rows that do not fit, which `misfits` and `faults` tell; what is read by an `encode…` holds none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Matrix, Vector
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, MalformedPayload
from wayside.eventing.payloads.arrays import to_array, to_matrix
from wayside.eventing.payloads.payload import Column, Datatype, FlatList, Payload

MOST_COLUMNS = 1 << 20
MOST_CATEGORIES = 1 << 12  # a column; each becomes a feature, and so many are no longer categories but names


class ColumnType(StrEnum):
    NUMBER = "number"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """One column. `name` is None where columns go by position; `missing` says whether a value may be absent."""

    name: str | None
    type: ColumnType = ColumnType.NUMBER
    categories: tuple[str, ...] = ()
    missing: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns in order: all of them named, or none of them."""

    columns: tuple[ColumnSchema, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(names) > MOST_COLUMNS:
            raise ValueError(f"a schema has 1 to {MOST_COLUMNS} columns, not {len(names)}")
        if any(name is not None for name in names) and (None in names or len(set(names)) < len(names)):
            raise ValueError("a schema names each of its columns, by names that differ, or none of them")
        if self.categorical and self.names is None:
            raise ValueError("a schema with categories names its columns")
        for at in self.categorical:
            count = len(self.columns[at].categories)
            if count > MOST_CATEGORIES:
                raise ValueError(f"{self.describe(at)} has {count} categories, {MOST_CATEGORIES} are the most")

    @classmethod
    def of(cls, table: Table) -> Self:
        """The schema of what a detector is fitted on. Raises `ConfigurationError` where it can have none."""
        names: Sequence[str | None] = table.names or [None] * table.values.shape[1]
        missing = np.asarray(np.isnan(table.values).any(axis=0)).tolist()
        try:
            return cls(
                tuple(
                    ColumnSchema(name, _type_of(at, table), tuple(table.categories.get(at, ())), missing[at])
                    for at, name in enumerate(names)
                )
            )
        except ValueError as exc:
            raise ConfigurationError(f"the data cannot be fitted on: {exc}") from exc

    @classmethod
    def of_width(cls, features: int) -> Self:
        """So many numbers by position, none of them missing."""
        return cls(tuple(ColumnSchema(None) for _ in range(features)))

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        names = tuple(column.name for column in self.columns if column.name is not None)
        return names or None

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the columns that hold categories."""
        return tuple(at for at, column in enumerate(self.columns) if column.type is ColumnType.CATEGORY)

    @cached_property
    def _may_miss(self) -> NDArray[np.bool_]:
        return np.array([column.missing for column in self.columns])

    def describe(self, at: int) -> str:
        """A column, for people."""
        name = self.columns[at].name
        return f"column {at + 1}" if name is None else f"column {name[:64]!r}"

    def encode(self, payload: Payload) -> Matrix:
        """The rows of a payload as a coded matrix, shape (rows, columns), a fresh array.

        Raises `MalformedPayload` that names the column, and where it can the row: a wrong width, a column that is
        absent or of another type, no row, a value that is not finite where none may be missing.
        """
        matrix = self.align(payload)
        self._check_finite(matrix)
        return matrix

    def align(self, payload: Payload) -> Matrix:
        """As `encode`, with the values that do not fit, which `faults` tells, left where they are."""
        payload = _nulls_as_numbers(payload)
        if not self.categorical:
            return to_matrix(payload, len(self.columns), self.names)
        return self._encode_columns(payload)

    def encode_table(self, table: Table) -> Matrix:
        """The rows of a table as a coded matrix. Raises `ConfigurationError` where they are not of this schema."""
        matrix = self.align_table(table)
        try:
            self._check_finite(matrix)
        except MalformedPayload as exc:
            raise ConfigurationError(f"the data is not what the detector was fitted on: {exc}") from exc
        return matrix

    def align_table(self, table: Table) -> Matrix:
        """As `encode_table`, with the values that do not fit, which `misfits` tells, left where they are."""
        try:
            return self._take_columns(table)
        except MalformedPayload as exc:
            raise ConfigurationError(f"the data is not what the detector was fitted on: {exc}") from exc

    def misfits(self, matrix: Matrix) -> NDArray[np.bool_]:
        """Where a coded matrix, shape (n, columns), is infinite, or misses a value that may not be missing."""
        bad: NDArray[np.bool_] = np.isinf(matrix) | (np.isnan(matrix) & ~self._may_miss)
        return bad

    def faults(self, matrix: Matrix) -> dict[int, str]:
        """What is wrong with each row of a coded matrix that does not fit, by its position: its first misfit."""
        rows, columns = np.nonzero(self.misfits(matrix))
        bad, firsts = np.unique(rows, return_index=True)
        places = zip(bad.tolist(), columns[firsts].tolist(), strict=True)
        return {row: self._fault(at, matrix[row, at]) for row, at in places}

    def _fault(self, at: int, value: float) -> str:
        what = "is missing or not a number" if np.isnan(value) else "is infinite"
        return f"{self.describe(at)}: the value {what}, which the detector was not fitted on"

    def _take_columns(self, table: Table) -> Matrix:
        if table.names is None or self.names is None:
            return self._take_by_position(table)
        missing = [name for name in self.names if name not in table.names]
        if missing:
            raise MalformedPayload(f"it has no column {missing[0]!r}")
        parts = [self._recode(at, table, table.names.index(name)) for at, name in enumerate(self.names)]
        return np.stack(parts, axis=1)

    def _take_by_position(self, table: Table) -> Matrix:
        if table.values.shape[1] != len(self.columns):
            raise MalformedPayload(f"rows have {table.values.shape[1]} features, not {len(self.columns)}")
        return np.stack([self._recode(at, table, at) for at in range(len(self.columns))], axis=1)

    def _recode(self, at: int, table: Table, where: int) -> Vector:
        """A column of a table, its categories by this schema's indices."""
        values, texts = table.values[:, where], table.categories.get(where)
        column = self.columns[at]
        if column.type is ColumnType.CATEGORY:
            return self._codes(at, _texts(values) if texts is None else _names_of(values, texts))
        if texts is not None:
            raise MalformedPayload(f"{self.describe(at)} holds texts, not numbers")
        return values

    def _encode_columns(self, payload: Payload) -> Matrix:
        if not payload.rows:
            raise MalformedPayload("payload has no rows")
        found = {column.name: column for column in payload.columns}
        assert self.names is not None, "a schema with categories has names"
        missing = [name for name in self.names if name not in found]
        if missing:
            raise MalformedPayload(f"payload has no feature {missing[0]!r}: it has {', '.join(map(repr, found))[:256]}")
        parts = [self._encode_column(at, found[name], payload) for at, name in enumerate(self.names)]
        return np.stack(parts, axis=1)

    def _encode_column(self, at: int, column: Column, payload: Payload) -> Vector:
        if self.columns[at].type is ColumnType.NUMBER:
            assert column.name is not None
            return to_matrix(payload, 1, [column.name])[:, 0]
        values = to_array(column)
        if values.size != payload.rows:
            raise MalformedPayload(f"{self.describe(at)} has {values.size} values in {payload.rows} rows")
        flat = values.reshape(payload.rows)
        are_exact = flat.dtype == np.object_ or np.issubdtype(flat.dtype, np.integer)  # a float64 would round 2⁵³ + 1
        return self._codes(at, flat.tolist() if are_exact else _texts(flat.astype(np.float64)))

    def _codes(self, at: int, texts: Sequence[object]) -> Vector:
        codes = self._code_of[at]
        unseen = len(codes)
        return np.array(
            [
                np.nan if text is None else codes.get(text if isinstance(text, str) else str(text), unseen)
                for text in texts
            ],
            np.float64,
        )

    @cached_property
    def _code_of(self) -> Mapping[int, Mapping[str, int]]:
        return {at: {text: code for code, text in enumerate(self.columns[at].categories)} for at in self.categorical}

    def _check_finite(self, matrix: Matrix) -> None:
        if b"\0" not in np.isfinite(matrix).tobytes():  # of one row twice as fast as `all`
            return
        bad = self.misfits(matrix)
        if bad.any():
            row, at = np.argwhere(bad)[0].tolist()
            raise MalformedPayload(f"row {row}, {self._fault(at, matrix[row, at])}")


def _nulls_as_numbers(payload: Payload) -> Payload:
    """A column of nulls alone has no type of its own, and says of each row that its value is missing."""
    if not any(_is_null(column) for column in payload.columns):
        return payload
    nulls = FlatList([None] * payload.rows)
    columns = [
        replace(column, datatype=Datatype.FP64, shape=(payload.rows,), values=nulls) if _is_null(column) else column
        for column in payload.columns
    ]
    return replace(payload, columns=tuple(columns))


def _is_null(column: Column) -> bool:
    return column.datatype is Datatype.JSON and all(value is None for value in column.row_values())


def _type_of(at: int, table: Table) -> ColumnType:
    return ColumnType.CATEGORY if at in table.categories else ColumnType.NUMBER


def _texts(values: Array) -> list[str | None]:
    """Numbers as the texts of categories: 3.0 is '3'."""
    return [
        None if np.isnan(value) else str(int(value)) if value.is_integer() else repr(value) for value in values.tolist()
    ]


def _names_of(values: Vector, texts: Sequence[str]) -> list[str | None]:
    return [None if np.isnan(value) else texts[int(value)] for value in values]


def to_json(schema: Schema) -> list[dict[str, Any]]:
    """The schema as `detector.json` holds it."""
    return [
        {
            "name": column.name,
            "type": column.type.value,
            "categories": list(column.categories),
            "missing": column.missing,
        }
        for column in schema.columns
    ]


def from_json(columns: Any) -> Schema:
    """The schema that `to_json` wrote. Raises `ValueError`, `TypeError` or `KeyError` for anything else."""
    return Schema(tuple(_column(fields) for fields in columns))


def _column(fields: Mapping[str, Any]) -> ColumnSchema:
    name, kind, categories = fields["name"], ColumnType(fields["type"]), fields["categories"]
    if not (name is None or isinstance(name, str)) or not isinstance(fields["missing"], bool):
        raise TypeError(f"column {str(fields)[:64]} is not of the form of a column")
    if not isinstance(categories, list) or not all(isinstance(text, str) for text in categories):
        raise TypeError(f"the categories of {str(name)[:64]!r} are not a list of texts")
    if len(set(categories)) < len(categories) or (categories and kind is not ColumnType.CATEGORY):
        raise ValueError(f"the categories of {str(name)[:64]!r} are not each its own, or belong to numbers")
    return ColumnSchema(name, kind, tuple(categories), fields["missing"])
