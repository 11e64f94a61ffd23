"""Parquet. Needs the extra `parquet`.

Source: Apache Parquet format 2.9, through Arrow.
Invariant: a null is missing, texts and dictionaries of texts are categories; a column of another type is refused by its
name, unless it is not among those that were chosen. The file is read a part at a time.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.data.tables.builder import Cell, Refused, TableBuilder
from wayside.detectors.data.tables.reading import Reading, located
from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.eventing.payloads.datatypes import EXACT_LIMIT

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as exc:
    raise MissingExtra("Parquet", "parquet") from exc

_PART_ROWS = 1 << 15
_EXACT_DIGITS = 15  # decimals of so many digits come back from float64 as they were


def read_parquet(path: Path, reading: Reading) -> Table:
    """Raises `ConfigurationError` that names the column."""
    try:
        with pq.ParquetFile(path) as file:
            return _read(str(path), file, reading)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except pa.ArrowException as exc:
        raise ConfigurationError(f"cannot read {path}: {str(exc).splitlines()[0]}") from exc


def column_names(path: Path) -> list[str]:
    """The names of a file's columns. Raises `ConfigurationError`."""
    try:
        names: list[str] = pq.read_schema(path).names
    except (OSError, pa.ArrowException) as exc:
        raise ConfigurationError(f"cannot read {path}: {str(exc).splitlines()[0]}") from exc
    return names


def first_row(path: Path) -> dict[str, Any]:
    """The first row's values by their columns; empty where there is none. Raises `OSError` or `ArrowException`."""
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(batch_size=1), None)
        rows: list[dict[str, Any]] = [] if batch is None else batch.to_pylist()
    return rows[0] if rows else {}


def _read(where: str, file: pq.ParquetFile, reading: Reading) -> Table:
    schema = file.schema_arrow
    names = [schema.names[at] for at in reading.wanted(schema.names, named=True)]
    if not names:
        raise ConfigurationError(f"{where} has none of the columns that were asked for")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"{where} has two columns named {twice[:64]!r}: rename one")
    for name in names:
        _check_type(where, schema.field(name))
    builder = reading.builder(names, len(names))
    for batch in file.iter_batches(batch_size=_PART_ROWS, columns=names):
        _add(where, builder, batch)
    if not builder.rows:
        raise ConfigurationError(f"{where} holds no rows")
    return builder.table()


def _check_type(where: str, field: pa.Field) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    takes = (
        *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal),
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_null),
    )
    if not any(take(kind) for take in takes):
        raise ConfigurationError(
            f"{where}, column {field.name[:64]!r} is {kind}, neither numbers nor texts: choose others with --columns"
        )


def _add(where: str, builder: TableBuilder, batch: pa.RecordBatch) -> None:
    assert builder.names is not None
    first = builder.rows
    with located(where, lambda at: f"row {first + at}"):
        builder.add([_part(f"column {name[:64]!r}", batch.column(name)) for name in builder.names])


def _part(which: str, column: pa.Array) -> Vector | Sequence[Cell]:
    """A column's values of some rows. Raises `Refused`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts: list[Cell] = column.to_pylist()
        return texts
    if pa.types.is_integer(column.type) and _has_large(column):
        return _exact(which, column.to_pylist())
    if pa.types.is_decimal(column.type) and column.type.precision > _EXACT_DIGITS:
        return _exact(which, column.to_pylist())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    numbers = column.cast(pa.float64(), safe=False).fill_null(float("nan"))
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


def _has_large(column: pa.Array) -> bool:
    present = column.drop_null().to_numpy(zero_copy_only=False)
    return bool(len(present)) and not -EXACT_LIMIT <= int(present.min()) <= int(present.max()) <= EXACT_LIMIT


def _exact(which: str, values: Sequence[Decimal | int | None]) -> Vector:
    """Numbers of any precision; each is a float64, or what a float64 is written as. Raises `Refused`."""
    numbers = np.full(len(values), np.nan)
    for at, value in enumerate(values):
        if value is None:
            continue
        numbers[at] = number = float(value)
        if number != value and (isinstance(value, int) or Decimal(repr(number)) != value):
            raise Refused(at, f"{which}: float64 would round {value}")
    return numbers
