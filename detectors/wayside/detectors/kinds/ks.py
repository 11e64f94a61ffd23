"""`ks`: two-sample Kolmogorov-Smirnov test of every column against the reference, Bonferroni over the columns.

Source: Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för Matematik 3 (1958), for the
exact p-value; Simard and L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution", J. Statistical Software
39 (2011), for the limiting one. Ties make the test conservative.
Invariant: `p_value` is valid for the window as a whole: with rows drawn as the reference was, P(p_value ≤ a) ≤ a,
over draws of both. NaN counts as +inf, larger than every finite value, so that it moves the distance and is never lost.
"""

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import (
    Execution,
    Matrix,
    NoOptions,
    Sample,
    State,
    Vector,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.eventing.errors import ConfigurationError

_LEAST_ROWS = 2


class KolmogorovSmirnov(WindowDetector):
    """`reference` has shape (d, m): one sorted row a column of the data."""

    kind: ClassVar[str] = "ks"
    takes_missing: ClassVar[bool] = True
    transform: ClassVar[str] = "columns"
    summary: ClassVar[str] = "two-sample Kolmogorov-Smirnov a column, Bonferroni over columns"

    def __init__(self, reference: Matrix) -> None:
        if reference.ndim != 2 or reference.shape[1] < _LEAST_ROWS:
            raise ValueError(f"'reference' has shape {reference.shape}")
        self._reference = np.ascontiguousarray(reference)

    @property
    def features(self) -> int:
        return len(self._reference)

    @classmethod
    def fit(cls, reference: Sample, options: NoOptions, context: WindowFitContext) -> Self:
        rows = reference.rows
        if len(rows) < _LEAST_ROWS:
            raise ConfigurationError(f"ks needs at least {_LEAST_ROWS} rows as its reference, there are {len(rows)}")
        return cls(np.sort(rows.T, axis=1))

    @property
    def least_rows(self) -> int:
        return _LEAST_ROWS

    def test(self, window: Sample) -> WindowTest:
        columns = np.sort(np.where(np.isnan(window.rows), np.inf, window.rows).T, axis=1)
        distances = np.array([_distance(*pair) for pair in zip(columns, self._reference, strict=True)])
        p_values = self._p_values(columns, distances)
        return WindowTest(
            statistic=float(distances.max()),
            p_value=min(1.0, self.features * float(p_values.min())),
            feature_distance=distances,
            feature_p_value=p_values,
        )

    def _p_values(self, columns: Matrix, distances: Vector) -> Vector:
        """The limiting p-value a column, none below that of the largest distance, which alone decides.

        That one is exact (scipy's `auto`: up to 10 000 reference rows), since the limiting one is up to a tenth too
        small in the far tail; computing all exactly would cost some 2 ms a column.
        """
        from scipy.stats import ks_2samp, kstwo  # a second to import, which row detectors need not pay

        window_rows, reference_rows = columns.shape[1], self._reference.shape[1]
        effective = round(window_rows * reference_rows / (window_rows + reference_rows))
        limiting = kstwo.sf(distances, max(effective, 1))
        decisive = int(distances.argmax())
        exact = ks_2samp(columns[decisive], self._reference[decisive], method="auto").pvalue
        p_values: Vector = np.clip(np.maximum(limiting, exact), 0.0, 1.0)
        p_values[decisive] = min(1.0, float(exact))
        return p_values

    def state(self) -> State:
        return State({"reference": self._reference})

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        return cls(state.arrays["reference"])


def _distance(window: Vector, reference: Vector) -> float:
    """sup |F_window - F_reference| of two sorted samples, from whole counts, so that equal samples give exactly 0.

    The supremum of F_window - F_reference lies at a value of the window; that of the other sign just before one.
    """
    below, upto = _counts(window, window)
    reference_below, reference_upto = _counts(reference, window)
    m, n = len(reference), len(window)
    widest = max((upto * m - reference_upto * n).max(), (reference_below * n - below * m).max(), 0)
    return float(widest / (m * n))


def _counts(sample: Vector, values: Vector) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many of a sorted sample are below each value, and how many at most equal to it."""
    return np.searchsorted(sample, values, "left"), np.searchsorted(sample, values, "right")
