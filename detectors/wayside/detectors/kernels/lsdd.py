"""The least-squares density difference of a window from a kept sample of the reference, by Gaussians about centres.

Source: Sugiyama et al., "Density-difference estimation", Neural Computation 25 (2013); Bu, Alippi and Zhao, "A pdf-free
change detection test based on density difference estimation", IEEE TNNLS 29 (2018), appendix A for the regularisation.
Both integrate the squared difference g = Σ θ_l exp(-|x - c_l|² / 2w²); the constant factor (πw²)^(d/2) is left out, as
it under- or overflows in many dimensions and changes no p-value.
Invariant: the statistic is h'Ah of h, the difference of the samples' mean kernels with the centres, and A is fixed.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kernels.arithmetic import Arithmetic, Floats, median_width
from wayside.detectors.kernels.mmd import near
from wayside.detectors.kernels.null import Indices, Measure
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector

_LAMBDAS = tuple(4.0**-power for power in range(10))
_MOST_DIFFERENCE = 0.2  # of two estimates of one difference, by the regularisation: appendix A
_SPLITS = 64


@dataclass(frozen=True, slots=True, eq=False)
class LsddMeasure:
    """`kept` (m, d) and `centres` (p, d), different rows, lie about `centre`; `mean` (p,) is the kept rows' kernel."""

    kept: Floats
    centres: Floats
    centre: Vector
    width: float
    form: Matrix
    mean: Vector
    arithmetic: Arithmetic

    @classmethod
    def fit(cls, rows: Matrix, centres: int, arithmetic: Arithmetic, seed: int) -> Self:
        """Of the rows, in random order, the first `centres` are that, half of them at most."""
        centre = rows.mean(axis=0)
        some = near(rows, centre)
        width, count = median_width(some), min(centres, len(some) // 2)
        chosen, kept = some[:count], some[count:]
        kernel = arithmetic.kernel(kept, chosen, width)
        gram = gram_of(arithmetic, chosen, width)
        penalty = chosen_penalty(gram, _splits(kernel, seed))
        return cls(kept, chosen, centre, width, form_of(gram, penalty), kernel.mean(axis=0, dtype=float), arithmetic)

    @property
    def features(self) -> int:
        return int(self.kept.shape[1])

    @property
    def sample(self) -> Matrix:
        rows: Matrix = self.kept + self.centre
        return rows

    def statistic(self, rows: Matrix) -> float:
        kernel = self.arithmetic.kernel(near(rows, self.centre), self.centres, self.width)
        return self._value(kernel.mean(axis=0, dtype=np.float64))

    def held(self, rows: Matrix) -> Measure:
        kernel = self.arithmetic.kernel(near(rows, self.centre), self.centres, self.width)

        def measure(indices: Indices) -> float:
            return self._value(kernel[indices].mean(axis=0, dtype=np.float64))

        return measure

    def regrouped(self, reference: Matrix, window: Matrix, members: Floats) -> Vector:
        both = near(np.concatenate([reference, window]), self.centre)
        kernel = self.arithmetic.kernel(both, self.centres, self.width)
        inside = self.arithmetic.product(np.ascontiguousarray(members.T), kernel).astype(np.float64)
        n = members.sum(axis=0, dtype=np.float64)[:, None]
        others = kernel.sum(axis=0, dtype=np.float64) - inside
        return quadratic(others / (len(both) - n) - inside / n, self.form)

    def arrays(self) -> dict[str, Array]:
        return {
            "kept": self.kept,
            "centres": self.centres,
            "centre": self.centre,
            "scalars": np.array([self.width]),
            "form": self.form,
            "mean": self.mean,
        }

    @classmethod
    def of(cls, arrays: Arrays, arithmetic: Arithmetic) -> Self:
        kept, centres, form = (arrays[name] for name in ("kept", "centres", "form"))
        if kept.ndim != 2 or centres.shape[1:] != kept.shape[1:] or form.shape != (len(centres), len(centres)):
            raise ValueError(f"'kept' has shape {kept.shape}, 'centres' {centres.shape}, 'form' {form.shape}")
        return cls(kept, centres, arrays["centre"], float(arrays["scalars"][0]), form, arrays["mean"], arithmetic)

    def _value(self, mean: Vector) -> float:
        return float(quadratic((self.mean - mean)[None, :], self.form)[0])


def gram_of(arithmetic: Arithmetic, centres: Floats, width: float) -> Matrix:
    """∫ of the products of two Gaussians, (p, p), without the constant factor: a kernel of √2 the width."""
    found: Matrix = arithmetic.kernel(centres, centres, float(np.sqrt(2.0)) * width).astype(np.float64)
    return (found + found.T) / 2.0


def form_of(gram: Matrix, penalty: float) -> Matrix:
    """A of the statistic h'Ah = 2 h'θ - θ'Hθ with θ = (H + λI)⁻¹ h."""
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    form = 2.0 * inverse - inverse @ gram @ inverse
    found: Matrix = ((form + form.T) / 2.0).astype(np.float64)
    return found


def chosen_penalty(gram: Matrix, differences: Matrix) -> float:
    """The largest λ by which h'θ and θ'Hθ, which estimate the same, differ by a fifth at most, on average over
    `differences` (s, p) of samples of one population; the smallest known where none does."""
    for penalty in _LAMBDAS:
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), differences.T).T.astype(np.float64)
        first = np.einsum("ij,ij->i", differences, weights)
        second = quadratic(weights, gram)
        shares = 1.0 - second / np.where(first > 0, first, 1.0)
        if float(shares.mean()) < _MOST_DIFFERENCE:
            return penalty
    return _LAMBDAS[-1]


def quadratic(vectors: Matrix, form: Matrix) -> Vector:
    """v'Av of each row, shape (s,)."""
    found: Vector = np.einsum("ij,ij->i", vectors @ form, vectors)
    return found


def _splits(kernel: Floats, seed: int) -> Matrix:
    """Differences of the mean kernels of two random halves, (splits, p)."""
    random = np.random.default_rng([seed, 2])
    signs = np.ones((_SPLITS, len(kernel)), np.float32)
    signs[:, : len(kernel) // 2] = -1.0
    found: Matrix = (random.permuted(signs, axis=1) @ kernel / (len(kernel) / 2.0)).astype(np.float64)
    return found
