"""`uncertainty`: how sure a model is of a prediction, from the class probabilities in its response.

Source: Settles, "Active learning literature survey", University of Wisconsin-Madison TR 1648 (2009), §3.1, for the
three measures; Shannon 1948 for the entropy, here in nats.
Invariant: what is not a list of probabilities (none below 0, their sum 1) gives NaN, never a number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

import numpy as np

from wayside.detectors.drift.transforms.transform import Transform, column_names
from wayside.detectors.kinds.protocol import Arrays, Matrix, Vector
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError

_TOLERANCE = 1e-3  # of a sum of probabilities, which models give as float16 or rounded in JSON


class Uncertainty(StrEnum):
    """The entropy; 1 - the largest probability; the two largest probabilities' difference."""

    ENTROPY = "entropy"
    LEAST_CONFIDENCE = "least-confidence"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True)
class UncertaintyTransform(Transform):
    """One feature of rows of class probabilities. A response of one number a row (a regression) stays as it is."""

    name: ClassVar[str] = "uncertainty"
    schema: Schema
    measure: Uncertainty = Uncertainty.ENTROPY

    def __post_init__(self) -> None:
        if self.schema.categorical:
            raise ValueError("uncertainty is measured of probabilities, not of categories")

    @classmethod
    def fit(cls, schema: Schema, coded: Matrix, measure: Uncertainty) -> Self:
        """Raises `ConfigurationError` where rows are no class probabilities."""
        if schema.categorical:
            raise ConfigurationError(f"{schema.describe(schema.categorical[0])} holds categories, no probabilities")
        transform = cls(schema, measure)
        bad = np.flatnonzero(np.isnan(transform.apply(coded)).any(axis=1))
        if len(bad):
            raise ConfigurationError(
                f"row {bad[0]} holds no class probabilities (none below 0, their sum 1): give responses that do, with"
                " --on response, or another --transform"
            )
        return transform

    @property
    def names(self) -> tuple[str, ...]:
        return column_names(self.schema) if len(self.schema.columns) == 1 else (self.measure.value,)

    @property
    def categories(self) -> tuple[int, ...]:
        return (0,)

    @property
    def sources(self) -> tuple[int, ...] | None:
        return (0,) if len(self.schema.columns) == 1 else None

    def apply(self, coded: Matrix) -> Matrix:
        if coded.shape[1] == 1:
            return coded
        with np.errstate(over="ignore", invalid="ignore"):
            whole = (coded >= 0).all(axis=1) & (np.abs(coded.sum(axis=1) - 1) <= _TOLERANCE)
        features = np.full((len(coded), 1), np.nan)
        features[whole, 0] = _MEASURES[self.measure](coded[whole])
        return features

    def arrays(self) -> Arrays:
        return {}

    def settings(self) -> Mapping[str, Any]:
        return {"measure": self.measure.value}

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        return cls(schema, Uncertainty(settings["measure"]))


def _entropy(rows: Matrix) -> Vector:
    logarithms = np.log(np.where(rows > 0, rows, 1.0))
    return np.asarray(-(rows * logarithms).sum(axis=1))


def _least_confidence(rows: Matrix) -> Vector:
    return np.asarray(1.0 - rows.max(axis=1))


def _margin(rows: Matrix) -> Vector:
    two = np.partition(rows, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


_MEASURES: Mapping[Uncertainty, Callable[[Matrix], Vector]] = {
    Uncertainty.ENTROPY: _entropy,
    Uncertainty.LEAST_CONFIDENCE: _least_confidence,
    Uncertainty.MARGIN: _margin,
}
