"""What a statistic against a kept reference is to the window kinds that rest on one: MMD, LSDD, a classifier's AUC.

Invariant: `statistic` of rows and `held` at their indices are the same number but for rounding.
"""

from typing import Protocol, Self

from wayside.detectors.kernels.arithmetic import Arithmetic, Floats
from wayside.detectors.kernels.null import Measure
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector


class ReferenceMeasure(Protocol):
    """Larger is further from the reference. Rows are finite, shape (n, d), in the reference's own coordinates."""

    @property
    def features(self) -> int:
        """d."""

    @property
    def sample(self) -> Matrix:
        """The rows of the reference that it keeps, (m, d)."""

    def statistic(self, rows: Matrix) -> float:
        """Of a window, at least two rows."""

    def held(self, rows: Matrix) -> Measure:
        """The statistic of windows of these rows, prepared once."""

    def regrouped(self, reference: Matrix, window: Matrix, members: Floats) -> Vector:
        """The two-sample statistic under each column of `members` (m + n, p), which says who is in the window."""

    def arrays(self) -> dict[str, Array]:
        """All of it."""

    @classmethod
    def of(cls, arrays: Arrays, arithmetic: Arithmetic) -> Self:
        """What gave these arrays. Raises `KeyError` or `ValueError`."""
