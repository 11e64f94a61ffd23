"""Columns brought to mean 0 and standard deviation 1, so that no unit of measurement weighs more than another.

Invariant: a column that is constant in the reference keeps its own unit (it is divided by 1), never by zero.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.runtimes.protocol import Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Standardiser:
    """The column means and scales of a reference."""

    mean: Vector
    scale: Vector

    @classmethod
    def of(cls, rows: Matrix) -> Self:
        """Measured on rows of shape (n, d), all finite."""
        deviation = rows.std(axis=0)
        constant = np.ptp(rows, axis=0) == 0  # rounding may leave a deviation of 1e-17 where all values are equal
        return cls(rows.mean(axis=0), np.where(constant | (deviation == 0), 1.0, deviation))

    def apply(self, rows: Matrix) -> Matrix:
        """The same rows in standard units."""
        standard: Matrix = (rows - self.mean) / self.scale
        return standard
