"""What the reference's columns look like, held compactly: quantiles of numbers, shares of categories.

Source: Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18 (1990), and
Hoeffding, J. American Statistical Association 58 (1963), for how far shares stray.
Invariant: it is a function of the reference's rows alone and takes at most `_POINTS` numbers a column; `arrays` and
`restore` are inverse to each other. It shows what moved, it does not decide: the detector's own reference does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector
from wayside.detectors.tabular.schema import Schema

TOLD = (10, 50, 100, 150, 190)
"""The quantiles that evidence tells, in half per cents: 5, 25, 50, 75, 95 %."""
_STEPS = 200
_POINTS = _STEPS + 1  # every half per cent: all that are told are among them


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSummary:
    """`grids` has shape (columns, 201): quantiles 0, 0.5, … 100 % of each column's values, NaN where it has none, or is
    of categories. `shares` is flat: of each column of categories the share of each, the unseen last, one column after
    another. `missing` (columns,) is the share of rows that miss the column's value."""

    grids: Matrix
    shares: Vector
    missing: Vector
    rows: int

    @classmethod
    def of(cls, coded: Matrix, schema: Schema) -> Self:
        """Of coded rows, shape (n, columns), at least one."""
        grids = np.full((coded.shape[1], _POINTS), np.nan)
        shares: list[Vector] = []
        for at, column in enumerate(schema.columns):
            values = known(coded[:, at])
            if at in schema.categorical:
                shares.append(category_shares(values, len(column.categories)))
            elif len(values):
                grids[at] = quantiles(values, range(_POINTS))
        flat = np.concatenate([np.empty(0), *shares])
        return cls(grids, flat, np.isnan(coded).mean(axis=0), len(coded))

    def arrays(self) -> Arrays:
        """As the artifact keeps them."""
        return {
            "grids": self.grids,
            "shares": self.shares,
            "missing": self.missing,
            "rows": np.array([self.rows], np.int64),
        }

    @classmethod
    def restore(cls, arrays: Arrays, schema: Schema) -> Self:
        """The summary that gave these arrays. Raises `KeyError` or `ValueError` where they are of another schema."""
        columns = len(schema.columns)
        wanted = sum(len(schema.columns[at].categories) + 1 for at in schema.categorical)
        shapes = [arrays[name].shape for name in ("grids", "shares", "missing", "rows")]
        if shapes != [(columns, _POINTS), (wanted,), (columns,), (1,)]:
            raise ValueError(f"the summary of the reference has shapes {shapes}")
        return cls(arrays["grids"], arrays["shares"], arrays["missing"], int(arrays["rows"].item()))

    def distances(self, coded: Matrix, schema: Schema) -> tuple[Vector, Vector]:
        """How far each column of coded rows, shape (n, columns), is from the reference, and how likely at least so far
        is, at most, where nothing drifts: both of shape (columns,).

        The distance is the largest difference between the shares of rows at most some value, or of some category; what
        is missing counts as above every number, and as a category. By the grid it is told up to half a per cent small.
        """
        found = [self._distance(at, coded[:, at], schema) for at in range(coded.shape[1])]
        distance = np.array([each for each, _ in found])
        places = np.array([many for _, many in found])
        effective = len(coded) * self.rows / max(1, len(coded) + self.rows)
        return distance, np.minimum(2.0 * places * np.exp(-2.0 * effective * distance**2), 1.0)

    def _distance(self, at: int, values: Vector, schema: Schema) -> tuple[float, int]:
        """The distance, and in how many places it was looked for one by one (on the whole line: in one)."""
        if at in schema.categorical:
            gains = self.gains(at, values, schema)
            return float(np.abs(gains).max()), len(gains)
        return self._widest(at, values), 1

    def gains(self, at: int, values: Vector, schema: Schema) -> Vector:
        """How much larger each category's share of these codes is than its share of the reference, the unseen and then
        the missing last."""
        theirs = np.append(self.shares_of(at, schema) * (1.0 - self.missing[at]), self.missing[at])
        is_missing = np.isnan(values)
        ours = category_shares(values[~is_missing], len(theirs) - 2) * (1.0 - is_missing.mean())
        gains: Vector = np.append(ours, is_missing.mean()) - theirs
        return gains

    def shares_of(self, at: int, schema: Schema) -> Vector:
        """The share of each category of a column among its known values, the unseen last."""
        before = sum(len(schema.columns[other].categories) + 1 for other in schema.categorical if other < at)
        return self.shares[before : before + len(schema.columns[at].categories) + 1]

    def ranks(self, at: int, values: Vector) -> Vector:
        """Where numbers stand among the reference's, 0 to 1: as many of those are at most as large."""
        found: Vector = np.maximum(np.searchsorted(self.grids[at], values, "right") - 1, 0) / _STEPS
        return found

    def _widest(self, at: int, values: Vector) -> float:
        """Kolmogorov's distance, no larger than it is: between two points of the grid any share may be the true one."""
        there, step = 1.0 - self.missing[at], 1.0 / _STEPS
        if np.isnan(self.grids[at, 0]):  # the reference has no value at all
            return float(np.isfinite(values).mean())
        ordered, n = np.sort(values[~np.isnan(values)]), len(values)
        upto, below = np.arange(1, len(ordered) + 1) / n, np.arange(len(ordered)) / n
        at_most = np.minimum(np.searchsorted(self.grids[at], ordered, "right") * step, 1.0) * there
        at_least = np.maximum((np.searchsorted(self.grids[at], ordered, "left") - 1) * step, 0.0) * there
        gaps = np.concatenate([upto - at_most, at_least - below, [there - len(ordered) / n, 0.0]])
        return float(gaps.max())


def known(values: Vector) -> Vector:
    """The values that are there and finite."""
    return values[np.isfinite(values)]


def quantiles(values: Vector, half_per_cents: Sequence[int]) -> Vector:
    """Quantiles of finite values, at least one: each the least value that so large a share of them is at most.

    They are values themselves, by whole ranks: nothing is rounded, no sum overflows, and -0.0 is 0.0.
    """
    ranks = (np.asarray(half_per_cents) * len(values) + _STEPS - 1) // _STEPS
    found: Vector = np.sort(values)[np.maximum(ranks - 1, 0)] + 0.0
    return found


def category_shares(codes: Vector, categories: int) -> Vector:
    """The share of each category among the codes, shape (categories + 1,), the unseen last; zeros where there are no
    codes."""
    counts = np.bincount(np.clip(codes, 0, categories).astype(np.int64), minlength=categories + 1)
    return counts / max(1, len(codes))
