"""`mahalanobis`: distance from the reference's mean in units of its covariance.

Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate
Analysis 88 (2004): the covariance is shrunk towards a multiple of the identity, on standardised columns, so that it
can be inverted also where there are fewer rows than columns.
Invariant: every matrix product has one shape, so that a row's score is the same bits in whatever batch it travels.
"""

from typing import ClassVar, Self

import numpy as np

from wayside.detectors.runtimes.protocol import Arrays, FitOptions, Matrix, Vector
from wayside.detectors.runtimes.standardise import Standardiser
from wayside.eventing.errors import ConfigurationError

_BLOCK_ROWS = 16


class Mahalanobis:
    """Mahalanobis distance under a Ledoit-Wolf covariance. `whitening` has shape (d, d): W with W Wᵀ the precision."""

    kind: ClassVar[str] = "mahalanobis"

    def __init__(self, standardiser: Standardiser, whitening: Matrix) -> None:
        features = len(standardiser.mean)
        if whitening.shape != (features, features):
            raise ValueError(f"'whitening' has shape {whitening.shape}")
        self._standardiser = standardiser
        self._whitening = whitening

    @property
    def features(self) -> int:
        return len(self._whitening)

    @classmethod
    def fit(cls, rows: Matrix, options: FitOptions) -> Self:
        if len(rows) < 2:
            raise ConfigurationError(f"mahalanobis needs at least 2 rows to fit on, there are {len(rows)}")
        from sklearn.covariance import LedoitWolf  # a second to import, which only fitting should pay

        standardiser = Standardiser.of(rows)
        # standardised columns have mean 0 already
        precision = LedoitWolf(assume_centered=True).fit(standardiser.apply(rows)).precision_
        return cls(standardiser, np.linalg.cholesky(precision))

    def score(self, rows: Matrix) -> Vector:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is judged as not finite by the caller
            standard = self._standardiser.apply(rows)
            distances: Vector = np.sqrt(np.square(self._whiten(standard)).sum(axis=1))
        return distances

    def _whiten(self, standard: Matrix) -> Matrix:
        """`standard @ whitening` in blocks of one shape: a BLAS picks its kernel, and its rounding, by shape."""
        blocks = -(-len(standard) // _BLOCK_ROWS)
        padded = np.zeros((blocks * _BLOCK_ROWS, self.features))
        padded[: len(standard)] = standard
        whitened: Matrix = np.matmul(padded.reshape(blocks, _BLOCK_ROWS, self.features), self._whitening)
        return whitened.reshape(-1, self.features)[: len(standard)]

    def arrays(self) -> Arrays:
        return {"mean": self._standardiser.mean, "scale": self._standardiser.scale, "whitening": self._whitening}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        return cls(Standardiser(arrays["mean"], arrays["scale"]), arrays["whitening"])
