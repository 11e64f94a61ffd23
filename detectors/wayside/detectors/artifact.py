"""A fitted detector on disk: a folder with `manifest.json` and `arrays.npz`, known by its digest.

Invariant: the digest is SHA-256 over the canonical manifest (without the digest) and the bytes of every array, so equal
digests mean equal verdicts. Nothing that is loaded can run code: there is no pickle anywhere.
"""

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.runtimes.protocol import Arrays
from wayside.detectors.runtimes.registry import KINDS, WINDOW_DETECTORS
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.verdict import DetectorIdentity

VERSION = 1
_MANIFEST = "manifest.json"
_ARRAYS = "arrays.npz"
_FOREIGN = ("meta.dill", "meta.pickle", "config.toml", "OutlierDetector", "model.pkl")
_NPY_HEAD_BYTES = 4096
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
REFIT = "fit it again with 'wayside fit'"


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """A fitted detector: `arrays` are its runtime's, and for row detectors `calibration`, the sorted scores.

    `window` is the number of rows in a window, None for row detectors. `alpha` is the budget of false alarms a row,
    or a window. `digest` is computed, never given.
    """

    kind: str
    name: str
    alpha: float
    features: int
    window: int | None
    arrays: Arrays
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "digest", _digest(self._manifest(), self.arrays))

    @property
    def is_window_detector(self) -> bool:
        return self.kind in WINDOW_DETECTORS

    def identity(self, name: str | None = None) -> DetectorIdentity:
        """Who the verdicts say has judged; `name` replaces the name it was fitted under."""
        return DetectorIdentity(name or self.name, self.kind, self.digest, self.alpha)

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": "wayside.detector",
            "version": VERSION,
            "kind": self.kind,
            "name": self.name,
            "alpha": self.alpha,
            "features": self.features,
            "window": self.window,
            "arrays": {name: list(array.shape) for name, array in sorted(self.arrays.items())},
        }

    def save(self, folder: Path) -> None:
        """Write the folder whole or not at all; an artifact that lies there already is replaced.

        Raises `ConfigurationError` where the folder holds something else, or cannot be written.
        """
        if folder.exists() and not (folder / _MANIFEST).exists() and not _is_empty(folder):
            raise ConfigurationError(f"{folder} exists and is no detector artifact: name another folder")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
                self._write(Path(staging) / "new")
                if folder.exists():
                    os.rename(folder, Path(staging) / "old")
                os.rename(Path(staging) / "new", folder)
        except OSError as exc:
            raise ConfigurationError(f"cannot write {folder}: {exc.strerror or exc}") from exc

    def _write(self, folder: Path) -> None:
        folder.mkdir()
        np.savez(folder / _ARRAYS, allow_pickle=False, **self.arrays)
        text = json.dumps({**self._manifest(), "digest": self.digest}, indent=2)
        (folder / _MANIFEST).write_text(text + "\n", encoding="utf-8")


def check_name(name: str) -> str:
    """The name, fit to travel in event sources and metric labels; raises `ConfigurationError` where it is not."""
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"the name {name[:64]!r} is not allowed: use a-z, 0-9 and '-', at most 63 characters")
    return name


def load_artifact(folder: Path) -> Artifact:
    """Read and verify an artifact. Raises `ConfigurationError` that names the path and what to do."""
    manifest = _read_manifest(folder)
    try:
        shapes = {str(name): tuple(int(size) for size in shape) for name, shape in manifest["arrays"].items()}
        artifact = Artifact(
            kind=str(manifest["kind"]),
            name=str(manifest["name"]),
            alpha=float(manifest["alpha"]),
            features=int(manifest["features"]),
            window=None if manifest["window"] is None else int(manifest["window"]),
            arrays=_read_arrays(folder / _ARRAYS, shapes),
        )
        stated = str(manifest["digest"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ConfigurationError(f"{folder / _MANIFEST} is damaged ({exc}): {REFIT}") from exc
    if artifact.digest != stated:
        raise ConfigurationError(f"{folder}: the digest does not match the contents: copy it again, or {REFIT}")
    if artifact.kind not in KINDS:
        raise ConfigurationError(f"{folder}: no detector kind {artifact.kind!r} here: known are {', '.join(KINDS)}")
    return artifact


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise ConfigurationError(_missing(folder)) from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{path} is damaged ({exc}): {REFIT}") from exc
    if not isinstance(manifest, dict) or manifest.get("format") != "wayside.detector":
        raise ConfigurationError(f"{path} is not the manifest of a detector artifact: {REFIT}")
    if manifest.get("version") != VERSION:
        raise ConfigurationError(f"{path} has version {manifest.get('version')!r}, this is {VERSION}: {REFIT}")
    return manifest


def _missing(folder: Path) -> str:
    if any((folder / name).exists() for name in _FOREIGN):
        return f"{folder} was saved by another library (alibi-detect); loading it could run code: {REFIT}"
    return f"there is no detector artifact in {folder} (no {_MANIFEST}): make one with 'wayside fit … --out {folder}'"


def _read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """The arrays, once the archive is known to hold what the manifest says and not a byte more."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
        _check_sizes(path, sizes, shapes)
        with np.load(path, allow_pickle=False) as arrays:
            loaded = {name: np.asarray(arrays[name]) for name in shapes}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as exc:
        raise ConfigurationError(f"cannot read {path} ({exc}): copy it again, or {REFIT}") from exc
    for name, array in loaded.items():
        if array.dtype != np.float64 or array.shape != shapes[name]:
            raise ConfigurationError(f"{path}: array {name!r} is not as the manifest says: {REFIT}")
    return loaded


def _check_sizes(path: Path, sizes: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> None:
    if set(sizes) != {f"{name}.npy" for name in shapes}:
        raise ConfigurationError(f"{path} does not hold the arrays that the manifest names: {REFIT}")
    for name, shape in shapes.items():
        if not 0 <= sizes[f"{name}.npy"] - 8 * int(np.prod(shape, dtype=np.int64)) <= _NPY_HEAD_BYTES:
            raise ConfigurationError(f"{path}: array {name!r} is not of the size that the manifest says: {REFIT}")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _digest(manifest: Mapping[str, Any], arrays: Arrays) -> str:
    digest = sha256(json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode())
    for _, array in sorted(arrays.items()):
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()
