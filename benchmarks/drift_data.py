"""Real rows for the drift benchmarks: populations without drift to draw streams from, and streams that drift.

Source: ../shared/data (Adult, KDDCup99, MNIST, elec2; the SEA concepts of Street and Kim, KDD 2001).
Invariant: nothing is fetched; a population that is absent is None, and what needs it is said not to be measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from detectors_data import read_kdd
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
MNIST_COMPONENTS = 16
SEA_CHANGE_ROWS = 12_500


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Rows of shape (n, d) in the order of the file, all of one kind. `categories` has the number of them a column, 0
    for numbers; a category is its index."""

    name: str
    rows: Matrix
    categories: tuple[int, ...]

    @classmethod
    def of_numbers(cls, name: str, rows: Matrix) -> "Population":
        return cls(name, rows, (0,) * rows.shape[1])

    def columns(self, name: str, chosen: list[int]) -> "Population":
        """Some of its columns, under another name."""
        return Population(name, self.rows[:, chosen], tuple(self.categories[at] for at in chosen))

    @property
    def numbers(self) -> list[int]:
        return [at for at, count in enumerate(self.categories) if not count]

    @property
    def labels(self) -> list[int]:
        return [at for at, count in enumerate(self.categories) if count]


@dataclass(frozen=True, slots=True, eq=False)
class Drifted:
    """A stream that changes: `before` and `after` are rows on either side of the change, in random order."""

    name: str
    before: Matrix
    after: Matrix
    options: Mapping[str, str] = field(default_factory=dict)


def adult(data: Path) -> Population | None:
    """48 842 persons, 6 numbers and 9 categories (the class is the last), in the file's order, which is random."""
    path = data / "tabular" / "adult.parquet"
    if not path.exists():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, categories = [], []
    for column in pq.read_table(path).combine_chunks().columns:
        values = column.combine_chunks()
        if pa.types.is_dictionary(values.type):
            codes = values.indices.to_numpy(zero_copy_only=False).astype(np.float64)
            known = len(values.dictionary)
            columns.append(np.where(np.isnan(codes), known, codes))
            categories.append(known + 1)
        else:
            columns.append(values.to_numpy(zero_copy_only=False).astype(np.float64))
            categories.append(0)
    return Population("adult", np.column_stack(columns), tuple(categories))


def adult_numbers(data: Path) -> Population | None:
    whole = adult(data)
    return None if whole is None else whole.columns("adult, numbers", whole.numbers)


def adult_categories(data: Path) -> Population | None:
    whole = adult(data)
    return None if whole is None else whole.columns("adult, categories", whole.labels)


def adult_binary(data: Path) -> Population | None:
    """Seven yes-or-no columns made of Adult's: each number above its median, and the class."""
    whole = adult(data)
    if whole is None:
        return None
    numbers = whole.rows[:, whole.numbers]
    flags = np.column_stack([numbers > np.median(numbers, axis=0), whole.rows[:, -1] > 0]).astype(np.float64)
    return Population("adult, flags", flags, (2,) * flags.shape[1])


@lru_cache(maxsize=1)
def _kdd_rows(data: Path) -> tuple[Matrix, Matrix] | None:
    found = read_kdd(data)
    return None if found is None else (found.ordinary, found.outliers)


def kdd(data: Path) -> Population | None:
    """The 97 278 ordinary connections, 18 rates and counts, many of them tied."""
    rows = _kdd_rows(data)
    return None if rows is None else Population.of_numbers("kddcup99", rows[0])


def elec2(data: Path) -> Population | None:
    """45 312 half-hours of prices and demand, in their order: what lies together is alike."""
    path = data / "streams" / "elec2.csv"
    if not path.exists():
        return None
    rows = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 6), dtype=np.float64)
    return Population.of_numbers("elec2", rows)


@lru_cache(maxsize=1)
def _mnist_arrays(data: Path) -> tuple[Matrix, NDArray[np.int64]] | None:
    """70 000 images as their first principal components, and their labels."""
    files = [data / "mnist" / f"mnist_{part}.npz" for part in ("train", "test")]
    if not all(path.exists() for path in files):
        return None
    parts = [np.load(path, allow_pickle=False) for path in files]
    pixels = np.concatenate([part["x"] for part in parts]).reshape(-1, 784).astype(np.float32) / 255
    labels = np.concatenate([part["y"] for part in parts]).astype(np.int64)
    centred = pixels - pixels.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return (centred @ vectors[:, : -MNIST_COMPONENTS - 1 : -1]).astype(np.float64), labels


def mnist(data: Path) -> Population | None:
    """70 000 digits, 16 principal components each."""
    found = _mnist_arrays(data)
    return None if found is None else Population.of_numbers("mnist", found[0])


POPULATIONS: Mapping[str, Callable[[Path], Population | None]] = {
    "adult": adult,
    "adult-numbers": adult_numbers,
    "adult-categories": adult_categories,
    "adult-flags": adult_binary,
    "kdd": kdd,
    "mnist": mnist,
    "elec2": elec2,
}


def mnist_by_hour(data: Path) -> tuple[Matrix, NDArray[np.int64]] | None:
    """Digits and their labels, of which a stream takes more of some labels by day and of others by night."""
    return _mnist_arrays(data)


def drifted_streams(data: Path) -> list[Drifted]:
    """SEA at its first change, MNIST where 15 % of the digits become nines, KDD where 5 % of the connections become
    attacks; those whose files are there."""
    return [each for each in (_sea(data), _mnist_shift(data), _kdd_shift(data)) if each is not None]


def _sea(data: Path) -> Drifted | None:
    """The three features with the class: only their joint law changes at 12 500 rows."""
    features, labels = data / "streams" / "SEA_training_data.csv", data / "streams" / "SEA_training_class.csv"
    if not (features.exists() and labels.exists()):
        return None
    rows = np.column_stack([np.loadtxt(features, delimiter=","), np.loadtxt(labels)])
    return Drifted("SEA, first change", rows[:SEA_CHANGE_ROWS], rows[SEA_CHANGE_ROWS : 2 * SEA_CHANGE_ROWS])


def _mnist_shift(data: Path) -> Drifted | None:
    found = _mnist_arrays(data)
    if found is None:
        return None
    rows, labels = found
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))
    half = len(rows) // 2
    before, rest = order[:half], order[half:]
    nines = rest[labels[rest] == 9]
    added = rng.choice(nines, int(0.15 * len(rest)))
    after = np.concatenate([rest[: int(0.85 * len(rest))], added])
    return Drifted("MNIST, 15 % nines", rows[before], rows[rng.permutation(after)])


def _kdd_shift(data: Path) -> Drifted | None:
    found = _kdd_rows(data)
    if found is None:
        return None
    ordinary, attacks = found
    rng = np.random.default_rng(0)
    order = rng.permutation(len(ordinary))
    half = len(ordinary) // 2
    calm = ordinary[order[half:]]
    after = np.concatenate([calm, attacks[rng.choice(len(attacks), len(calm) // 19)]])
    return Drifted("KDD, 5 % attacks", ordinary[order[:half]], after[rng.permutation(len(after))])
