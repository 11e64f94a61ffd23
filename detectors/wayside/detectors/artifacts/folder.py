"""An artifact on disk: a folder with `detector.json`, `arrays.npz`, and the files that its kind has besides.

Invariant: what is loaded is byte for byte what was saved, or it is refused with the reason; nothing that is loaded can
run code, and nothing is read beyond the size that `detector.json` says. What is saved takes the place of an artifact
alone, and that one stays until the new one is in its place.
"""

import io
import json
import lzma
import os
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.artifacts.artifact import (
    CALIBRATION_SCORES,
    DETECTOR,
    FEATURE_THRESHOLDS,
    FORMAT,
    PREPROCESSING,
    REFIT,
    SUMMARY,
    TRANSFORM,
    VERSION,
    Artifact,
    CalibrationRows,
    Reference,
    Windowed,
    check_name,
    describe_array,
    describe_file,
)
from wayside.detectors.artifacts.files import FileMissing, Files, FolderFiles, check_file_name
from wayside.detectors.drift.settings import WindowSettings
from wayside.detectors.drift.transforms.registry import restore_transform
from wayside.detectors.kinds.protocol import Array, Arrays, State
from wayside.detectors.kinds.registry import KINDS
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema, from_json
from wayside.eventing.errors import ConfigurationError

MANIFEST, ARRAYS = "detector.json", "arrays.npz"
REPORTS = ("report.html", "report.json")  # what a fit writes beside an artifact
_FOREIGN = ("meta.dill", "meta.pickle", "config.toml", "OutlierDetector", "model.pkl")
_MANIFEST_LIMIT_BYTES = 64 << 20
_LIMIT_BYTES = 8 << 30  # of all arrays, or of all files
_NPY_HEAD_BYTES = 4096
_ZIP_MEMBER_BYTES = 1024
_MOST_MEMBERS = 4096  # arrays, or files
_DTYPES = ("<f8", "<f4", "<i8", "<i4", "|u1", "|b1")
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
# what zipfile and numpy raise for archives that are cut off, damaged, encrypted, or lie about their sizes
_UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, SyntaxError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError),
)


def save(artifact: Artifact, folder: Path) -> None:
    """Write the folder whole or not at all; an artifact that lies there already is replaced, with its report.

    Raises `ConfigurationError` where the folder holds something else, or cannot be written: it is as it was then.
    """
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write(artifact, staging / "new")
            take_place(staging / "new", folder, staging / "old")
        finally:
            if folder.exists() or not (staging / "old").exists():  # else the old artifact could not be put back
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {folder}: {exc.strerror or exc}") from exc


def check_target(folder: Path) -> None:
    """Raises `ConfigurationError` where the folder holds anything but an artifact and its report: it would be lost."""
    try:
        if not folder.exists() or _is_empty(folder):
            return
        ours = _names_in(folder)
        stranger = next((path for path in sorted(folder.rglob("*")) if not _is_one_of(path, folder, ours)), None)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {folder}: {exc.strerror or exc}") from exc
    if stranger is not None:
        raise ConfigurationError(
            f"{folder} holds {stranger.relative_to(folder)}, which is no part of a detector artifact and would be lost:"
            " name another folder"
        )


def load_folder(folder: Path) -> Artifact:
    """Read and verify an artifact on this machine. Raises `ConfigurationError` that names the path and what to do."""
    return load(FolderFiles(folder))


def load(files: Files) -> Artifact:
    """Read and verify an artifact. Raises `ConfigurationError` that says where it lies and what to do."""
    manifest = _read_manifest(files)
    where = f"{MANIFEST} in {files.where}"
    try:
        arrays = _read_arrays(files, manifest["arrays"])
        contents = _read_files(files, manifest["files"])
        artifact = _assemble(manifest, arrays, contents)
        stated = str(manifest["digest"])
    except _DAMAGE as exc:
        raise ConfigurationError(f"{where} is damaged ({exc}): {REFIT}") from exc
    if artifact.digest != stated:
        raise ConfigurationError(f"{where}: the digest does not match the contents: copy it again, or {REFIT}")
    return artifact


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _names_in(folder: Path) -> set[str]:
    """The files of the artifact in a folder, by what it says of itself. Raises `ConfigurationError`, `OSError`."""
    try:
        manifest = json.loads(FolderFiles(folder).read(MANIFEST, _MANIFEST_LIMIT_BYTES))
        if manifest["format"] == FORMAT:
            return {MANIFEST, ARRAYS, *REPORTS, *map(str, manifest["files"])}
    except (FileMissing, *_DAMAGE):
        pass
    raise ConfigurationError(f"{folder} exists and is no detector artifact: name another folder")


