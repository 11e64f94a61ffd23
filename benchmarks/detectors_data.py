"""The data of the detectors' benchmarks: KDDCup99 as alibi-detect's notebooks take it, and ADBench's tables.

Source: SeldonIO/alibi-detect alibi_detect/datasets.py (`fetch_kdd`: which columns, what is an attack); Han, Hu, Huang,
Jiang and Zhao, "ADBench: anomaly detection benchmark", NeurIPS 2022.
Invariant: nothing is fetched; where a file is absent that is said, and nothing of it is measured.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Mask = NDArray[np.bool_]

SHARED = Path(__file__).parents[2] / "shared" / "data"
KDD_FEATURES = 18
_KDD_COLUMNS = range(23, 41)  # from srv_count to the last: the rates and counts
_ORDINARY = b"normal."


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Rows of shape (n, d), and which of them are outliers."""

    name: str
    rows: Matrix
    outlier: Mask

    @property
    def ordinary(self) -> Matrix:
        return self.rows[~self.outlier]

    @property
    def outliers(self) -> Matrix:
        return self.rows[self.outlier]

    @classmethod
    def read(cls, path: Path) -> Self:
        """A table that `save` wrote, or one of ADBench's."""
        with np.load(path, allow_pickle=False) as table:
            return cls(path.stem.partition("_")[2] or path.stem, table["X"].astype(np.float64), table["y"].astype(bool))

    def save(self, folder: Path) -> Path:
        """As ADBench keeps its tables; the file."""
        path = folder / f"{self.name}.npz"
        np.savez(path, X=self.rows, y=self.outlier)
        return path


def adbench_files(data: Path) -> list[Path]:
    """The tables in the order of their names, which start with a number."""
    return sorted((data / "adbench").glob("*.npz"), key=lambda path: path.stem.partition("_")[2].lower())


def read_kdd(data: Path) -> Labelled | None:
    """All 494 021 connections with the 18 columns that the notebooks keep; None where there is no such file."""
    path = data / "tabular" / "kddcup.data_10_percent.gz"
    if not path.exists():
        return None
    lines = gzip.decompress(path.read_bytes()).splitlines()
    rows = np.loadtxt(lines, delimiter=",", usecols=_KDD_COLUMNS, dtype=np.float64)
    return Labelled("kddcup99", rows, np.array([not line.endswith(_ORDINARY) for line in lines]))


def absent(data: Path) -> Iterator[str]:
    """A line for each part of the data that is not there."""
    for part in ("adbench", "tabular/kddcup.data_10_percent.gz"):
        if not (data / part).exists():
            yield f"there is no {data / part}: what needs it is not measured (see --data)"
