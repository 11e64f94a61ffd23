"""What a detector is to the rest of the house: it is fitted on rows, kept as arrays, and scores or tests.

Invariant: a detector's answer on a row, or on a window, depends on its arrays and on that row or window alone; it does
not depend on what else is scored in the same call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What a kind may be told when it is fitted; a kind reads what concerns it. `k` is `knn`'s number of neighbours."""

    k: int = 10


@dataclass(frozen=True, slots=True)
class WindowTest:
    """The outcome of one test of a window. `p_value` holds for the window as a whole; features have one entry each."""

    statistic: float
    p_value: float
    feature_distance: Vector
    feature_p_value: Vector


class Runtime(Protocol):
    """What row and window detectors share. `arrays` and `restore` are inverse to each other."""

    kind: ClassVar[str]

    @property
    def features(self) -> int:
        """The number of columns it was fitted on."""

    @classmethod
    def fit(cls, rows: Matrix, options: FitOptions) -> Self:
        """Fit on rows of shape (n, d), all finite. Raises `ConfigurationError` where they are too few."""

    def arrays(self) -> Arrays:
        """All of its state, as float64."""

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """The detector that gave these arrays. Raises `KeyError` or `ValueError` where they are not of this kind."""


class RowDetector(Runtime, Protocol):
    """Scores rows one by one."""

    def score(self, rows: Matrix) -> Vector:
        """A score a row, shape (n,), for finite rows of shape (n, d). Higher is more anomalous."""


class WindowDetector(Runtime, Protocol):
    """Tests a window of rows against its reference."""

    def test(self, window: Matrix) -> WindowTest:
        """Whether rows of shape (w, d) may come from where the reference came from; any value is allowed."""
