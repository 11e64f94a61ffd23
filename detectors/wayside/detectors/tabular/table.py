"""Rows to fit on or to score: what a file or a stretch of events holds, once its texts are numbers.

Invariant: `values` has one column for each feature, in order; a category stands as its index in `categories`, and what
is missing as NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.errors import ConfigurationError

_NAMES_SHOWN = 12


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`values` has shape (n, c), float64. `names` is None where columns are known by position alone.

    `categories` maps a column's position to its texts; `labels` (n,) says which rows are outliers, and `time_s` (n,)
    when each was, in seconds since the epoch, where that is known.
    """

    values: Matrix
    names: tuple[str, ...] | None = None
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    labels: NDArray[np.bool_] | None = None
    time_s: Vector | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.shape[1]:
            raise ConfigurationError(f"the data has shape {self.values.shape}: rows need at least one column")
        if self.names is not None and len(self.names) != self.values.shape[1]:
            raise ConfigurationError(f"the data has {self.values.shape[1]} columns and {len(self.names)} names")
        if self.names is not None and len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ConfigurationError(f"the data has two columns named {twice[:64]!r}: rename one")
        if self.labels is not None and self.labels.shape != (len(self.values),):
            raise ConfigurationError(f"the data has {len(self.values)} rows and labels of shape {self.labels.shape}")
        if self.time_s is not None and self.time_s.shape != (len(self.values),):
            raise ConfigurationError(f"the data has {len(self.values)} rows and times of shape {self.time_s.shape}")

    @classmethod
    def of(cls, rows: Matrix, names: Sequence[str] | None = None) -> Self:
        """Numbers alone, shape (n, c)."""
        return cls(rows, None if names is None else tuple(names))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known_as(self) -> tuple[str, ...]:
        """What people call its columns: their names, or their positions from 0."""
        return self.names or tuple(str(at) for at in range(self.values.shape[1]))

    def rows(self, chosen: "NDArray[np.intp] | NDArray[np.bool_] | slice") -> Self:
        """Some of the rows, with what is known of them."""
        labels = None if self.labels is None else self.labels[chosen]
        time_s = None if self.time_s is None else self.time_s[chosen]
        return replace(self, values=self.values[chosen], labels=labels, time_s=time_s)

    def select(self, columns: Sequence[str]) -> Self:
        """These columns in this order, by name, or by position where there are no names.

        Raises `ConfigurationError` for one that there is not.
        """
        places = [self.position(column) for column in columns]
        if places == list(range(self.values.shape[1])):
            return self
        return replace(
            self,
            values=self.values[:, places],
            names=None if self.names is None else tuple(self.names[at] for at in places),
            categories={new: self.categories[old] for new, old in enumerate(places) if old in self.categories},
        )

    def position(self, column: str) -> int:
        """Where a column stands, by what it is known as. Raises `ConfigurationError` where there is none of it."""
        known = self.known_as
        if column not in known:
            more = ", …" if len(known) > _NAMES_SHOWN else ""
            raise ConfigurationError(
                f"the data has no column {column[:64]!r}: it has {', '.join(known[:_NAMES_SHOWN])[:512]}{more}"
            )
        return known.index(column)

    def digest(self) -> str:
        """SHA-256 of what it holds: equal for equal rows, whatever kind of file they came from."""
        told = sha256(repr((self.values.shape, self.names, sorted(self.categories.items()))).encode())
        told.update(np.ascontiguousarray(self.values, "<f8").tobytes())
        if self.labels is not None:
            told.update(self.labels.tobytes())
        if self.time_s is not None:
            told.update(np.ascontiguousarray(self.time_s, "<f8").tobytes())
        return told.hexdigest()


def concatenate(tables: Sequence[Table]) -> Table:
    """The rows of several tables, one after another, their categories together in order.

    Raises `ConfigurationError` where they differ in names, width, types of columns, or in having labels.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    for number, table in enumerate(tables[1:], start=2):
        _check_alike(first, table, f"the data of file {number} and of the first differ")
    categories = {at: tuple(sorted({text for table in tables for text in table.categories[at]})) for at in
                  first.categories}  # fmt: skip
    labels = [table.labels for table in tables if table.labels is not None]
    times = [table.time_s for table in tables if table.time_s is not None]
    return Table(
        np.concatenate([_recoded(table, categories) for table in tables]),
        first.names,
        categories,
        np.concatenate(labels) if labels else None,
        np.concatenate(times) if times else None,
    )


def _check_alike(first: Table, table: Table, words: str) -> None:
    if table.known_as != first.known_as:
        raise ConfigurationError(f"{words} in columns: choose those that both have with --columns")
    if set(table.categories) != set(first.categories):
        at = min(set(table.categories) ^ set(first.categories))
        raise ConfigurationError(
            f"{words}: column {first.known_as[at]!r} holds texts in one of them, numbers in another"
        )
    if (table.labels is None) != (first.labels is None):
        raise ConfigurationError(f"{words}: one of them has labels")
    if (table.time_s is None) != (first.time_s is None):
        raise ConfigurationError(f"{words}: one of them has times")


def _recoded(table: Table, categories: Mapping[int, Sequence[str]]) -> Matrix:
    if not categories:
        return table.values
    values = table.values.copy()
    for at, texts in categories.items():
        code_of = {text: code for code, text in enumerate(texts)}
        values[:, at] = recode(values[:, at], [code_of[text] for text in table.categories[at]])
    return values


def recode(codes: Vector, new: Sequence[int]) -> Vector:
    """Codes by another list of categories; `new` has the new code of each old one. What is missing stays so."""
    recoded: Vector = np.full(len(codes), np.nan)
    present = ~np.isnan(codes)
    if present.any():
        recoded[present] = np.asarray(new, np.float64)[codes[present].astype(np.intp)]
    return recoded
