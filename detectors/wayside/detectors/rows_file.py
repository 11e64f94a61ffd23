"""Rows from a file: `.npy`, `.npz` (one array of it), `.csv`.

Invariant: what comes out is float64 of shape (n, d) with every value as the file has it; a file that is not such data
is refused with the place of its first fault. Nothing is unpickled.
"""

import csv
import zipfile
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.runtimes.protocol import Matrix
from wayside.eventing.errors import ConfigurationError


def read_rows(spec: str) -> Matrix:
    """Rows of `FILE.npy`, `FILE.npz[:ARRAY]` or `FILE.csv`; further dimensions are flattened in row-major order.

    Raises `ConfigurationError` that names the file, and the line or array, and what is wrong.
    """
    path, name = _split_name(spec)
    try:
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix == ".npy":
            return _matrix(np.load(path, allow_pickle=False), spec)
        if path.suffix == ".npz":
            return _matrix(_read_npz(path, name), spec)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, EOFError, zipfile.BadZipFile, csv.Error) as exc:
        raise ConfigurationError(f"cannot read {path}: {exc}") from exc
    raise ConfigurationError(f"{spec!r} is no .npy, .npz or .csv file")


def _split_name(spec: str) -> tuple[Path, str | None]:
    head, separator, name = spec.rpartition(":")
    return (Path(head), name) if separator and head.endswith(".npz") else (Path(spec), None)


def _read_npz(path: Path, name: str | None) -> NDArray[np.generic]:
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays.files)
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            raise ConfigurationError(f"{path} holds {', '.join(names)}: name one, as in {path}:{names[0]}")
        found: NDArray[np.generic] = arrays[name]
        return found


def _matrix(values: NDArray[np.generic], spec: str) -> Matrix:
    if values.dtype.kind not in "biuf":
        raise ConfigurationError(f"{spec} holds {values.dtype}, not numbers")
    if values.ndim < 2 or not values.size:
        raise ConfigurationError(f"{spec} has shape {values.shape}: give rows of at least one column, shape (n, d)")
    return values.astype(np.float64).reshape(len(values), -1)


def _read_csv(path: Path) -> Matrix:
    with path.open(encoding="utf-8-sig", newline="") as file:
        values, width = _parse(csv.reader(file), path)
    if not width:
        raise ConfigurationError(f"{path} holds no rows")
    return np.frombuffer(values, dtype=np.float64).reshape(-1, width).copy()


def _parse(lines: Iterable[list[str]], path: Path) -> "tuple[array[float], int]":
    """All values in one array, and the number of columns. A first line that is not numeric is the header."""
    values: array[float] = array("d")
    width = 0
    for number, cells in enumerate(lines, start=1):
        if not cells:
            continue
        numbers = _numbers(cells, path, number, header_allowed=number == 1)
        width = width or len(cells)
        if len(cells) != width:
            raise ConfigurationError(f"{path}, line {number}: {len(cells)} columns where the others have {width}")
        values.extend(numbers)
    return values, width if values else 0


def _numbers(cells: list[str], path: Path, number: int, header_allowed: bool) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError as exc:
        if header_allowed:
            return []
        raise ConfigurationError(f"{path}, line {number}: {exc}") from exc
