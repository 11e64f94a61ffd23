"""`columns`: rows as they are coded, categories as indices and what is missing as NaN.

Invariant: what comes out are the bytes that went in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from wayside.detectors.drift.transforms.transform import Transform, column_names
from wayside.detectors.kinds.protocol import Arrays, Matrix
from wayside.detectors.tabular.schema import ColumnType, Schema


@dataclass(frozen=True, slots=True)
class ColumnsTransform(Transform):
    """The columns themselves."""

    name: ClassVar[str] = "columns"
    schema: Schema

    @property
    def names(self) -> tuple[str, ...]:
        return column_names(self.schema)

    @property
    def categories(self) -> tuple[int, ...]:
        return tuple(len(each.categories) if each.type is ColumnType.CATEGORY else 0 for each in self.schema.columns)

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(range(len(self.schema.columns)))

    def apply(self, coded: Matrix) -> Matrix:
        return coded

    def arrays(self) -> Arrays:
        return {}

    def settings(self) -> Mapping[str, Any]:
        return {}

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        return cls(schema)
