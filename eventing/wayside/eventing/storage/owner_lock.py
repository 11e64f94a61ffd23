"""One owner for a file: an advisory lock beside it, which also remembers whether the last owner left in good order.

Invariant: while an owner holds the lock, no other process and no other owner in this one gets it, and a kill frees it.
The lock's file names its owner from `take` until `leave`: a name found at `take` is that of one who never left.
"""

import fcntl
import os
from contextlib import suppress
from enum import Enum
from pathlib import Path

from wayside.eventing.errors import ConfigurationError

_BYTES = 32


class LastOwner(Enum):
    """How the file was left: it never had an owner, the last one left it in good order, or it did not."""

    NONE = "none"
    LEFT = "left"
    ENDED = "ended"


_MARKS = {LastOwner.NONE: b"", LastOwner.LEFT: b"left"}  # any other content is the owner's process


class OwnerLock:
    """An `flock` on `<path>.lock`. The file stays: were it taken away, two owners could lock two files of one name."""

    def __init__(self, path: Path) -> None:
        self._owned = path
        self._path = path.with_name(f"{path.name}.lock")
        self._file: int | None = None

    def take(self) -> LastOwner:
        """Become the owner. Raises `ConfigurationError`, which names the file and the process, where there is one."""
        if self._file is not None:
            raise ConfigurationError(f"{self._owned} is in use by this very owner")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise ConfigurationError(f"cannot lock {self._owned}: {exc}") from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = _last_owner(file)
            _write(file, b"%d" % os.getpid())
        except OSError as exc:
            reason = _reason(exc, file)
            os.close(file)
            raise ConfigurationError(f"{self._owned} {reason}") from exc
        self._file = file
        return last

    def leave(self, state: LastOwner = LastOwner.LEFT) -> None:
        """Stop being the owner; the next one is told `state`, or `ENDED` where the disk fails. May be called twice."""
        if self._file is None:
            return
        if state is not LastOwner.ENDED:
            with suppress(OSError):
                _write(self._file, _MARKS[state])
        os.close(self._file)
        self._file = None


def left_stamp(path: Path) -> int | None:
    """For who is no owner and takes no lock: when the file's last owner left in good order, as the lock file's time in
    nanoseconds; 0 where there never was one. None while it has an owner, and after one that never left.

    As long as the answer is the same, nobody has owned the file meanwhile.
    """
    try:
        with path.with_name(f"{path.name}.lock").open("rb") as file:
            changed_ns = os.fstat(file.fileno()).st_mtime_ns
            return None if _last_owner(file.fileno()) is LastOwner.ENDED else changed_ns
    except FileNotFoundError:
        return 0
    except OSError:
        return None


def _reason(exc: OSError, file: int) -> str:
    if isinstance(exc, BlockingIOError):
        owner = _read(file).decode("ascii", "replace")
        holder = owner if owner.isdecimal() else "unknown, forked by the last owner perhaps"
        return f"is in use by process {holder}: give each process its own"
    return f"cannot be locked: {exc}"


def _last_owner(file: int) -> LastOwner:
    found = _read(file)
    return next((state for state, mark in _MARKS.items() if mark == found), LastOwner.ENDED)


def _read(file: int) -> bytes:
    return os.pread(file, _BYTES, 0).strip()


def _write(file: int, text: bytes) -> None:
    """Always as many bytes, in the place of those before: a disk without room can still take them."""
    os.pwrite(file, text.ljust(_BYTES), 0)
    os.fsync(file)
