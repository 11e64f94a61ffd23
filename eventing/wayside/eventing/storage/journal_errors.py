"""The errors of a journal, and SQLite's own translated into them.

Invariant: each message names the file and says what a person can do; none of them means that an acknowledged entry is
gone.
"""

import errno
import sqlite3
from pathlib import Path

from wayside.eventing.errors import ConfigurationError, WaysideError

_DAMAGE = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_NO_TEXT = "Could not decode to UTF-8"  # the binding's own words, of a column of text that is none
_OF_DISK = {"SQLITE_FULL", "SQLITE_IOERR"}
_ERRORS_OF_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_ADVICE = {
    "SQLITE_NOTADB": "is this the path of a journal?",
    "SQLITE_ERROR": "is this the path of a journal?",
    "SQLITE_FULL": "the disk or the quota is full: make room, appends then succeed again",
    "SQLITE_READONLY": "the file or its disk is read-only: make it writable",
    "SQLITE_PERM": "this user may not write it: mend its owner or mode",
    "SQLITE_CANTOPEN": "a file of it cannot be opened: look at the folder, its mode, and the limit of open files",
    "SQLITE_IOERR": "the disk refused to read or write: look at its room, its limits and its health",
    "SQLITE_BUSY": "another process holds it: end what else writes to it",
}


class JournalError(WaysideError):
    """Base of what a journal raises once it is started."""


class JournalFull(JournalError):
    """The journal is at its limit and its policy is to refuse. Acknowledge entries or raise the limit, then append."""


class JournalUnavailable(JournalError):
    """The disk failed, or has no room. Nothing of this call was kept; the same call may succeed later."""


class JournalDamaged(JournalError):
    """SQLite calls the file malformed. What is readable is salvaged when the journal is started again."""


class UnknownCursor(JournalError):
    """No cursor of this name is open in the journal."""


class StructureDamaged(sqlite3.DatabaseError):
    """SQLite's check of a file's structure found fault, though the file can be opened."""


def is_damage(exc: BaseException) -> bool:
    """Whether SQLite, or what it read, says that the file itself is malformed."""
    if isinstance(exc, StructureDamaged):
        return True
    if not isinstance(exc, sqlite3.DatabaseError):
        return False
    return _primary_name(exc) in _DAMAGE or str(exc).startswith(_NO_TEXT)


def translate(exc: sqlite3.Error, path: Path) -> JournalError:
    """SQLite's error as one of the journal's."""
    if is_damage(exc):
        return JournalDamaged(f"the journal {path} is damaged ({exc}): start it again to salvage what is readable")
    return JournalUnavailable(f"the journal {path} cannot be used ({exc}): {advice_for(exc)}")


def opening_error(exc: sqlite3.Error | OSError, doing: str) -> WaysideError:
    """Why a journal cannot be opened: the disk's trouble may pass, and is tried again; a wrong path is a setting's."""
    is_of_disk = getattr(exc, "errno", None) in _ERRORS_OF_DISK or _primary_name(exc) in _OF_DISK
    kind = JournalUnavailable if is_of_disk else ConfigurationError
    return kind(f"cannot {doing}: {exc}; {advice_for(exc)}")


def advice_for(exc: Exception) -> str:
    """What a person can do."""
    return _ADVICE.get(_primary_name(exc), "look at its disk")


def _primary_name(exc: Exception) -> str:
    """SQLITE_IOERR for SQLITE_IOERR_WRITE; "" where the error is the binding's own."""
    name: str = getattr(exc, "sqlite_errorname", "")
    return "_".join(name.split("_")[:2])