def _is_one_of(path: Path, folder: Path, names: Collection[str]) -> bool:
    name = path.relative_to(folder).as_posix()
    if path.is_dir() and not path.is_symlink():
        return any(each.startswith(f"{name}/") for each in names)
    return name in names


def take_place(new: Path, folder: Path, old: Path) -> None:
    """Put `new` into the folder's place, and what was there into `old`; or put that back, and raise `OSError`."""
    if not folder.exists():
        os.rename(new, folder)
        return
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except BaseException:
        try:
            os.rename(old, folder)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write {folder}, nor put back what was there ({exc.strerror}): it lies in {old}"
            ) from exc
        raise


def _write(artifact: Artifact, folder: Path) -> None:
    folder.mkdir()
    with (folder / ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **artifact.arrays())
    for name, content in artifact.state.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    document = {**artifact.manifest(), "provenance": artifact.provenance, "digest": artifact.digest}
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _read_manifest(files: Files) -> Mapping[str, Any]:
    where = f"{MANIFEST} in {files.where}"
    try:
        manifest = json.loads(files.read(MANIFEST, _MANIFEST_LIMIT_BYTES))
    except FileMissing as exc:
        raise ConfigurationError(_missing(files)) from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{where} is damaged ({exc}): {REFIT}") from exc
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ConfigurationError(f"{where} is not that of a detector artifact: {REFIT}")
    version = manifest.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ConfigurationError(f"{where} has format version {version}, this is {VERSION}: use a newer Wayside")
    if version != VERSION:
        raise ConfigurationError(f"{where} has format version {version!r}, this is {VERSION}: {REFIT}")
    if manifest.get("kind") not in KINDS:
        raise ConfigurationError(f"{where}: no detector kind {manifest.get('kind')!r}: known are {', '.join(KINDS)}")
    return manifest


def _missing(files: Files) -> str:
    names = files.names()
    if any(name.partition("/")[0] in _FOREIGN for name in names):
        return (
            f"{files.where} was saved by another library (alibi-detect), and loading it can run code: wrap and"
            f" calibrate it with 'wayside fit alibi --saved {files.where} --data ROWS --out DIR --trust-pickle'"
        )
    if "manifest.json" in names:
        return f"{files.where} is an artifact of an earlier format: {REFIT}"
    return f"there is no detector artifact in {files.where} (no {MANIFEST}): make one with 'wayside fit … --out DIR'"


def _read_arrays(files: Files, said: Any) -> Arrays:
    """The arrays, once the archive is known to hold what the manifest says and not a byte more."""
    sizes = {str(name): _size_of(fields) for name, fields in _bounded(said).items()}
    _check_total(sizes.values())
    limit = sum(sizes.values()) + len(sizes) * (_NPY_HEAD_BYTES + _ZIP_MEMBER_BYTES) + _ZIP_MEMBER_BYTES
    where = f"{ARRAYS} in {files.where}"
    content = io.BytesIO(_read_content(files, ARRAYS, limit))
    try:
        with zipfile.ZipFile(content) as archive:
            _check_sizes(where, {member.filename: member.file_size for member in archive.infolist()}, sizes)
        with np.load(content, allow_pickle=False) as arrays:
            loaded = {name: np.asarray(arrays[name]) for name in sizes}
    except _UNREADABLE as exc:
        raise ConfigurationError(f"cannot read {where} ({exc}): copy it again, or {REFIT}") from exc
    del content  # half of the memory, before more is worked on
    for name, array in loaded.items():
        if describe_array(array) != said[name]:
            raise ConfigurationError(f"{where}: array {name!r} is not what was saved: copy it again, or {REFIT}")
    return loaded


