"""Digits without end: scikit-learn's 1 797 pictures enlarged by random distortion, and rows that are not like them.

Invariant: a row is one independent draw from its population, decided by (seed, purpose, how many rows came before).
Streams of different purposes never share a draw, so no row is ever both fitted and calibrated, or sent twice, and the
null hypothesis of "ordinary" traffic is exactly true.

Rows have 64 features: 8 x 8 pixels in row-major order, 0 (paper) to 16 (ink), rounded to two decimals.
Source: Alpaydin and Kaynak's optical digits (UCI), as `sklearn.datasets.load_digits` brings them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from wayside.local.demo.glyphs import SIDE, templates
from wayside.local.demo.population import Array, Labels, Sample, generator

FEATURES = SIDE * SIDE
INK = 16.0
NO_DIGIT = -1
_DECIMALS = 2
_SHIFTED_DIGITS = (0, 4, 6)


@dataclass(frozen=True, slots=True)
class Distortion:
    """The ranges of what may happen to a picture: each is drawn uniformly from (low, high), noise is normal."""

    rotation_degrees: tuple[float, float] = (-12.0, 12.0)
    scale: tuple[float, float] = (0.9, 1.1)
    shear: tuple[float, float] = (-0.15, 0.15)
    shift_pixels: tuple[float, float] = (-0.5, 0.5)
    contrast: tuple[float, float] = (0.85, 1.0)
    noise_ink: float = 0.6


ORDINARY = Distortion()
# Handwriting that leans one way, in the corner of what is ordinary: new as a population, seldom new as a row.
LEANING = Distortion(rotation_degrees=(4.0, 12.0), shear=(0.05, 0.15))


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """The pictures that everything is drawn from: `images` (n, 8, 8) with values 0 to 16, `labels` (n,)."""

    seed: int
    images: Array
    labels: Labels
    names: tuple[str, ...] | None = None
    tensor: str = "pixels"

    @property
    def features(self) -> int:
        return FEATURES

    @classmethod
    def load(cls, seed: int) -> "Digits":
        """scikit-learn's digits, which come with the package; nothing is downloaded."""
        digits = load_digits()
        return cls(seed, digits.images.astype(np.float64), digits.target.astype(np.int64))

    def stream(self, purpose: str) -> "DigitStream":
        """A fresh stream for one purpose ('fit', 'calibrate', 'train', a phase's name): the same one at every call."""
        return DigitStream(self, generator(self.seed, purpose))


@dataclass(frozen=True, slots=True, eq=False)
class DigitStream:
    """Draws rows in sequence; each method continues where the last draw ended."""

    population: Digits
    rng: np.random.Generator = field(repr=False)

    def ordinary(self, n: int) -> Sample:
        """Digits as people write them: what detectors are fitted and calibrated on, and most of the traffic."""
        chosen = self.rng.integers(len(self.population.images), size=n)
        return self._draw(chosen, ORDINARY)

    def shifted(self, n: int) -> Sample:
        """Another population within the support of the ordinary one: three of the digits, all leaning one way."""
        pool = np.flatnonzero(np.isin(self.population.labels, _SHIFTED_DIGITS))
        return self._draw(self.rng.choice(pool, size=n), LEANING)

    def corrupted(self, n: int) -> Sample:
        """Ordinary digits after an accident: inverted, speckled, half covered, shuffled, or smeared with noise."""
        sample = self.ordinary(n)
        images = sample.rows.reshape(-1, SIDE, SIDE)
        kinds = self.rng.integers(len(_ACCIDENTS), size=n)
        for kind, spoil in enumerate(_ACCIDENTS):
            hit = kinds == kind
            images[hit] = spoil(images[hit], self.rng)
        return Sample(_finish(images), sample.labels)

    def foreign(self, n: int) -> Sample:
        """Pictures of what is no digit: letters, frames, stripes, checkerboards, distorted as digits are."""
        pictures = templates() * INK
        chosen = self.rng.integers(len(pictures), size=n)
        images = distort(pictures[chosen], ORDINARY, self.rng)
        return Sample(_finish(images), np.full(n, NO_DIGIT, dtype=np.int64))

    def outliers(self, n: int) -> Sample:
        """Corrupted and foreign rows in random order, each with probability one half."""
        foreign = self.rng.random(n) < 0.5
        corrupted, strange = self.corrupted(n), self.foreign(n)
        rows = np.where(foreign[:, None], strange.rows, corrupted.rows)
        return Sample(rows, np.where(foreign, strange.labels, corrupted.labels))

    def _draw(self, chosen: NDArray[np.int64], distortion: Distortion) -> Sample:
        images = distort(self.population.images[chosen], distortion, self.rng)
        return Sample(_finish(images), self.population.labels[chosen])


