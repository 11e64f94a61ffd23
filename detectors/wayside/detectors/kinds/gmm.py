"""`gmm`: how unlikely a row is under a mixture of normal distributions.

Source: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 39 (1977), as
scikit-learn's `GaussianMixture` fits it.
Invariant: the score is the negative log-likelihood, summed in logarithms from the largest term on: a row far from every
component has a large finite score, never the infinity of a likelihood that underflows.
"""

import warnings
from dataclasses import dataclass
from math import log, pi
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.products import product
from wayside.detectors.kinds.protocol import Array, Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError

_MOST_ROUNDS = 500
_LEAST_ROWS = 2  # a component; with fewer it is one row and its ridge


@dataclass(frozen=True, slots=True)
class MixtureOptions:
    """`components` is how many normal distributions; `ridge` is what is added to the variance of every feature."""

    components: int = 8
    ridge: float = 0.01

    def __post_init__(self) -> None:
        if not 1 <= self.components <= 1024:
            raise ConfigurationError(f"components is {self.components}: give 1 to 1024")
        if not 0 < self.ridge < float("inf"):
            raise ConfigurationError(f"ridge is {self.ridge:g}: give a number above 0")


class GaussianMixtures(RowDetector):
    """K components: `weights` (K,) sum to 1, `means` (K, d), `whitening` (K, d, d) are W with W Wᵀ the precisions."""

    kind: ClassVar[str] = "gmm"
    summary: ClassVar[str] = "negative log-likelihood under a mixture of normal distributions"
    options: ClassVar[type[MixtureOptions]] = MixtureOptions

    def __init__(self, weights: Vector, means: Matrix, whitening: Array) -> None:
        count, width = means.shape
        if weights.shape != (count,) or whitening.shape != (count, width, width) or not (weights > 0).all():
            raise ValueError(f"'weights', 'means' and 'whitening' of shapes {weights.shape}, {means.shape}, …")
        self._weights, self._means, self._whitening = weights, means, np.ascontiguousarray(whitening)
        log_volume = np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
        self._offsets = np.log(weights) + log_volume - 0.5 * width * log(2 * pi)

    @property
    def features(self) -> int:
        return int(self._means.shape[1])

    @classmethod
    def fit(cls, rows: Matrix, options: MixtureOptions, context: FitContext) -> Self:
        needed = _LEAST_ROWS * options.components
        if len(rows) < needed:
            raise ConfigurationError(
                f"gmm of {options.components} components needs at least {needed} rows to fit on, there are {len(rows)}"
            )
        from sklearn.exceptions import ConvergenceWarning  # a second to import, which only fitting should pay
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(
            options.components, reg_covar=options.ridge, max_iter=_MOST_ROUNDS, random_state=context.seed % 2**32
        )
        with warnings.catch_warnings():
            # fewer distinct rows than components, or rounds that ran out: a coarser mixture, which calibration judges
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows)
        kept = mixture.weights_ > 0
        return cls(mixture.weights_[kept], mixture.means_[kept], mixture.precisions_cholesky_[kept])

    def score(self, rows: Matrix) -> Vector:
        terms = np.stack([self._log_density(rows, at) for at in range(len(self._weights))], axis=1)
        largest = terms.max(axis=1)
        with np.errstate(invalid="ignore"):
            rest = np.exp(terms - largest[:, None]).sum(axis=1)
        likelihood: Vector = largest + np.log(rest)
        return -likelihood

    def _log_density(self, rows: Matrix, at: int) -> Vector:
        """The logarithm of one component's weight times its density."""
        whitened = product(rows - self._means[at], self._whitening[at])
        with np.errstate(over="ignore", invalid="ignore"):
            density: Vector = self._offsets[at] - 0.5 * np.square(whitened).sum(axis=1)
        return density

    def state(self) -> State:
        return State({"weights": self._weights, "means": self._means, "whitening": self._whitening})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(state.arrays["weights"], state.arrays["means"], state.arrays["whitening"])