def _bounded(said: Any) -> Mapping[str, Any]:
    if not isinstance(said, dict) or len(said) > _MOST_MEMBERS:
        raise TypeError(f"'arrays' and 'files' are objects of at most {_MOST_MEMBERS} members")
    return said


def _size_of(fields: Mapping[str, Any]) -> int:
    dtype, shape = fields["dtype"], [int(size) for size in fields["shape"]]
    if dtype not in _DTYPES or any(size < 0 for size in shape):
        raise ValueError(f"an array of type {dtype!r} and shape {shape[:8]}")
    return int(np.dtype(dtype).itemsize) * prod(shape)


def _check_total(sizes: Iterable[int]) -> None:
    total = sum(sizes)
    if total > _LIMIT_BYTES:
        raise ValueError(f"it names {total} bytes, {_LIMIT_BYTES} are the most")


def _check_sizes(where: str, found: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    if set(found) != {f"{name}.npy" for name in sizes}:
        raise ConfigurationError(f"{where} does not hold the arrays that {MANIFEST} names: {REFIT}")
    for name, size in sizes.items():
        if not 0 <= found[f"{name}.npy"] - size <= _NPY_HEAD_BYTES:
            raise ConfigurationError(f"{where}: array {name!r} is not of the size that {MANIFEST} says: {REFIT}")


def _read_files(files: Files, said: Any) -> Mapping[str, bytes]:
    sizes = {str(name): int(fields["bytes"]) for name, fields in _bounded(said).items()}
    if any(size < 0 for size in sizes.values()):
        raise ValueError("a file of less than no bytes")
    _check_total(sizes.values())
    return {name: _read_file(files, name, size, said[name]) for name, size in sizes.items()}


def _read_file(files: Files, name: str, size: int, said: Mapping[str, Any]) -> bytes:
    content = _read_content(files, check_file_name(name), size)
    if describe_file(content) != said:
        raise ConfigurationError(f"{name} in {files.where} is not what was saved: copy it again, or {REFIT}")
    return content


def _read_content(files: Files, name: str, limit_bytes: int) -> bytes:
    try:
        return files.read(name, limit_bytes)
    except MemoryError as exc:
        raise ConfigurationError(f"{name} in {files.where}: no memory for its {limit_bytes} bytes or fewer") from exc


def _assemble(manifest: Mapping[str, Any], arrays: Arrays, contents: Mapping[str, bytes]) -> Artifact:
    schema = from_json(manifest["input"])
    prepared, scores = _part(arrays, PREPROCESSING), arrays.get(CALIBRATION_SCORES)
    provenance = manifest.get("provenance", {})
    return Artifact(
        kind=str(manifest["kind"]),
        name=check_name(str(manifest["name"])),
        alpha=_alpha(manifest["alpha"]),
        schema=schema,
        state=State(_part(arrays, DETECTOR), contents),
        preprocessing=Preprocessing(schema, **prepared) if prepared else None,
        calibration=None if scores is None else CalibrationRows(scores, arrays.get(FEATURE_THRESHOLDS)),
        windowed=_windowed(manifest["windows"], schema, arrays),
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _windowed(said: Any, schema: Schema, arrays: Arrays) -> Windowed | None:
    if said is None:
        return None
    try:
        settings = WindowSettings.from_json(said)
    except ConfigurationError as exc:  # a value out of its range, which no fit has written
        raise ValueError(str(exc)) from exc
    transform = restore_transform(said["transform"], schema, _part(arrays, TRANSFORM))
    return Windowed(settings, transform, Reference.from_json(said["reference"]), _part(arrays, SUMMARY))


def _alpha(value: Any) -> float:
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"alpha is {value!r}")
    return value


def _part(arrays: Arrays, prefix: str) -> dict[str, Array]:
    return {name[len(prefix) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
