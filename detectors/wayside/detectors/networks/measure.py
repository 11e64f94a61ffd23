"""How the errors of a rebuilt row become scores: of each feature, and of the row.

Source: An and Cho, "Variational autoencoder based anomaly detection using reconstruction probability", SNU Data Mining
Center 2015, for errors in units of the variance that is usual; the row's score is their quadratic mean in place of the
arithmetic one, since an outlier is seldom odd in every feature (KDDCup99 gains .01 to .02 of F1).
Invariant: as it comes, a measure is the mean squared error and nothing else, which is what alibi-detect's score is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector

LEAST_DEVIATION = 0.03
"""Of an error, in scaled units: a feature that is always rebuilt exactly does not outweigh all others."""
_NAMES = ("measure.limit", "measure.precisions", "measure.is_quadratic")


def _neutral() -> NDArray[np.float32]:
    return np.ones(1, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A feature's score is its squared error times its entry of `precisions`, shape (features,), or (1,) for all alike.

    A row's score is the mean of them, or their quadratic mean. The network sees no value farther than `limit` from 0,
    so that it cannot rebuild what lies beyond; the error is that of the row as it is.
    """

    limit: float = np.inf
    precisions: NDArray[np.float32] = field(default_factory=_neutral)
    is_quadratic: bool = False

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"'measure.limit' is {self.limit:g}")
        if self.precisions.ndim != 1 or not ((self.precisions > 0) & np.isfinite(self.precisions)).all():
            raise ValueError("'measure.precisions' holds what is not a number above 0")

    def fits(self, features: int) -> bool:
        """Whether it measures rows of so many features."""
        return len(self.precisions) in (1, features)

    def fitted(self, errors: Vector) -> Self:
        """For a network with these mean squared errors, shape (features,): each feature's are in units of its own (and
        of `LEAST_DEVIATION`); and quadratic."""
        precisions = 1.0 / (errors + LEAST_DEVIATION**2)
        return type(self)(self.limit, precisions.astype(np.float32), True)

    def seen(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows as the network sees them."""
        rows_seen: NDArray[Any] = np.clip(rows, -self.limit, self.limit)
        return rows_seen

    def row_scores(self, feature_scores: NDArray[Any]) -> NDArray[Any]:
        """Shape (n,), of shape (n, features)."""
        if not self.is_quadratic:
            return np.asarray(feature_scores.mean(axis=1))
        doubles = feature_scores.astype(np.float64)
        return np.asarray(np.sqrt(np.square(doubles).mean(axis=1)), feature_scores.dtype)

    def arrays(self) -> Arrays:
        values = (np.array([self.limit]), self.precisions, np.array([self.is_quadratic], np.int32))
        return dict(zip(_NAMES, values, strict=True))

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> Self:
        """The inverse of `arrays`. Raises `KeyError` or `ValueError`."""
        limit, precisions, is_quadratic = (arrays[name] for name in _NAMES)
        return cls(float(limit.item()), np.asarray(precisions, np.float32), bool(is_quadratic.item()))


def mean_errors(errors_of: Callable[[NDArray[Any]], NDArray[Any]], rows: Matrix, block_rows: int) -> Vector:
    """The mean over rows of shape (n, features) of what `errors_of` gives of a block of them."""
    blocks = (rows[at : at + block_rows].astype(np.float32) for at in range(0, len(rows), block_rows))
    total: Vector = sum((errors_of(block).sum(axis=0, dtype=np.float64) for block in blocks), np.zeros(rows.shape[1]))
    return total / len(rows)
