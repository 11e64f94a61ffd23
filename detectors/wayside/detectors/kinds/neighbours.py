"""The nearest rows of a reference, found by one matrix product and measured by differences.

Invariant: the product only chooses candidates, and where its rounding could choose wrong ones it chooses none;
distances are computed from differences, so that they do not suffer from cancellation near a reference row. What is
found for a row does not depend on the rows beside it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.products import blocks, product
from wayside.detectors.kinds.protocol import Matrix, Vector
from wayside.eventing.errors import ConfigurationError

REFERENCE_ROWS = 20_000
"""The default bound of a reference: what one row's score costs, in time and memory, grows with it."""

Indices = NDArray[np.intp]

_SPARE_CANDIDATES = 6  # rows that the product's rounding may have ranked just behind the k-th
_GROUP_ROWS = 32
_ROUNDING = 1e-12  # of the largest squares: squared distances that are smaller are lost in a product's last digits


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each of n rows its k nearest, in rising order: squared distances and places in the reference, (n, k) each."""

    squared: Matrix
    places: Indices


class NeighbourSearch:
    """Searches `reference` (m, d), by Euclidean distance."""

    def __init__(self, reference: Matrix, k: int) -> None:
        if reference.ndim != 2 or not 1 <= k <= len(reference):
            raise ValueError(f"'reference' has shape {reference.shape} and 'k' is {k}")
        self.reference = np.ascontiguousarray(reference)
        self.k = k
        self._centre = reference.mean(axis=0)
        self._far = _squared_length(reference - self._centre).max()
        self._candidates = min(k + _SPARE_CANDIDATES, len(reference))
        self._groups = -(-len(reference) // _GROUP_ROWS)
        self._ranking = _ranking_of(reference - self._centre, self._groups * _GROUP_ROWS)

    @classmethod
    def checked(cls, reference: Matrix, k: int) -> Self:
        """For a fit: raises `ConfigurationError` where there are fewer rows than neighbours."""
        if len(reference) < k:
            raise ConfigurationError(f"k = {k} needs at least {k} rows to fit on, there are {len(reference)}")
        return cls(reference, k)

    def nearest(self, rows: Matrix) -> Neighbours:
        """The k nearest of each row of shape (n, d). Distances that overflow are not finite."""
        squared, places = np.empty((len(rows), self.k)), np.empty((len(rows), self.k), np.intp)
        for part, block in blocks(rows):
            squared[part], places[part] = self._nearest_of(block)
        return Neighbours(squared, places)

    def _nearest_of(self, rows: Matrix) -> tuple[Matrix, Indices]:
        candidates = self._choose(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            squared = np.square(rows[:, None, :] - self.reference[candidates]).sum(axis=2)
        order = np.argsort(squared, axis=1, kind="stable")[:, : self.k]
        squared, places = np.take_along_axis(squared, order, axis=1), np.take_along_axis(candidates, order, axis=1)
        for at in self._doubtful(rows, squared[:, -1]):
            squared[at], places[at] = self._measure_all(rows[at])
        return squared, places

    def _doubtful(self, rows: Matrix, squared: Vector) -> Indices:
        """Rows so near to their neighbours, beside how far rows lie apart, that others may be nearer: one column's
        largest value makes most rows such, where it is huge."""
        far = self._far + _squared_length(rows - self._centre)
        return np.flatnonzero((squared > 0) & (squared < _ROUNDING * far))

    def _measure_all(self, row: Vector) -> tuple[Vector, Indices]:
        squared = _squared_length(row - self.reference)
        places = np.argsort(squared, kind="stable")[: self.k]
        return squared[places], places

    def _choose(self, rows: Matrix) -> Indices:
        """The k nearest by the product, and some to spare.

        They lie in as many groups at most, and those are the groups of the smallest minima: two small selections and
        one pass for the minima, in place of one selection among all.
        """
        centred = np.hstack([rows - self._centre, np.ones((len(rows), 1))])
        ranked = product(centred, self._ranking)
        minima = ranked.reshape(len(rows), _GROUP_ROWS, self._groups).min(axis=1)
        groups = _smallest(minima, min(self._candidates, self._groups))
        members = (np.arange(_GROUP_ROWS) * self._groups)[None, :, None] + groups[:, None, :]
        places = members.reshape(len(rows), -1)
        chosen = _smallest(np.take_along_axis(ranked, places, axis=1), self._candidates)
        found: Indices = np.take_along_axis(places, chosen, axis=1)
        return np.minimum(found, len(self.reference) - 1)  # where a rank is NaN, what fills the groups may be chosen


def choose_reference(rows: Matrix, limit_rows: int, seed: int) -> Matrix:
    """All rows, or `limit_rows` of them drawn by the seed, in their order."""
    if len(rows) <= limit_rows:
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), limit_rows, replace=False)
    return rows[np.sort(chosen)]


def _squared_length(rows: Matrix) -> Vector:
    """Of each of n rows, shape (n,); infinite where it overflows."""
    with np.errstate(over="ignore"):
        lengths: Vector = np.square(rows).sum(axis=1)
    return lengths


def _ranking_of(centred: Matrix, columns: int) -> Matrix:
    """(d + 1, columns): |x - r|² = |x|² - 2 x·r + |r|², and |x|² changes no order, so (x, 1) · (-2 r, |r|²) ranks.

    What fills the last columns ranks behind every row.
    """
    count, width = centred.shape
    ranking = np.zeros((width + 1, columns))
    ranking[:width, :count] = -2.0 * centred.T
    ranking[width, :count] = np.square(centred).sum(axis=1)
    ranking[width, count:] = np.inf
    return ranking


def _smallest(values: Matrix, count: int) -> Indices:
    if count == values.shape[1]:
        return np.broadcast_to(np.arange(count), values.shape)
    return np.argpartition(values, count - 1, axis=1)[:, :count]
