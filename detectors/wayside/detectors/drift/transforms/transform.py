"""What every transform of rows is to the rest: coded columns in, the features that a window detector is fitted on out.

Invariant: a row's features follow from that row alone; one that does not fit, or from which no feature can be made, has
features that are not finite, and harms no other row.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from wayside.detectors.kinds.protocol import Arrays, Matrix
from wayside.detectors.tabular.schema import Schema


class Transform(Protocol):
    """`arrays` with `settings`, and `restore`, are inverse to each other; both are part of the artifact's digest."""

    name: ClassVar[str]

    @property
    def names(self) -> tuple[str, ...]:
        """What people call the features, in order."""

    @property
    def categories(self) -> tuple[int, ...]:
        """How many categories each feature has; 0 for numbers."""

    @property
    def sources(self) -> tuple[int, ...] | None:
        """The column that each feature is made of; None where a feature is made of all of them."""

    def apply(self, coded: Matrix) -> Matrix:
        """Features of shape (n, features) for coded rows of shape (n, columns)."""

    def arrays(self) -> Arrays:
        """What it was fitted to."""

    def settings(self) -> Mapping[str, Any]:
        """What is chosen rather than fitted, as JSON values."""

    @classmethod
    def restore(cls, schema: Schema, arrays: Arrays, settings: Mapping[str, Any]) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError` where they are not of this transform."""


def column_names(schema: Schema) -> tuple[str, ...]:
    """What people call the columns: their names, or their positions from 0."""
    return schema.names or tuple(str(at) for at in range(len(schema.columns)))
