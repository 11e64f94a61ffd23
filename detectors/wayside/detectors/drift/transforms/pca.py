"""`pca`: the directions in which scaled rows vary most.

Source: Pearson, "On lines and planes of closest fit to systems of points in space", Philosophical Magazine 2 (1901).
Invariant: equal rows give equal directions, signs included: of each, the entry of largest size is positive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from wayside.detectors.drift.transforms.scaled import ScaledTransform
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError

DEFAULT_SHARE = 0.95
_DIRECTIONS, _MEAN = "directions", "mean"


@dataclass(frozen=True, slots=True, eq=False)
class PcaTransform(Transform):
    """`directions` (features of `scaled`, components), orthonormal; `mean` (features of `scaled`,)."""

    name: ClassVar[str] = "pca"
    scaled: ScaledTransform
    mean: Vector
    directions: Matrix

    def __post_init__(self) -> None:
        features = self.scaled.preprocessing.features
        if self.mean.shape != (features,) or self.directions.ndim != 2 or len(self.directions) != features:
            raise ValueError(f"'directions' has shape {self.directions.shape} for {features} features")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.directions).all()):
            raise ValueError("'directions' or 'mean' is not finite")

    @classmethod
    def fit(cls, scaled: ScaledTransform, coded: Matrix, components: float = DEFAULT_SHARE) -> Self:
        """So many components, or where that is below 1, as few as hold this share of the variance.

        Raises `ConfigurationError` where there are not so many, or no column varies.
        """
        rows = scaled.apply(coded)
        mean = rows.mean(axis=0)
        variances, directions = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        variances, directions = np.clip(variances[::-1], 0.0, None), directions[:, ::-1]
        kept = directions[:, : _count(variances, components)]
        largest = np.take_along_axis(kept, np.abs(kept).argmax(axis=0)[None], axis=0)
        return cls(scaled, mean, np.ascontiguousarray(kept * np.sign(largest)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"component {at}" for at in range(1, self.directions.shape[1] + 1))

    @property
    def categories(self) -> tuple[int, ...]:
        return (0,) * int(self.directions.shape[1])

    @property
    def sources(self) -> None:
        return None

    def apply(self, coded: Matrix) -> Matrix:
        with np.errstate(over="ignore", invalid="ignore"):
            features: Matrix = (self.scaled.apply(coded) - self.mean) @ self.directions
        return features

    def arrays(self) -> Arrays:
        return {**self.scaled.arrays(), _MEAN: self.mean, _DIRECTIONS: self.directions}

    def settings(self) -> Mapping[str, Any]:
        return {}

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        left = {name: array for name, array in arrays.items() if name not in (_MEAN, _DIRECTIONS)}
        return cls(ScaledTransform.restore(schema, left, {}), arrays[_MEAN], arrays[_DIRECTIONS])


def _count(variances: Vector, components: float) -> int:
    """How many of the variances, in falling order, are kept."""
    total = float(variances.sum())
    if not total:
        raise ConfigurationError("no column of the reference varies: there are no principal components")
    if components >= 1:
        if components != int(components) or components > len(variances):
            most = len(variances)
            raise ConfigurationError(f"{components:g} components of {most} features: give a whole number, 1 to {most}")
        return int(components)
    if not components > 0:
        raise ConfigurationError(f"{components:g} components: give a number, or a share of the variance such as 0.95")
    return int(np.searchsorted(np.cumsum(variances) / total, components - 1e-12)) + 1
