"""The unbiased squared maximum mean discrepancy of a window from a kept sample of the reference, by an RBF kernel.

Source: Gretton et al., "A kernel two-sample test", JMLR 13 (2012), lemma 6.
Invariant: the mean over the window leaves out each row's kernel with itself, so that the statistic has mean
|μ_window - μ_sample|², 0 where both are one, at every size.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kernels.arithmetic import Arithmetic, Floats, median_width
from wayside.detectors.kernels.null import Indices, Measure
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector


@dataclass(frozen=True, slots=True, eq=False)
class MmdMeasure:
    """`kept` (m, d) lies about `centre`; `self_mean` is the mean kernel of its different rows."""

    kept: Floats
    centre: Vector
    width: float
    self_mean: float
    arithmetic: Arithmetic

    @classmethod
    def fit(cls, rows: Matrix, arithmetic: Arithmetic, width: float = 0.0) -> Self:
        """`width` is the kernel's, 0 for the median heuristic."""
        centre = rows.mean(axis=0)
        kept = near(rows, centre)
        width = width or median_width(kept)
        total = float(arithmetic.quadratics(kept, width, np.ones((len(kept), 1), np.float32))[0, 0])
        return cls(kept, centre, width, total / (len(kept) * (len(kept) - 1)), arithmetic)

    @property
    def features(self) -> int:
        return int(self.kept.shape[1])

    @property
    def sample(self) -> Matrix:
        rows: Matrix = self.kept + self.centre
        return rows

    def statistic(self, rows: Matrix) -> float:
        some = near(rows, self.centre)
        return self._value(some, self.arithmetic.sums(some, self.kept, self.width))

    def held(self, rows: Matrix) -> Measure:
        some = near(rows, self.centre)
        sums = np.concatenate(
            [self.arithmetic.sums(some[at : at + 1024], self.kept, self.width) for at in range(0, len(some), 1024)]
        )

        def measure(indices: Indices) -> float:
            return self._value(some[indices], sums[indices])

        return measure

    def regrouped(self, reference: Matrix, window: Matrix, members: Floats) -> Vector:
        both = near(np.concatenate([reference, window]), self.centre)
        return regrouped_mmd(self.arithmetic, both, self.width, members)

    def arrays(self) -> dict[str, Array]:
        return {"kept": self.kept, "centre": self.centre, "scalars": np.array([self.width, self.self_mean])}

    @classmethod
    def of(cls, arrays: Arrays, arithmetic: Arithmetic) -> Self:
        kept, centre = arrays["kept"], arrays["centre"]
        width, self_mean = arrays["scalars"].tolist()
        if kept.ndim != 2 or centre.shape != kept.shape[1:] or not width > 0:
            raise ValueError(f"'kept' has shape {kept.shape}, 'centre' {centre.shape}, and the width is {width}")
        return cls(np.ascontiguousarray(kept, np.float32), centre, width, self_mean, arithmetic)

    def _value(self, some: Floats, sums: Vector) -> float:
        count = len(some)
        within = float(self.arithmetic.sums(some, some, self.width).sum()) - count  # k(x, x) = 1
        across = float(sums.sum()) / (count * len(self.kept))
        return within / (count * (count - 1)) + self.self_mean - 2.0 * across


def near(rows: Matrix, centre: Vector) -> Floats:
    """About the centre, in float32; what is further than that can say stays finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.clip(rows - centre, -1e15, 1e15).astype(np.float32)
    return found


def regrouped_mmd(arithmetic: Arithmetic, both: Floats, width: float, members: Floats) -> Vector:
    """The unbiased statistic of two samples for each grouping of their rows, by one product of matrices."""
    everyone = np.ones((len(both), 1), np.float32)
    within, reached = arithmetic.quadratics(both, width, np.hstack([members, everyone]))
    inside, whole = within[:-1], within[-1]
    n = members.sum(axis=0, dtype=np.float64)
    m = len(both) - n
    across = reached[:-1] - inside  # each pair of both once
    outside = whole - inside - 2.0 * across
    found: Vector = inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2.0 * across / (n * m)
    return found
