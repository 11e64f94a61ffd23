"""What the demo's traffic is drawn from: populations of rows, each with streams that never share a draw.

Invariant: a row is one independent draw from its population, decided by (seed, purpose, how many rows came before).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """`rows` of shape (n, features) and what the model should say of each, shape (n,); -1 where nothing is right."""

    rows: Array
    labels: Labels

    def __len__(self) -> int:
        return len(self.rows)

    def save(self, path: Path, names: Sequence[str] | None = None) -> None:
        """Write both as `rows` and `labels` of an uncompressed .npz file, with the features' `names` where given."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {"rows": self.rows, "labels": self.labels}
        if names is not None:
            arrays["names"] = np.array(names)
        np.savez(path, allow_pickle=False, **arrays)


class Stream(Protocol):
    """Draws rows in sequence; each method continues where the last draw ended."""

    @property
    def rng(self) -> np.random.Generator:
        """What decides the draws."""

    def ordinary(self, n: int) -> Sample:
        """What detectors are fitted and calibrated on, and most of the traffic."""

    def outliers(self, n: int) -> Sample:
        """Rows that are not like the ordinary ones, each on its own."""

    def shifted(self, n: int) -> Sample:
        """Another population within the support of the ordinary one: new as a population, seldom new as a row."""


class Population(Protocol):
    """Rows of so many `features`."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """The features' names, in order; None where they go by position."""

    @property
    def tensor(self) -> str:
        """What one tensor of all features is called."""

    @property
    def features(self) -> int:
        """Values of a row."""

    def stream(self, purpose: str) -> Stream:
        """A fresh stream for one purpose ('fit', 'train', a phase's name): the same one at every call."""


Draw = Callable[[Stream, int], Sample]


def ordinary(stream: Stream, n: int) -> Sample:
    return stream.ordinary(n)


def outliers(stream: Stream, n: int) -> Sample:
    return stream.outliers(n)


def shifted(stream: Stream, n: int) -> Sample:
    return stream.shifted(n)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose, apart from those of any other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode())))
