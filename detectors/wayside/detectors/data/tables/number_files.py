"""Arrays of numbers from `.npy` and `.npz` files.

Source: numpy's NEP 1 (the .npy format).
Invariant: what comes out is float64 of shape (n, c) with every value as the file has it. Nothing is unpickled, and
nothing is read before its size is known to be within the limit.
"""

import zipfile
from pathlib import Path

import numpy as np

from wayside.detectors.data.tables.builder import check_size
from wayside.detectors.data.tables.reading import Reading
from wayside.detectors.kinds.protocol import Array
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.payloads.datatypes import EXACT_LIMIT

_HEAD_BYTES = 4096
_DAMAGE = (ValueError, EOFError, KeyError, OSError, NotImplementedError, zipfile.BadZipFile)


def read_numbers(path: Path, name: str | None, reading: Reading) -> Table:
    """The rows of one array; further dimensions are flattened in row-major order. Raises `ConfigurationError`."""
    array = read_array(path, name, reading.label, reading.limit_bytes)
    where = f"{path}:{name}" if name else str(path)
    if array.dtype.kind not in "biuf":
        raise ConfigurationError(f"{where} holds {array.dtype}, not numbers")
    if array.ndim < 2 or not array.size:
        raise ConfigurationError(f"{where} has shape {array.shape}: give rows of at least one column, shape (n, c)")
    check_size(len(array), array[0].size, reading.limit_bytes)
    check_exact(array, where)
    return Table(array.reshape(len(array), -1).astype(np.float64))


def read_array(path: Path, name: str | None, label: str | None, limit_bytes: int) -> Array:
    """An array as it is; in an archive of two of which one is the label, the other. Raises `ConfigurationError`."""
    try:
        if path.suffix == ".npy":
            mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        return _read_member(path, name, label, limit_bytes)
    except _DAMAGE as exc:
        raise ConfigurationError(f"cannot read {path}: {getattr(exc, 'strerror', None) or exc}") from exc


def array_names(path: Path) -> list[str]:
    """The names of an archive's arrays. Raises `ConfigurationError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as exc:
        raise ConfigurationError(f"cannot read {path}: {getattr(exc, 'strerror', None) or exc}") from exc


def _read_member(path: Path, name: str | None, label: str | None, limit_bytes: int) -> Array:
    names = array_names(path)
    others = [each for each in names if each != label]
    if name is None and len(others) == 1:
        name = others[0]
    if name not in names:
        raise ConfigurationError(f"{path} holds {', '.join(names) or 'nothing'}: name one, as in {path}:{names[0]}"
                                 if names else f"{path} holds no array")  # fmt: skip
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(f"{name}.npy").file_size > limit_bytes + _HEAD_BYTES:
            raise ConfigurationError(
                f"{path}:{name} has more than {limit_bytes >> 20} MiB: allow more with --data-limit"
            )
    with np.load(path, allow_pickle=False) as arrays:
        found: Array = arrays[name]
        return found


def check_exact(array: Array, where: str) -> None:
    """Raises `ConfigurationError` for an integer that float64 would round: 2^53 + 1 is the first."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return
    if int(array.max()) <= EXACT_LIMIT and int(array.min()) >= -EXACT_LIMIT:
        return
    for row, values in enumerate(array.reshape(len(array), -1)):
        for at, value in enumerate(values.tolist()):
            if int(float(value)) != value:
                raise ConfigurationError(f"{where}, row {row}, column {at + 1}: float64 would round {value}")
