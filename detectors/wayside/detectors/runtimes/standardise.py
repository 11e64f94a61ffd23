"""Columns brought to mean 0 and standard deviation 1, so that no unit of measurement weighs more than another.

Invariant: a column that is constant in the reference keeps its own unit (it is divided by 1), never by zero.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.runtimes.protocol import Matrix, Vector
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class Standardiser:
    """The column means and scales of a reference."""

    mean: Vector
    scale: Vector

    @classmethod
    def of(cls, rows: Matrix) -> Self:
        """Measured on rows of shape (n, d), all finite. Raises `ConfigurationError` where their squares overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation, extent = rows.mean(axis=0), rows.std(axis=0), np.ptp(rows, axis=0)
        if not np.isfinite([mean, deviation, extent]).all():
            raise ConfigurationError(
                "the rows hold values too large for float64 arithmetic: scale them, or leave them out"
            )
        # rounding may leave a deviation of 1e-17 where all values are equal
        return cls(mean, np.where((extent == 0) | (deviation == 0), 1.0, deviation))

    def apply(self, rows: Matrix) -> Matrix:
        """The same rows in standard units."""
        standard: Matrix = (rows - self.mean) / self.scale
        return standard
