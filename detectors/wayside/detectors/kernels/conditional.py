"""How far a window is from the reference given each row's context, by an RBF kernel.

Source: Cobb and Van Looveren, "Context-aware drift detection", ICML 2022: the average over contexts of the squared
distance between conditional mean embeddings (ADiTT). Here those are a regression on strata of contexts, the reference's
held by weights of landmark rows (Williams and Seeger, "Using the Nyström method", NIPS 2000).
The statistic is the mean over pairs of different rows of <φ(x) - μ(x), φ(y) - μ(y)>, with the mean of each row's own
context, where pairs of one stratum count twice: it sees what differs everywhere alike, and what differs within contexts
in opposite ways. It is divided by its deviation, which follows from how the window's rows lie in strata, and from how
many rows of the reference each stratum's mean rests on: where those are few, the level holds over references.
Invariant: where each row comes from its stratum's distribution the mean is 0 whatever the mixture of strata.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from wayside.detectors.kernels.arithmetic import Arithmetic, Floats, median_width
from wayside.detectors.kernels.context import Strata
from wayside.detectors.kernels.mmd import near
from wayside.detectors.kernels.null import Indices
from wayside.detectors.kinds.protocol import Array, Arrays, Matrix, Vector

_RIDGE = 1e-3
_BLOCK_ROWS = 1024
_VARIANCE_ROWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Rows with their strata, how their means are made of those of strata, (n, s), and <φ(x), μ_s> of each, (n, s)."""

    rows: Floats
    strata: Strata
    basis: Floats
    means: Floats

    def take(self, chosen: Indices) -> "Embedded":
        return Embedded(self.rows[chosen], self.strata[chosen], self.basis[chosen], self.means[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class ConditionalMmd:
    """`landmarks` (m, d) lie about `centre`; `weights` (m, s) of them make the mean of each stratum, whose products are
    `products` (s, s), less what the noise of the means adds to them. Each mean is as good as one of `sizes` (s,) rows.
    `variances` (s, s) is that of <φ(x) - μ_a, φ(y) - μ_b>."""

    landmarks: Floats
    centre: Vector
    width: float
    weights: Matrix
    products: Matrix
    sizes: Vector
    variances: Matrix
    arithmetic: Arithmetic

    @classmethod
    def fit(cls, rows: Matrix, basis: Matrix, kept: int, arithmetic: Arithmetic) -> Self:
        """Of rows in random order, each with its basis, (n, s); the first `kept` are the landmarks."""
        centre = rows.mean(axis=0)
        some = near(rows, centre)
        landmarks = some[:kept]
        width = median_width(landmarks)
        gram = arithmetic.kernel(landmarks, landmarks, width).astype(np.float64)
        reached = np.zeros((len(landmarks), basis.shape[1]))
        for at in range(0, len(some), _BLOCK_ROWS):
            kernel = arithmetic.kernel(landmarks, some[at : at + _BLOCK_ROWS], width)
            reached += kernel @ basis[at : at + _BLOCK_ROWS]
        normal = basis.T @ basis
        noise = np.linalg.inv(normal + 1e-6 * np.trace(normal) / len(normal) * np.eye(len(normal)))
        means = reached @ noise
        weights = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), means).astype(np.float64)
        products = weights.T @ gram @ weights
        spread = 1.0 - float(np.einsum("ij,ij->i", basis @ products, basis).mean())  # E|φ(x) - μ(x)|²
        sizes = 1.0 / np.diag(noise)
        unknown: Matrix = np.ones(products.shape)
        return cls(landmarks, centre, width, weights, products - spread * noise, sizes, unknown, arithmetic)

    def with_variances(self, held: Embedded) -> Self:
        """The same, with the variances of rows that its means do not know."""
        count = len(self.products)
        each = max(10, _VARIANCE_ROWS // count)
        part = held.take(np.concatenate([np.flatnonzero(held.strata == at)[:each] for at in range(count)]))
        within = np.eye(count, dtype=np.float32)[part.strata]
        sizes = within.sum(axis=0, dtype=np.float64)
        pairs = np.outer(sizes, sizes) - np.diag(sizes)
        squares = within.T @ np.square(self._residual(part)) @ within
        variances = squares / np.maximum(pairs, 1.0)
        variances = np.maximum(variances, 1e-9 + 1e-3 * float(variances.max()))
        return replace(self, variances=variances)

    def embed(self, rows: Matrix, strata: Strata, basis: Matrix) -> Embedded:
        """Rows of the data, (n, d), in strata of the reference."""
        some, weights = near(rows, self.centre), self.weights.astype(np.float32)
        parts = [some[at : at + _BLOCK_ROWS] for at in range(0, len(some), _BLOCK_ROWS)]
        means = [self.arithmetic.kernel(part, self.landmarks, self.width) @ weights for part in parts]
        return Embedded(some, strata, basis.astype(np.float32), np.concatenate(means))

    def statistic(self, window: Embedded) -> float:
        """In deviations; at least two rows."""
        residual = self._residual(window)
        alike = residual[window.strata[:, None] == window.strata].sum(dtype=np.float64)
        total = 0.5 * float(residual.sum(dtype=np.float64)) + 0.5 * float(alike)
        counts = np.bincount(window.strata, minlength=len(self.products)).astype(np.float64)
        pairs = np.outer(counts, counts) - np.diag(counts)
        shares = 0.5 + 0.5 * np.eye(len(counts))
        inexact = 1.0 + counts / self.sizes  # the window's noise and that of the means that it is held against
        variances = self.variances * np.outer(inexact, inexact)
        return total / float(np.sqrt(2.0 * (shares**2 * pairs * variances).sum()))

    def arrays(self) -> dict[str, Array]:
        """All of it."""
        names = ("landmarks", "centre", "weights", "products", "sizes", "variances")
        return {**{name: getattr(self, name) for name in names}, "scalars": np.array([self.width])}

    @classmethod
    def of(cls, arrays: Arrays, arithmetic: Arithmetic) -> Self:
        """What gave these arrays. Raises `KeyError` or `ValueError`."""
        landmarks, weights, variances = (arrays[name] for name in ("landmarks", "weights", "variances"))
        count = weights.shape[1]
        if len(weights) != len(landmarks) or variances.shape != (count, count):
            raise ValueError(f"'weights' has shape {weights.shape} for {len(landmarks)} landmarks")
        rest = (weights, arrays["products"], arrays["sizes"], variances)
        return cls(landmarks, arrays["centre"], float(arrays["scalars"][0]), *rest, arithmetic)

    def _residual(self, some: Embedded) -> Floats:
        """<φ(x_i) - μ(x_i), φ(x_j) - μ(x_j)>, (n, n), 0 where i = j."""
        across = some.means @ some.basis.T
        residual = self.arithmetic.kernel(some.rows, some.rows, self.width)
        residual -= across + across.T
        residual += some.basis @ self.products.astype(np.float32) @ some.basis.T
        np.fill_diagonal(residual, 0.0)
        return residual


def aditt(kernel: Floats, strata: Strata, members: Floats, shares: Vector, shrinkage: float = 0.0) -> Vector:
    """The distance of two samples given their strata, for each column of `members` (n, p) that says who is in the
    second, by the kernel (n, n) of both.

    Σ_s share_s |μ_s of the first - μ_s of the second|², with means that `shrinkage`, the regression's λ, draws to 0:
    by n_s + λ n in the place of n_s. Strata that are not in both samples count for nothing.
    """
    total = np.zeros(members.shape[1])
    second = members.sum(axis=0, dtype=np.float64)
    first = len(members) - second
    for at, share in enumerate(shares.tolist()):
        rows = np.flatnonzero(strata == at)
        inside = members[rows].astype(np.float64)
        n, m = inside.sum(axis=0), len(rows) - inside.sum(axis=0)
        signed = inside / np.maximum(n + shrinkage * second, 1e-300)
        signed -= (1.0 - inside) / np.maximum(m + shrinkage * first, 1e-300)
        squared = np.einsum("ij,ij->j", kernel[np.ix_(rows, rows)] @ signed, signed)
        total += np.where((n > 0) & (m > 0), share * squared, 0.0)
    return total
