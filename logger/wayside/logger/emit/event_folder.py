"""Files of events in one folder: lines are appended to a file that is open, which is closed at a size or an age.

Invariant: a file named `….jsonl` is whole and is not written again; one named `….jsonl.partial` is being written by a
process that holds its lock, or was left by one that ended, and then holds whole lines up to its last line break. What
`append` returned for is on disk.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time

_OPEN = ".partial"
_BLOCK = 64 << 10


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is closed: at so many bytes, or so long after it was begun."""

    limit_bytes: int = 64 << 20
    limit_age_s: float = 3600.0


class EventFolder:
    """For one thread at a time. Every method raises `OSError` where the disk fails."""

    def __init__(self, path: Path, rotation: Rotation, wall_s: Callable[[], float] = time) -> None:
        self.path = path
        self._rotation = rotation
        self._wall_s = wall_s
        self._file: int | None = None
        self._name = path
        self._size_bytes = self._count = 0
        self._begun_s = 0.0

    def prepare(self) -> None:
        """Make the folder, and finish what processes that ended have left in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob(f"*.jsonl{_OPEN}"):
            with suppress(FileNotFoundError):  # another process that tidies up was quicker
                _finish_left(left)

    def append(self, lines: bytes) -> None:
        """Write whole lines and synchronise them; where that fails the file is as it was before."""
        if self._file is None:
            self._begin()
        assert self._file is not None
        try:
            _write_whole(self._file, lines)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size_bytes)
            os.lseek(self._file, self._size_bytes, os.SEEK_SET)
            raise
        self._size_bytes += len(lines)
        self.close_when_due()

    def close_when_due(self) -> None:
        """Close the open file if it is large or old enough."""
        is_old = self._wall_s() >= self._begun_s + self._rotation.limit_age_s
        if self._file is not None and (is_old or self._size_bytes >= self._rotation.limit_bytes):
            self.close()

    def close(self) -> None:
        """Close the open file, if there is one, and give it its final name."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            _name_finally(self._name)
        finally:
            os.close(file)

    def _begin(self) -> None:
        self._begun_s = self._wall_s()
        stamp = datetime.fromtimestamp(self._begun_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        while self._file is None:
            self._count += 1
            self._name = self.path / f"events-{stamp}-{os.getpid()}-{self._count}.jsonl{_OPEN}"
            if not self._name.with_suffix("").exists():
                self._file = _created(self._name)
        self._size_bytes = 0
        _synchronise_folder(self.path)


def _created(path: Path) -> int | None:
    """A new file, locked; None where there is one, or another process that tidies up was quicker with its lock."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        return None
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:
            return file
    os.close(file)
    return None


def _write_whole(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _finish_left(path: Path) -> None:
    """Cut off a line that was not written whole; leave a file alone whose writer lives."""
    file = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        os.ftruncate(file, _end_of_lines(file))
        os.fsync(file)
        _name_finally(path)
    finally:
        os.close(file)


def _end_of_lines(file: int) -> int:
    """Where the last whole line ends."""
    end = os.lseek(file, 0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _name_finally(path: Path) -> None:
    """A file without a line goes."""
    if path.stat().st_size:
        path.rename(path.with_suffix(""))
    else:
        path.unlink()
    _synchronise_folder(path.parent)


def _synchronise_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
