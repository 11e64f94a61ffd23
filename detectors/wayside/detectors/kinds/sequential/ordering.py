"""The order that a column's values are ranked in, and the few of them that stand for all.

Invariant: every value has a place, whatever was seen of it: missing values above all others, categories by how rare
they are in the reference, one that was never seen as the rarest.
"""

from collections.abc import Sequence

import numpy as np

from wayside.detectors.kinds.protocol import Matrix, Vector

_MOST_KNOTS = 2048


def rarity(reference: Matrix, categories: Sequence[int]) -> Matrix:
    """What each category of each column is read as: larger the rarer; equal counts by index."""
    counts = list(categories) or [0] * reference.shape[1]
    ranks = np.full((len(counts), max(counts) + 1), np.nan)
    for at, count in enumerate(counts):
        if count:
            codes = reference[:, at]
            held = np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=count + 1)[: count + 1]
            ranks[at, np.argsort(-held, kind="stable")] = np.arange(count + 1)
    return ranks


def ordered(rows: Matrix, ranks: Matrix) -> Matrix:
    """The rows with categories as their ranks, and missing values above all."""
    ordered = np.where(np.isnan(rows), np.inf, rows)
    for at in np.flatnonzero(~np.isnan(ranks[:, 0])):
        codes = ordered[:, at]
        known = np.minimum(codes, np.count_nonzero(~np.isnan(ranks[at])) - 1).astype(np.intp)
        ordered[:, at] = np.where(np.isinf(codes), codes, ranks[at, known])
    return ordered


def knots_of(column: Vector) -> Vector:
    """The values of a sorted column, or so many of its quantiles that a step hardly tells."""
    knots = np.unique(column)
    if len(knots) <= _MOST_KNOTS:
        return knots
    places = np.linspace(0, len(column) - 1, _MOST_KNOTS).round().astype(np.intp)
    return np.unique(column[places])
