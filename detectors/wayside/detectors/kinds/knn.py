"""`knn`: distance to the k-th nearest row of the reference, among the rows it was fitted on.

Source: Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000.
Invariant: the feature scores of a row sum to the square of its score.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.neighbours import REFERENCE_ROWS, NeighbourSearch, choose_reference
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class NeighbourOptions:
    """`k` says which neighbour's distance is the score.

    `reference_rows` bounds the rows that are kept to search among: more are drawn from by the seed.
    """

    k: int = 5
    reference_rows: int = REFERENCE_ROWS

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.reference_rows:
            raise ConfigurationError(f"k is {self.k}: give 1 to {self.reference_rows}, which reference_rows says")


class NearestNeighbours(RowDetector):
    """`reference` has shape (m, d); `k` is at most m."""

    kind: ClassVar[str] = "knn"
    summary: ClassVar[str] = "distance to the k-th nearest row"
    scaling: ClassVar[str] = "range"
    options: ClassVar[type[NeighbourOptions]] = NeighbourOptions
    gives_feature_scores: ClassVar[bool] = True

    def __init__(self, search: NeighbourSearch) -> None:
        self._search = search

    @property
    def features(self) -> int:
        return int(self._search.reference.shape[1])

    @classmethod
    def fit(cls, rows: Matrix, options: NeighbourOptions, context: FitContext) -> Self:
        reference = choose_reference(rows, options.reference_rows, context.seed)
        return cls(NeighbourSearch.checked(reference, options.k))

    def score(self, rows: Matrix) -> Vector:
        return np.sqrt(self._search.nearest(rows).squared[:, -1])

    def feature_scores(self, rows: Matrix) -> Matrix:
        """The squared difference to the k-th nearest row, feature by feature."""
        places = self._search.nearest(rows).places[:, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.square(rows - self._search.reference[places])

    def state(self) -> State:
        return State({"reference": self._search.reference, "k": np.array([self._search.k])})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(NeighbourSearch(state.arrays["reference"], int(state.arrays["k"].item())))
