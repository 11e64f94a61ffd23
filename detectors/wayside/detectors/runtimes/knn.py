"""`knn`: distance to the k-th nearest row of the reference, in standardised columns.

Source: Ramaswamy, Rastogi and Shim, "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000.
Invariant: the matrix product only chooses candidates; a score is computed from differences, row by row, so that it is
the same bits in whatever batch the row travels, and does not suffer from cancellation near a reference row.
"""

from typing import ClassVar, Self

import numpy as np

from wayside.detectors.runtimes.protocol import Arrays, FitOptions, Matrix, Vector
from wayside.detectors.runtimes.standardise import Standardiser
from wayside.eventing.errors import ConfigurationError

_CHUNK_VALUES = 1 << 18  # float64 in one temporary array: 2 MiB, which stays near the core
_SPARE_CANDIDATES = 6  # rows that the product's rounding may have ranked just behind the k-th


class NearestNeighbours:
    """`reference` has shape (m, d) in standard units; `k` is at most m."""

    kind: ClassVar[str] = "knn"

    def __init__(self, standardiser: Standardiser, reference: Matrix, k: int) -> None:
        if reference.ndim != 2 or reference.shape[1] != len(standardiser.mean) or not 1 <= k <= len(reference):
            raise ValueError(f"'reference' has shape {reference.shape} and 'k' is {k}")
        self._standardiser = standardiser
        self._reference = np.ascontiguousarray(reference)
        # |x - r|² = |x|² - 2 x·r + |r|², and |x|² does not change the order: (x, 1) · (-2 r, |r|²) ranks
        squares = np.square(self._reference).sum(axis=1, keepdims=True)
        self._ranking = np.hstack([-2.0 * self._reference, squares]).T
        self._k = k
        self._candidates = min(k + _SPARE_CANDIDATES, len(reference))

    @property
    def features(self) -> int:
        return len(self._standardiser.mean)

    @classmethod
    def fit(cls, rows: Matrix, options: FitOptions) -> Self:
        if len(rows) < options.k:
            raise ConfigurationError(f"knn with k = {options.k} needs that many rows to fit on, there are {len(rows)}")
        standardiser = Standardiser.of(rows)
        return cls(standardiser, standardiser.apply(rows), options.k)

    def score(self, rows: Matrix) -> Vector:
        scores = np.empty(len(rows))
        step = max(1, _CHUNK_VALUES // max(len(self._reference), self._candidates * self.features))
        for start in range(0, len(rows), step):
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is judged as not finite by the caller
                scores[start : start + step] = self._score_chunk(rows[start : start + step])
        return scores

    def _score_chunk(self, rows: Matrix) -> Vector:
        standard = self._standardiser.apply(rows)
        ranking = np.hstack([standard, np.ones((len(standard), 1))]) @ self._ranking
        nearest = np.argpartition(ranking, self._candidates - 1, axis=1)[:, : self._candidates]
        squared = np.square(standard[:, None, :] - self._reference[nearest]).sum(axis=2)
        kth: Vector = np.partition(squared, self._k - 1, axis=1)[:, self._k - 1]
        return np.sqrt(kth)

    def arrays(self) -> Arrays:
        return {
            "mean": self._standardiser.mean,
            "scale": self._standardiser.scale,
            "reference": self._reference,
            "k": np.array([self._k], dtype=np.float64),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        return cls(Standardiser(arrays["mean"], arrays["scale"]), arrays["reference"], int(arrays["k"].item()))
