"""Files as one table: which reader each wants, its columns chosen and ordered, its labels apart.

Invariant: files of equal rows give equal tables, whatever their formats; a file that is no such data is refused with
the place of its first fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.data.tables.builder import number_text
from wayside.detectors.data.tables.csv_file import read_csv
from wayside.detectors.data.tables.json_lines import read_json_lines
from wayside.detectors.data.tables.labels import labels_of, labels_of_column, take_label
from wayside.detectors.data.tables.number_files import array_names, read_array, read_numbers
from wayside.detectors.data.tables.own_texts import check_categories
from wayside.detectors.data.tables.reading import Reading
from wayside.detectors.data.tables.times import take_time
from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.tabular.schema import MOST_CATEGORIES
from wayside.detectors.tabular.table import Table, concatenate
from wayside.eventing.errors import ConfigurationError

_READERS = {".csv": read_csv, ".jsonl": read_json_lines, ".ndjson": read_json_lines}
_ARRAYS = (".npy", ".npz")
SUFFIXES = (*_ARRAYS, *_READERS, ".parquet")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows came from: a file's name without its folder, the SHA-256 of its bytes, and how many rows it gave."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A table, and where its rows came from."""

    table: Table
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """`FILE` or `FILE.npz:ARRAY`, as it was given."""

    path: Path
    array: str | None

    @classmethod
    def of(cls, spec: str) -> "_File":
        head, separator, name = spec.rpartition(":")
        return cls(Path(head), name) if separator and head.endswith(".npz") else cls(Path(spec), None)

    def is_same(self, other: "_File") -> bool:
        return self.array == other.array and self.path.resolve() == other.path.resolve()

    def __str__(self) -> str:
        return f"{self.path}:{self.array}" if self.array else str(self.path)


def path_of(spec: str) -> Path:
    """The file of `FILE` or `FILE.npz:ARRAY`."""
    return _File.of(spec).path


def read_files(specs: Sequence[str], reading: Reading) -> Rows:
    """The rows of files, one after another; `FILE.npz:ARRAY` names an array. Raises `ConfigurationError`."""
    files = [_File.of(spec) for spec in specs]
    _check_files(files)
    label_file = _label_file(files, reading)
    if label_file is not None:
        reading = replace(reading, label=label_file.array if label_file.path == files[0].path else None)
    tables = [_finished(file, reading, label_file is not None) for file in files]
    table = concatenate(tables)
    if label_file is not None:
        table = _with_labels(table, label_file, reading)
    origins = [Origin(file.path.name, _sha256(file.path), len(each)) for file, each in zip(files, tables, strict=True)]
    return Rows(table, tuple(origins))


def _check_files(files: Sequence[_File]) -> None:
    """Raises `ConfigurationError` for what could be waited for without an end, and for rows that would come twice."""
    for number, file in enumerate(files):
        check_regular(file.path)
        if any(file.is_same(other) for other in files[:number]):
            raise ConfigurationError(
                f"{str(file)!r} is given twice: a row that both fits a detector and calibrates it breaks its promise"
            )


def check_regular(path: Path) -> None:
    """Raises `ConfigurationError` where there is something else than a file: a FIFO would wait for its writer. That
    there is nothing is told by whoever reads."""
    try:
        is_other = path.exists() and not path.is_file()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if is_other:
        raise ConfigurationError(f"{path} is no regular file")


def _label_file(files: Sequence[_File], reading: Reading) -> _File | None:
    """Where the labels lie, if not in a column of the data."""
    if reading.label is None:
        return None
    file = _File.of(reading.label)
    if file.path.suffix in SUFFIXES:
        check_regular(file.path)
    if file.path.suffix in SUFFIXES and (file.array or file.path.is_file()):
        return file
    first = files[0].path
    if first.suffix == ".npz" and len(files) == 1 and reading.label in array_names(first):
        return _File(first, reading.label)
    return None


def _read_one(file: _File, reading: Reading) -> Table:
    suffix = file.path.suffix
    if suffix in _ARRAYS:
        return read_numbers(file.path, file.array, reading)
    if suffix in _READERS:
        return _READERS[suffix](file.path, reading)
    if suffix == ".parquet":
        from wayside.detectors.data.tables.parquet_file import read_parquet  # needs the extra `parquet`

        return read_parquet(file.path, reading)
    raise ConfigurationError(f"{str(file)!r} is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")


def _finished(file: _File, reading: Reading, labels_apart: bool) -> Table:
    """The columns that were asked for, in their order; the label's and the time's apart."""
    table = _read_one(file, reading)
    if reading.label is not None and not labels_apart:
        table = take_label(table, reading.label, reading.ordinary)
    if reading.time is not None:
        table = take_time(table, reading.time)
    if reading.columns:
        table = table.select(reading.columns)
    check_categories(table, reading.declared, str(file))
    return with_categories(table, reading.categories)


def with_categories(table: Table, columns: frozenset[str]) -> Table:
    """The table with some columns of numbers as categories, whose texts are those that payloads' numbers have.

    Raises `ConfigurationError` for a column that there is not, or of too many different values.
    """
    places = [at for at in map(table.position, sorted(columns)) if at not in table.categories]
    if not places:
        return table
    values, categories = table.values.copy(), dict[int, tuple[str, ...]](table.categories)
    for at in places:
        values[:, at], categories[at] = _coded(values[:, at], table.known_as[at])
    return replace(table, values=values, names=table.known_as, categories=categories)


def _coded(values: Vector, name: str) -> tuple[Vector, tuple[str, ...]]:
    present = ~np.isnan(values)
    found, inverse = np.unique(values[present], return_inverse=True)
    if len(found) > MOST_CATEGORIES or np.isinf(found).any():
        raise ConfigurationError(
            f"column {name[:64]!r} is no category: {len(found)} different values, or infinite ones"
        )
    texts = [number_text(value) for value in found.tolist()]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    place = np.empty(len(texts))
    place[order] = np.arange(len(texts))
    codes = np.full(len(values), np.nan)
    codes[present] = place[inverse]
    return codes, tuple(texts[at] for at in order)


def _with_labels(table: Table, file: _File, reading: Reading) -> Table:
    if file.path.suffix in _ARRAYS:
        found = labels_of(read_array(file.path, file.array, None, reading.limit_bytes), str(file), reading.ordinary)
    else:
        found = _labels_of_column(file, reading)
    if len(found) != len(table):
        raise ConfigurationError(f"{file} has {len(found)} labels, the data has {len(table)} rows")
    return replace(table, labels=found)


def _labels_of_column(file: _File, reading: Reading) -> NDArray[np.bool_]:
    table = _read_one(file, Reading(header=reading.header, limit_bytes=reading.limit_bytes))
    if table.values.shape[1] != 1:
        raise ConfigurationError(f"{file} has {table.values.shape[1]} columns: a file of labels has one")
    return labels_of_column(table, 0, str(file), reading.ordinary)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc


def check_finite(table: Table, where: str, allow_missing: bool) -> None:
    """Raises `ConfigurationError` that names the first value that is infinite, or missing where none may be."""
    bad = np.isinf(table.values) if allow_missing else ~np.isfinite(table.values)
    if bad.any():
        row, at = np.argwhere(bad)[0].tolist()
        what = "is missing" if np.isnan(table.values[row, at]) else "is not finite"
        rows = int(bad.any(axis=1).sum())
        raise ConfigurationError(
            f"{where}, row {row}, column {table.known_as[at][:64]!r}: the value {what}, in {rows} rows: leave them out"
        )