def distort(images: Array, distortion: Distortion, rng: np.random.Generator) -> Array:
    """Each picture through a random affine map of its own, then contrast and noise; shape (n, 8, 8) in and out."""
    n = len(images)
    moved = _resample(images, *_affine(n, distortion, rng))
    moved *= rng.uniform(*distortion.contrast, size=(n, 1, 1))
    moved += rng.normal(0.0, distortion.noise_ink, size=moved.shape)
    return moved


def _affine(n: int, distortion: Distortion, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random maps from a place in the new picture to the place in the old: matrices (n, 2, 2), offsets (n, 2)."""
    angle = np.radians(rng.uniform(*distortion.rotation_degrees, size=n))
    shear = rng.uniform(*distortion.shear, size=n)
    scale = rng.uniform(*distortion.scale, size=(n, 2, 1))
    cosine, sine = np.cos(angle), np.sin(angle)
    # rotation · shear along x, over (y, x)
    matrix = np.stack([np.stack([cosine, sine], -1), np.stack([shear * cosine - sine, cosine + shear * sine], -1)], 1)
    return matrix / scale, rng.uniform(*distortion.shift_pixels, size=(n, 2))


def _resample(images: Array, matrix: Array, offset: Array) -> Array:
    """Bilinear sampling about the picture's centre; beyond the edge lies paper."""
    centre = (SIDE - 1) / 2
    grid = np.indices((SIDE, SIDE)).reshape(2, -1) - centre
    place = matrix @ grid + (offset + centre)[:, :, None]
    # a border of two pixels of paper, so that every neighbour of a clipped place exists
    place = np.clip(place + 2, 0, SIDE + 2)
    low = place.astype(np.int64)
    (y, x), (fy, fx) = low.swapaxes(0, 1), (place - low).swapaxes(0, 1)
    flat = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(images), -1)
    corner = y * (SIDE + 4) + x

    def at(step: int) -> Array:
        return np.take_along_axis(flat, corner + step, axis=1)

    top = at(0) * (1 - fx) + at(1) * fx
    bottom = at(SIDE + 4) * (1 - fx) + at(SIDE + 5) * fx
    sampled: Array = top * (1 - fy) + bottom * fy
    return sampled.reshape(-1, SIDE, SIDE)


def _finish(images: Array) -> Array:
    rows: Array = np.clip(images, 0.0, INK).reshape(-1, FEATURES).round(_DECIMALS)
    return rows + 0.0  # no negative zero


def _invert(images: Array, rng: np.random.Generator) -> Array:
    return INK - images


def _speckle(images: Array, rng: np.random.Generator) -> Array:
    """Salt and pepper on three pixels of ten."""
    hit = rng.random(images.shape) < 0.3
    return np.where(hit, np.where(rng.random(images.shape) < 0.5, 0.0, INK), images)


def _cover(images: Array, rng: np.random.Generator) -> Array:
    """A block of 4 x 4 to 6 x 6 pixels at a random place, filled with ink."""
    n = len(images)
    size = rng.integers(4, 7, size=(n, 2))
    start = (rng.random((n, 2)) * (SIDE - size + 1)).astype(np.int64)
    inside = (np.arange(SIDE) >= start[:, :, None]) & (np.arange(SIDE) < (start + size)[:, :, None])
    return np.where(inside[:, 0, :, None] & inside[:, 1, None, :], INK, images)


def _shuffle(images: Array, rng: np.random.Generator) -> Array:
    """The same ink in other places."""
    return rng.permuted(images.reshape(-1, FEATURES), axis=1).reshape(images.shape)


def _smear(images: Array, rng: np.random.Generator) -> Array:
    """A sensor gone wild: noise as strong as half the ink."""
    return images + rng.normal(0.0, INK / 2, size=images.shape)


_ACCIDENTS: tuple[Callable[[Array, np.random.Generator], Array], ...] = (_invert, _speckle, _cover, _shuffle, _smear)
