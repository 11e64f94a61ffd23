"""`mahalanobis`: distance from the reference's mean in units of its covariance.

Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate
Analysis 88 (2004): the covariance is shrunk towards a multiple of the identity, on standardised columns, so that it
can be inverted also where there are fewer rows than columns. Its symmetric root shares the distance out: Garthwaite,
Critchley, Anaya-Izquierdo and Mubwandarikwa, "Orthogonalization of vectors with minimal adjustment", Biometrika 99
(2012): of all uncorrelated coordinates those that are nearest to the columns.
Invariant: the feature scores of a row sum to the square of its score.
"""

from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.products import product
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, NoOptions, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError


class Mahalanobis(RowDetector):
    """Mahalanobis distance from `mean` (d,). `whitening` (d, d) is the symmetric root of the precision."""

    kind: ClassVar[str] = "mahalanobis"
    summary: ClassVar[str] = "Mahalanobis distance, Ledoit-Wolf covariance"
    gives_feature_scores: ClassVar[bool] = True

    def __init__(self, mean: Vector, whitening: Matrix) -> None:
        if mean.ndim != 1 or whitening.shape != (len(mean), len(mean)):
            raise ValueError(f"'mean' has shape {mean.shape} and 'whitening' {whitening.shape}")
        self._mean = mean
        self._whitening = whitening

    @property
    def features(self) -> int:
        return len(self._whitening)

    @classmethod
    def fit(cls, rows: Matrix, options: NoOptions, context: FitContext) -> Self:
        if len(rows) < 2:
            raise ConfigurationError(f"mahalanobis needs at least 2 rows to fit on, there are {len(rows)}")
        from sklearn.covariance import LedoitWolf  # a second to import, which only fitting should pay

        estimate = LedoitWolf(store_precision=False).fit(rows)
        return cls(estimate.location_, _inverse_root(estimate.covariance_))

    def score(self, rows: Matrix) -> Vector:
        squares = self.feature_scores(rows)
        with np.errstate(over="ignore"):
            distances: Vector = np.sqrt(squares.sum(axis=1))
        return distances

    def feature_scores(self, rows: Matrix) -> Matrix:
        """The squares of the row's uncorrelated coordinates, one for each feature."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is judged as not finite by the caller
            return np.square(product(rows - self._mean, self._whitening))

    def state(self) -> State:
        return State({"mean": self._mean, "whitening": self._whitening})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(state.arrays["mean"], state.arrays["whitening"])


def _inverse_root(covariance: Matrix) -> Matrix:
    """The symmetric W with W W the inverse. Where nothing varies at all a feature keeps its own unit."""
    variances, directions = np.linalg.eigh(covariance)
    if variances[-1] <= 0:
        return np.eye(len(covariance))
    floor = variances[-1] * len(covariance) * np.finfo(np.float64).eps
    root: Matrix = (directions / np.sqrt(np.maximum(variances, floor))) @ directions.T
    return root
