"""`scaled`: finite features of one scale, by the same preprocessing that row detectors have.

Invariant: as `Preprocessing`'s: what may be missing is filled in, categories become indicators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from wayside.detectors.drift.transforms.transform import Transform, column_names
from wayside.detectors.kinds.protocol import Arrays, Matrix
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import ColumnSchema, ColumnType, Schema

UNSEEN = "any other"


@dataclass(frozen=True, slots=True, eq=False)
class ScaledTransform(Transform):
    """The features of `preprocessing`."""

    name: ClassVar[str] = "scaled"
    preprocessing: Preprocessing

    @property
    def names(self) -> tuple[str, ...]:
        schema = self.preprocessing.schema
        pairs = zip(column_names(schema), schema.columns, strict=True)
        return tuple(text for name, column in pairs for text in _feature_names(name, column))

    @property
    def categories(self) -> tuple[int, ...]:
        return (0,) * self.preprocessing.features

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(self.preprocessing.sources.tolist())

    def apply(self, coded: Matrix) -> Matrix:
        return self.preprocessing.apply(coded)

    def arrays(self) -> Arrays:
        return self.preprocessing.arrays()

    def settings(self) -> Mapping[str, Any]:
        return {}

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        return cls(Preprocessing(schema, **arrays))


def _feature_names(name: str, column: ColumnSchema) -> list[str]:
    """The names of a column's features, in the order of `Preprocessing`."""
    is_category = column.type is ColumnType.CATEGORY
    values = [f"{name} = {text}" for text in (*column.categories, UNSEEN)] if is_category else [name]
    return [*values, *([f"{name} is missing"] if column.missing else [])]
