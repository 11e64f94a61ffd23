"""Measurements of cells without end: scikit-learn's 569 biopsies, smoothed, and rows that are not like them.

Invariant: streams of different purposes never share a draw, so no row is ever both fitted and calibrated, or sent
twice, and the null hypothesis of "ordinary" traffic is exactly true.

Rows have 30 named features, ten measurements of a cell's nucleus, each as mean, error and worst; none is negative.
Source: Wolberg, Street and Mangasarian's breast cancer set (UCI), as `sklearn.datasets.load_breast_cancer` brings it;
the smoothed bootstrap is Silverman and Young's ("The bootstrap: to smooth or not to smooth?", Biometrika 74, 1987).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.datasets import load_breast_cancer

from wayside.local.demo.population import Array, Labels, Sample, generator

BENIGN = 1
_BANDWIDTH = 0.2  # of the kernel, in deviations of the class that a row is drawn from
_SIGNIFICANT_DIGITS = 5
_UNIT_FACTOR = 10.0  # millimetres where centimetres were meant


@dataclass(frozen=True, slots=True, eq=False)
class Tumours:
    """The biopsies that everything is drawn from: `rows` (n, 30), `labels` (n,), 1 for benign.

    `roots` maps a label to a square root of its class's covariance, by which a drawn row is moved.
    """

    seed: int
    rows: Array
    labels: Labels
    roots: dict[int, Array]
    names: tuple[str, ...]
    tensor: str = "measurements"

    @classmethod
    def load(cls, seed: int) -> "Tumours":
        """scikit-learn's set, which comes with the package; nothing is downloaded."""
        bunch = load_breast_cancer()
        rows, labels = bunch.data.astype(np.float64), bunch.target.astype(np.int64)
        roots = {label: _root(rows[labels == label]) for label in (0, BENIGN)}
        return cls(seed, rows, labels, roots, tuple(str(name).replace(" ", "_") for name in bunch.feature_names))

    @property
    def features(self) -> int:
        return len(self.names)

    def stream(self, purpose: str) -> "TumourStream":
        """A fresh stream for one purpose: the same one at every call."""
        return TumourStream(self, generator(self.seed, purpose))


def _root(rows: Array) -> Array:
    """Of the covariance, a millionth of each variance added: it has one however close two columns are."""
    covariance = np.cov(rows.T).astype(np.float64)
    root: Array = np.linalg.cholesky(covariance + 1e-6 * np.diag(np.diag(covariance))).astype(np.float64)
    return root


@dataclass(frozen=True, slots=True, eq=False)
class TumourStream:
    """Draws rows in sequence; each method continues where the last draw ended."""

    population: Tumours
    rng: np.random.Generator = field(repr=False)

    def ordinary(self, n: int) -> Sample:
        """Biopsies as they come: a known one, moved a little as others of its class differ."""
        return self._draw(self.rng.integers(len(self.population.rows), size=n))

    def shifted(self, n: int) -> Sample:
        """Biopsies of another clinic: benign ones, and the smaller half of those."""
        benign = np.flatnonzero(self.population.labels == BENIGN)
        small = benign[np.argsort(self.population.rows[benign, 0])[: len(benign) // 2]]
        return self._draw(self.rng.choice(small, size=n))

    def outliers(self, n: int) -> Sample:
        """Ordinary biopsies after an accident: a wrong unit, columns in another order, a dead sensor, a wild one."""
        sample = self.ordinary(n)
        rows, kinds = sample.rows, self.rng.integers(len(_ACCIDENTS), size=n)
        for kind, spoil in enumerate(_ACCIDENTS):
            rows[kinds == kind] = spoil(rows[kinds == kind], self.rng)
        return Sample(_finish(rows), sample.labels)

    def _draw(self, chosen: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Sample:
        rows, labels = self.population.rows[chosen].copy(), self.population.labels[chosen]
        noise = _BANDWIDTH * self.rng.normal(size=rows.shape)
        for label, root in self.population.roots.items():
            rows[labels == label] += noise[labels == label] @ root.T
        return Sample(_finish(rows), labels)


def _finish(rows: Array) -> Array:
    """Nothing negative, five digits that count."""
    positive = np.abs(rows)
    magnitude = np.floor(np.log10(np.where(positive > 0, positive, 1.0)))
    scale = 10.0 ** (_SIGNIFICANT_DIGITS - 1 - magnitude)
    finished: Array = np.round(positive * scale) / scale
    return finished


def _wrong_unit(rows: Array, rng: np.random.Generator) -> Array:
    """A third of the columns are ten times what they should be."""
    return np.where(rng.random(rows.shape) < 1 / 3, rows * _UNIT_FACTOR, rows)


def _reorder(rows: Array, rng: np.random.Generator) -> Array:
    """The right values under other names."""
    return rng.permuted(rows, axis=1)


def _silence(rows: Array, rng: np.random.Generator) -> Array:
    """A third of the columns say 0."""
    return np.where(rng.random(rows.shape) < 1 / 3, 0.0, rows)


def _shake(rows: Array, rng: np.random.Generator) -> Array:
    """Every value off by a factor of its own."""
    return rows * np.exp(rng.normal(size=rows.shape))


_ACCIDENTS: tuple[Callable[[Array, np.random.Generator], Array], ...] = (_wrong_unit, _reorder, _silence, _shake)
