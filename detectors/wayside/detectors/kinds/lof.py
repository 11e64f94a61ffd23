"""`lof`: local outlier factor, how much sparser a row's neighbourhood is than those of its neighbours.

Source: Breunig, Kriegel, Ng and Sander, "LOF: identifying density-based local outliers", SIGMOD 2000; new rows are
judged against the reference alone, as scikit-learn's `LocalOutlierFactor(novelty=True)` does.
Invariant: a reference row is not among its own neighbours, whereas a new row equal to it has it as its nearest.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.neighbours import (
    REFERENCE_ROWS,
    Indices,
    Neighbours,
    NeighbourSearch,
    choose_reference,
)
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError

_LEAST_REACH = 1e-10  # so that a heap of equal rows has a density


@dataclass(frozen=True, slots=True)
class LocalOutlierOptions:
    """`k` is the size of a neighbourhood. `reference_rows` bounds the rows that are kept, drawn by the seed."""

    k: int = 30
    reference_rows: int = REFERENCE_ROWS

    def __post_init__(self) -> None:
        if not 1 <= self.k < self.reference_rows:
            raise ConfigurationError(f"k is {self.k}: give 1 or more, and less than reference_rows")


class LocalOutlierFactor(RowDetector):
    """`radius` (m,) is each reference row's distance to its k-th neighbour, `density` (m,) its reachability density."""

    kind: ClassVar[str] = "lof"
    summary: ClassVar[str] = "local outlier factor against the rows it was fitted on"
    scaling: ClassVar[str] = "range"
    options: ClassVar[type[LocalOutlierOptions]] = LocalOutlierOptions

    def __init__(self, search: NeighbourSearch, radius: Vector, density: Vector) -> None:
        if not radius.shape == density.shape == (len(search.reference),):
            raise ValueError(f"'radius' has shape {radius.shape}, 'density' {density.shape}")
        self._search, self._radius, self._density = search, radius, density

    @property
    def features(self) -> int:
        return int(self._search.reference.shape[1])

    @classmethod
    def fit(cls, rows: Matrix, options: LocalOutlierOptions, context: FitContext) -> Self:
        reference = choose_reference(rows, options.reference_rows, context.seed)
        found = _others(NeighbourSearch.checked(reference, options.k + 1).nearest(reference))
        radius = np.sqrt(found.squared[:, -1])
        return cls(NeighbourSearch(reference, options.k), radius, _density(found, radius))

    def score(self, rows: Matrix) -> Vector:
        found = self._search.nearest(rows)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            factor: Vector = self._density[found.places].mean(axis=1) / _density(found, self._radius)
        return factor

    def state(self) -> State:
        arrays = {"reference": self._search.reference, "radius": self._radius, "density": self._density}
        return State({**arrays, "k": np.array([self._search.k])})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        search = NeighbourSearch(state.arrays["reference"], int(state.arrays["k"].item()))
        return cls(search, state.arrays["radius"], state.arrays["density"])


def _density(found: Neighbours, radius: Vector) -> Vector:
    """1 / mean reachability distance: no neighbour is nearer than its own neighbourhood is wide."""
    reach = np.maximum(np.sqrt(found.squared), radius[found.places]).mean(axis=1)
    density: Vector = 1.0 / (reach + _LEAST_REACH)
    return density


def _others(found: Neighbours) -> Neighbours:
    """Of k + 1 neighbours of each reference row the k that are not itself; the farthest goes where it is not there."""
    own: Indices = np.arange(len(found.places))
    others = found.places != own[:, None]
    others[others.all(axis=1), -1] = False
    shape = (len(own), found.places.shape[1] - 1)
    return Neighbours(found.squared[others].reshape(shape), found.places[others].reshape(shape))
