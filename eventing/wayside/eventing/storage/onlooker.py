"""Looks into a journal's file that somebody else may own, or nobody.

Invariant: nothing is changed and nobody is kept waiting. A file that was left in good order is read as it lies, without
the `-wal` and `-shm` that SQLite would put beside it, which only an owner takes away; any other is read as owners do.
Source: https://www.sqlite.org/wal.html#read_only_databases
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from wayside.eventing.storage.owner_lock import left_stamp

R = TypeVar("R")
_TIMEOUT_S = 10.0


class Onlooker:
    """Whoever has one closes it. Raises `sqlite3.Error`."""

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))  # the name by which its owner locks it
        self._left = _left(self._path)
        self._connection = _open(self._path, self._left is not None)

    def close(self) -> None:
        self._connection.close()

    def look(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Run a read-only work on one committed state.

        Where an owner came meanwhile, what was read as it lay is read again.
        """
        if self._left is not None:
            with suppress(sqlite3.Error):
                found = _look(self._connection, work)
                if _left(self._path) == self._left:
                    return found
            self._connection.close()
            self._left, self._connection = None, _open(self._path, lies_still=False)
        return _look(self._connection, work)


def _left(path: Path) -> int | None:
    """What tells one time that the file was left from the next; None while it may have an owner, or was not closed."""
    log = path.with_name(f"{path.name}-wal")
    return None if log.exists() else left_stamp(path)


def _open(path: Path, lies_still: bool) -> sqlite3.Connection:
    query = "mode=ro&immutable=1" if lies_still else "mode=ro"
    return sqlite3.connect(f"{path.as_uri()}?{query}", uri=True, isolation_level=None, timeout=_TIMEOUT_S)


def _look(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], R]) -> R:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("ROLLBACK")
