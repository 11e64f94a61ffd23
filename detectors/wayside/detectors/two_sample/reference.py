"""Reference samples, held compactly: the distinct values of each column in rising order, and how many rows have them.

Invariant: values rise strictly, NaN is one value above all others, +inf too, and the counts of a column sum to `rows`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OrderedColumn:
    """`values` (k,) and `upto` (k + 1,): how many rows are below the first value, up to each value; so `upto[0]` is 0
    and `upto[i + 1] - upto[i]` rows have the value at i."""

    values: Vector
    upto: Counts

    @classmethod
    def of(cls, column: Vector) -> Self:
        """Of a column in whatever order."""
        values, counts = np.unique(column, return_counts=True)  # one NaN for all of them, at the end
        return cls(values, _summed(counts))

    @property
    def counts(self) -> Counts:
        """How many rows have each value, shape (k,)."""
        return np.diff(self.upto)

    def at_most(self, limit: int) -> bool:
        """Whether it has no more than so many distinct values."""
        return len(self.values) <= limit


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceColumns:
    """A sample of `rows` rows, column by column."""

    rows: int
    columns: tuple[OrderedColumn, ...]

    @classmethod
    def of(cls, rows: Matrix) -> Self:
        """Of rows of shape (m, d); NaN may be among them."""
        return cls(len(rows), tuple(OrderedColumn.of(column) for column in np.ascontiguousarray(rows.T)))

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, positions: Iterable[int]) -> "ReferenceColumns":
        """Some of the columns."""
        return ReferenceColumns(self.rows, tuple(self.columns[at] for at in positions))

    def arrays(self) -> Arrays:
        """As a state holds it: `values` of all columns one after another, in float32 where no digit is lost by it,
        `counts` of each, and `sizes`, how many values each column has."""
        values = np.concatenate([column.values for column in self.columns])
        return {
            "values": _narrowed(values),
            "counts": np.concatenate([column.counts for column in self.columns]).astype(np.int32),
            "sizes": np.array([len(column.values) for column in self.columns], np.int32),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """What gave `arrays`. Raises `KeyError` or `ValueError` where they are no reference."""
        values, counts, sizes = (_flat(arrays[name], name) for name in ("values", "counts", "sizes"))
        ends = np.cumsum(sizes, dtype=np.int64)
        if not len(sizes) or sizes.min() < 1 or not len(values) == len(counts) == ends[-1] or counts.min() < 1:
            raise ValueError("the reference's values, counts and sizes do not belong together")
        pairs = zip(np.split(values.astype(np.float64), ends[:-1]), np.split(counts, ends[:-1]), strict=True)
        columns = tuple(OrderedColumn(each, _summed(count)) for each, count in pairs)
        return cls(_rows_of(columns), columns)


def ordered_columns(rows: Matrix) -> Matrix:
    """Rows of shape (n, d) as d sorted columns, shape (d, n): NaN last."""
    columns: Matrix = np.array(rows.T, order="C")
    columns.sort(axis=1)
    return columns


def _rows_of(columns: Sequence[OrderedColumn]) -> int:
    rows = {int(column.upto[-1]) for column in columns}
    if len(rows) > 1 or not all((np.diff(column.values[: len(column.values) - 1]) > 0).all() for column in columns):
        raise ValueError("the reference's columns have different numbers of rows, or are not in order")
    return rows.pop()


def _summed(counts: Array) -> Counts:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _narrowed(values: Vector) -> Array:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), values, equal_nan=True) else values


def _flat(array: Array, name: str) -> Array:
    if array.ndim != 1:
        raise ValueError(f"'{name}' has shape {array.shape}")
    return array
