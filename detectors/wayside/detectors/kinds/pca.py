"""`pca`: what of a row the first principal components cannot say.

Source: Jackson and Mudholkar, "Control procedures for residuals associated with principal component analysis",
Technometrics 21 (1979): the squared prediction error.
Invariant: the feature scores of a row, its squared residuals, sum to its score.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.kinds.products import product
from wayside.detectors.kinds.protocol import Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ComponentOptions:
    """`components` is how many, or where it is below 1 the share of the variance that they say at least.

    One fewer than there are columns at most: something is left to score.
    """

    components: float = 0.5

    def __post_init__(self) -> None:
        whole = self.components >= 1 and float(self.components).is_integer()
        if not (0 < self.components < 1 or whole):
            raise ConfigurationError(
                f"components is {self.components:g}: give a whole number, or a share of the variance between 0 and 1"
            )


class PrincipalComponents(RowDetector):
    """`components` (d, q) are orthonormal columns; `mean` has shape (d,)."""

    kind: ClassVar[str] = "pca"
    summary: ClassVar[str] = "squared error of reconstruction by principal components"
    options: ClassVar[type[ComponentOptions]] = ComponentOptions
    gives_feature_scores: ClassVar[bool] = True

    def __init__(self, mean: Vector, components: Matrix) -> None:
        if mean.ndim != 1 or components.ndim != 2 or len(components) != len(mean):
            raise ValueError(f"'mean' has shape {mean.shape} and 'components' {components.shape}")
        self._mean, self._components = mean, np.ascontiguousarray(components)
        self._back = np.ascontiguousarray(components.T)

    @property
    def features(self) -> int:
        return len(self._mean)

    @classmethod
    def fit(cls, rows: Matrix, options: ComponentOptions, context: FitContext) -> Self:
        if len(rows) < 2:
            raise ConfigurationError(f"pca needs at least 2 rows to fit on, there are {len(rows)}")
        mean = rows.mean(axis=0)
        centred = rows - mean
        variances, directions = np.linalg.eigh(centred.T @ centred / (len(rows) - 1))
        count = _count(np.maximum(variances[::-1], 0.0), options.components)
        return cls(mean, directions[:, ::-1][:, :count])

    def score(self, rows: Matrix) -> Vector:
        squares = self.feature_scores(rows)
        with np.errstate(over="ignore"):
            total: Vector = squares.sum(axis=1)
        return total

    def feature_scores(self, rows: Matrix) -> Matrix:
        centred = rows - self._mean
        with np.errstate(over="ignore", invalid="ignore"):
            residual = centred - product(product(centred, self._components), self._back)
            return np.square(residual)

    def state(self) -> State:
        return State({"mean": self._mean, "components": self._components})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(state.arrays["mean"], state.arrays["components"])


def _count(variances: Vector, components: float) -> int:
    """How many components, from the variances in falling order."""
    most = len(variances) - 1
    if components >= 1:
        return min(int(components), most)
    said = np.cumsum(variances)
    return min(int(np.searchsorted(said, components * said[-1])) + 1, most)
