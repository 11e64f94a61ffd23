"""A folder that alibi-detect saved a detector in, as names and bytes.

Invariant: only regular files below the folder are read, each by a name that leads nowhere else; nothing in them is run,
and their number and their sizes are bounded.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from wayside.detectors.artifacts.files import check_file_name
from wayside.eventing.errors import ConfigurationError

MARKS = ("meta.dill", "meta.pickle")
DRIFT_MARK = "config.toml"
_LIMIT_BYTES = 2 << 30
_MOST_FILES = 256
_MOST_FOLDERS_DEEP = 4


def read_saved(folder: Path, limit_bytes: int = _LIMIT_BYTES, *, is_drift: bool = False) -> dict[str, bytes]:
    """All files of it by their relative names. Raises `ConfigurationError` that names the file and the reason."""
    contents: dict[str, bytes] = {}
    try:
        for path in _files_below(folder, 0):
            name = check_file_name(path.relative_to(folder).as_posix())
            contents[name] = _read_regular(path, limit_bytes - sum(map(len, contents.values())))
            if len(contents) > _MOST_FILES:
                raise ConfigurationError(f"{folder} has more than {_MOST_FILES} files: name a saved detector's own")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {exc.filename or folder}: {exc.strerror or exc}") from exc
    check_saved(contents, str(folder), is_drift=is_drift)
    return contents


def check_saved(contents: Mapping[str, bytes], where: str, *, is_drift: bool = False) -> None:
    """Raises `ConfigurationError` where these are not the files of a saved outlier or adversarial detector, or where
    `is_drift`, of a drift detector."""
    if is_drift:
        _check_saved_drift(contents, where)
        return
    if any(mark in contents for mark in MARKS):
        return
    if DRIFT_MARK in contents:
        raise ConfigurationError(
            f"{where} holds a drift detector, which judges windows and scores no rows: wrap it as kind alibi-drift"
        )
    raise ConfigurationError(f"{where} is no folder of alibi-detect's save_detector (it has no {' or '.join(MARKS)})")


def _check_saved_drift(contents: Mapping[str, bytes], where: str) -> None:
    if DRIFT_MARK in contents:
        return
    if any(mark in contents for mark in MARKS):
        raise ConfigurationError(f"{where} holds a detector that scores rows, not windows: wrap it as kind alibi")
    raise ConfigurationError(f"{where} is no folder of alibi-detect's save_detector (it has no {DRIFT_MARK})")


def write_saved(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write them below a folder that only we read. Raises `ConfigurationError` where it has no room."""
    for name, content in contents.items():
        path = folder / check_file_name(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(content)
        except OSError as exc:
            raise ConfigurationError(f"cannot write {path}: {exc.strerror or exc}") from exc


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    if depth > _MOST_FOLDERS_DEEP:
        raise ConfigurationError(f"{folder} lies too deep for a saved detector")
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path), depth + 1)
        else:
            yield Path(entry.path)


def _read_regular(path: Path, limit_bytes: int) -> bytes:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ConfigurationError(f"{path} is no regular file: copy what it points to in its place")
    with open(path, "rb", opener=_open_no_link) as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ConfigurationError(f"the files of the saved detector have more than {_LIMIT_BYTES >> 20} MiB at {path}")
    return content


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)
