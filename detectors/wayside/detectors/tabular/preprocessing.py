"""Preprocessing as part of the artifact: what is missing is filled in, categories become indicators, columns one scale.

Invariant: a coded matrix of shape (n, columns) becomes a finite one of shape (n, features), row by row: no row depends
on another. A row that does not fit the schema has a feature that is not finite: what may not be missing is never filled
in. A feature that was constant when it was fitted keeps its own unit; nothing is divided by zero.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector
from wayside.detectors.tabular.schema import ColumnType, Schema
from wayside.eventing.errors import ConfigurationError


class Scaling(StrEnum):
    """To mean 0 and deviation 1; to median 0 and a robust deviation of 1, from the interquartile range; to a range of
    1 from 0 on; or not at all."""

    STANDARD = "standard"
    ROBUST = "robust"
    RANGE = "range"
    NONE = "none"


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """`fill` (columns,) stands in for what is missing; a feature is `(value - centre) / scale`, each (features,)."""

    schema: Schema
    fill: Vector
    centre: Vector
    scale: Vector

    def __post_init__(self) -> None:
        features = len(self.sources)
        if self.fill.shape != (len(self.schema.columns),) or not self.centre.shape == self.scale.shape == (features,):
            raise ValueError(f"preprocessing of {features} features has arrays of other sizes")
        if not all(np.isfinite(each).all() for each in (self.fill, self.centre, self.scale)):
            raise ValueError("preprocessing has a fill, a centre or a scale that is not finite")
        if not (self.scale > 0).all():
            raise ValueError("preprocessing has a scale that is not positive")

    @classmethod
    def fit(cls, schema: Schema, coded: Matrix, scaling: Scaling = Scaling.STANDARD) -> Self:
        """Measured on coded rows.

        Raises `ConfigurationError` where their squares overflow, or a column has no value at all.
        """
        fill = np.array([_fill(coded[:, at], schema, at) for at in range(coded.shape[1])])
        neutral = np.zeros(len(_sources(schema)))
        raw = cls(schema, fill, neutral, neutral + 1.0).apply(coded)
        centre, scale = _SCALES[scaling](raw)
        if scaling in (Scaling.STANDARD, Scaling.ROBUST):
            never_set = _indicators(schema) & (raw == 0.0).all(axis=0)
            rare = 1.0 / (len(raw) + 1)  # what was never seen is as rare as one in n + 1 rows can be
            scale = np.where(never_set, sqrt(rare * (1 - rare)), scale)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (raw - centre) / scale
        if not (np.isfinite(scale).all() and np.isfinite(scaled).all()):
            raise ConfigurationError(
                "the rows hold values too large for float64 arithmetic: scale them, or leave them out"
            )
        return cls(schema, fill, centre, scale)

    @property
    def features(self) -> int:
        """How many a detector is fitted on; more than columns where there are categories."""
        return len(self.sources)

    @cached_property
    def sources(self) -> NDArray[np.intp]:
        """The column that each feature comes from, shape (features,)."""
        return np.array(_sources(self.schema), np.intp)

    def apply(self, coded: Matrix) -> Matrix:
        """Features of shape (n, features). What overflows comes out as not finite: the caller judges that."""
        values = coded if self._is_plain else self._widen(coded)
        with np.errstate(over="ignore", invalid="ignore"):
            if len(values) == 1:  # of equal shapes, which costs half of what broadcasting does
                row: Vector = values[0] - self.centre
                row /= self.scale
                return row[None]
            features: Matrix = values - self.centre
            features /= self.scale
        return features

    def fold(self, feature_scores: Matrix) -> Matrix:
        """What each column adds: the sum over its features, shape (n, columns)."""
        if self._is_plain:
            return feature_scores
        firsts = np.searchsorted(self.sources, np.arange(len(self.schema.columns)))
        folded: Matrix = np.add.reduceat(feature_scores, firsts, axis=1)
        return folded

    def arrays(self) -> Arrays:
        return {"fill": self.fill, "centre": self.centre, "scale": self.scale}

    @cached_property
    def _is_plain(self) -> bool:
        return all(column.type is ColumnType.NUMBER and not column.missing for column in self.schema.columns)

    def _widen(self, coded: Matrix) -> Matrix:
        parts: list[Matrix] = []
        for at, column in enumerate(self.schema.columns):
            values = coded[:, at]
            absent = np.isnan(values)
            if column.type is ColumnType.CATEGORY:
                known = np.arange(len(column.categories) + 1)  # the last is every category that was never seen
                flags = values[:, None] == known
                parts.append(flags if column.missing else np.where(absent[:, None], np.nan, flags))
            else:
                parts.append((np.where(absent, self.fill[at], values) if column.missing else values)[:, None])
            if column.missing:
                parts.append(absent[:, None])
        return np.concatenate(parts, axis=1).astype(np.float64)


def _sources(schema: Schema) -> list[int]:
    sources: list[int] = []
    for at, column in enumerate(schema.columns):
        width = len(column.categories) + 1 if column.type is ColumnType.CATEGORY else 1
        sources += [at] * (width + column.missing)
    return sources


def _indicators(schema: Schema) -> NDArray[np.bool_]:
    """Which features say whether something is so: a category, or that a value is missing."""
    flags: list[bool] = []
    for column in schema.columns:
        is_category = column.type is ColumnType.CATEGORY
        flags += [is_category] * (len(column.categories) + 1 if is_category else 1) + [True] * column.missing
    return np.array(flags)


def _fill(values: Vector, schema: Schema, at: int) -> float:
    present = values[~np.isnan(values)]
    if not len(present):
        raise ConfigurationError(f"{schema.describe(at)} has no value in any row: leave it out")
    return 0.0 if schema.columns[at].type is ColumnType.CATEGORY else float(np.median(present))


def _standard(raw: Matrix) -> tuple[Vector, Vector]:
    with np.errstate(over="ignore", invalid="ignore"):
        return raw.mean(axis=0), _usable(raw.std(axis=0), raw)


def _robust(raw: Matrix) -> tuple[Vector, Vector]:
    with np.errstate(over="ignore", invalid="ignore"):
        low, middle, high = np.percentile(raw, (25, 50, 75), axis=0)
        deviation = raw.std(axis=0)
    # where more than half of the values are equal the range says nothing, and the deviation stands in
    return middle, _usable(np.where(high > low, (high - low) / 1.349, deviation), raw)


def _range(raw: Matrix) -> tuple[Vector, Vector]:
    with np.errstate(over="ignore"):
        return raw.min(axis=0), _usable(np.ptp(raw, axis=0), raw)


def _none(raw: Matrix) -> tuple[Vector, Vector]:
    return np.zeros(raw.shape[1]), np.ones(raw.shape[1])


def _usable(scale: Vector, raw: Matrix) -> Vector:
    """The scales; 1 where one is 0, or 1e-17 by rounding where all values are equal."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where((np.ptp(raw, axis=0) == 0) | (scale == 0), 1.0, scale)


_SCALES = {Scaling.STANDARD: _standard, Scaling.ROBUST: _robust, Scaling.RANGE: _range, Scaling.NONE: _none}
