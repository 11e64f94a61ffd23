"""Normal scores of columns: where a value lies among the reference's, as a standard normal would have it.

Source: van der Waerden, "Order tests for the two-sample problem", Indagationes Mathematicae 14 (1952); mid-ranks where
values tie. Missing values are above all others; categories stand in the order of how rare they are in the reference.
Invariant: over the reference, together with one row below all of it and one above, every column has mean 0 and
variance 1: a value that the reference never held is as rare as one in so many rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector
from wayside.detectors.kinds.sequential.ordering import knots_of, ordered, rarity

_KNOTS, _SCORES, _SIZES, _RANKS = "scores.knots", "scores.values", "scores.sizes", "scores.ranks"


@dataclass(frozen=True, slots=True, eq=False)
class ColumnScores:
    """Of each column rising `knots` (m,) and `scores` (2 m + 1,): those of knots at odd places, of what lies between,
    below and above at even ones. `ranks` (d, c) is what each category is read as; NaN throughout for numbers."""

    knots: Sequence[Vector]
    scores: Sequence[Vector]
    ranks: Matrix

    @classmethod
    def of(cls, reference: Matrix, categories: Sequence[int] = ()) -> Self:
        """Of rows (n, d), n ≥ 1. `categories` as a `WindowFitContext` has them."""
        ranks = rarity(reference, categories)
        columns = [np.sort(column) for column in ordered(reference, ranks).T]
        knots = [knots_of(column) for column in columns]
        scores = [_scores(*pair) for pair in zip(columns, knots, strict=True)]
        return cls(knots, scores, ranks)

    def look_up(self, rows: Matrix) -> Matrix:
        """The scores of rows (n, d), of the same shape, C-contiguous."""
        found = np.empty(rows.shape)
        columns = zip(ordered(rows, self.ranks).T, self.knots, self.scores, strict=True)
        for at, (values, knots, scores) in enumerate(columns):
            places = np.searchsorted(knots, values, "left")
            equal = knots[np.minimum(places, len(knots) - 1)] == values
            found[:, at] = scores[2 * places + equal]
        return found

    @property
    def extremes(self) -> Matrix:
        """A row below all of the reference and one above, shape (2, d)."""
        return np.array([[scores[0] for scores in self.scores], [scores[-1] for scores in self.scores]])

    def arrays(self) -> Arrays:
        """As a state holds them."""
        sizes = np.array([len(knots) for knots in self.knots], np.int64)
        flat = {_KNOTS: np.concatenate(self.knots), _SCORES: np.concatenate(self.scores)}
        return {**flat, _SIZES: sizes, _RANKS: self.ranks}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """What `arrays` gave. Raises `KeyError` or `ValueError`."""
        sizes, ranks = arrays[_SIZES], arrays[_RANKS]
        knots, scores = np.split(arrays[_KNOTS], np.cumsum(sizes)), np.split(arrays[_SCORES], np.cumsum(2 * sizes + 1))
        if ranks.ndim != 2 or len(ranks) != len(sizes) or len(knots[-1]) or len(scores[-1]) or (sizes < 1).any():
            raise ValueError("the scores' arrays do not fit each other")
        return cls(knots[:-1], scores[:-1], ranks)


def _scores(column: Vector, knots: Vector) -> Vector:
    """A column's scores, of mean 0 and variance 1 over its values, one below and one above."""
    from scipy.special import ndtri  # only fitting needs it

    below, upto = np.searchsorted(column, knots, "left"), np.searchsorted(column, knots, "right")
    edges = np.stack([below, upto], axis=1).ravel()
    edges = np.concatenate([[0], edges, [len(column)]])  # what is at most in each place, from one to the next
    first, last = edges[:-1], edges[1:]
    raw = ndtri(((first + last) / 2 + 0.5 + 0.5) / (len(column) + 2))
    held = (last - first).astype(np.float64)
    held[[0, -1]] += 1.0
    weights = held / held.sum()
    centred = raw - weights @ raw
    scale = np.sqrt(weights @ centred**2)
    scores: Vector = centred / scale
    return scores
