"""Makes a journal's file fit to be used, whatever happened to it since it was last: the part that runs at start.

Invariant: a file is set aside only where it was a journal of ours, and nothing is deleted that was readable; what was
cut or lost is in the report.
"""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.storage import journal_cursors, journal_damage, wal
from wayside.eventing.storage.database import open_connection
from wayside.eventing.storage.journal_errors import StructureDamaged, is_damage, opening_error
from wayside.eventing.storage.owner_lock import LastOwner
from wayside.eventing.storage.salvage import Salvage, finish, salvage

_PAGE_BYTES = 4096  # SQLite's own default, which open_connection leaves as it is


@dataclass(frozen=True, slots=True)
class Opening:
    """What was found at a start. All is well where nothing was cut, lost or salvaged.

    `torn_entries` were cut at the tail because their checksum failed; `lost_frames` are pages of committed
    transactions that SQLite did not replay, because its log is damaged before them. `is_anew`: a file that had an
    owner was gone or empty.
    """

    torn_entries: int = 0
    lost_frames: int = 0
    is_anew: bool = False
    salvage: Salvage | None = None

    @property
    def is_whole(self) -> bool:
        return not (self.torn_entries or self.lost_frames or self.is_anew or self.salvage)

    def tell(self) -> str:
        """One line for the log."""
        parts = []
        if self.lost_frames:
            parts.append(f"{self.lost_frames} pages of its log were damaged and are cut")
        if self.is_anew:
            parts.append("its file was gone or empty, and is begun anew")
        if self.torn_entries:
            parts.append(f"{self.torn_entries} torn entries at its end are cut")
        if self.salvage is not None:
            saved = ", ".join(f"{count} of {table}" for table, count in self.salvage.rows.items())
            parts.append(f"the damaged file is {self.salvage.aside}; rows saved from it: {saved}")
        return "; ".join(parts)


def make_ready(path: Path, schema: str, last: LastOwner) -> Opening:
    """Check the file, cut what is torn, salvage what is damaged; the caller owns it, and nothing has it open.

    After an owner that ended without leaving, all of the file's structure is checked, and positions jump. Raises
    `ConfigurationError` for a file that is no journal and never was, or that cannot be opened; `JournalUnavailable`
    where the disk is full or fails.
    """
    try:
        finish(path)
        _refuse_others(path)
        return _check(path, schema, last)
    except (sqlite3.Error, OSError) as exc:
        if not is_damage(exc) or last is LastOwner.NONE:
            raise opening_error(exc, f"open the journal {path}") from exc
    try:
        return Opening(salvage=salvage(path, schema, journal_damage.mend))
    except (sqlite3.Error, OSError) as exc:
        raise opening_error(exc, f"salvage the damaged journal {path}") from exc


def _refuse_others(path: Path) -> None:
    """A database of another program's is not touched, not even its log: hence `immutable`, which sees the file alone.

    Of a journal, the file alone may hold any moment of a checkpoint: an error here says nothing.
    """
    tables: set[str] = set()
    with suppress(sqlite3.Error), closing(_connect_immutable(path)) as connection:
        tables.update(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
    if tables and "journal_log" not in tables:
        named = ", ".join(sorted(tables)[:5])
        raise ConfigurationError(f"{path} is a database of another program ({named}): give the journal its own file")


def _connect_immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _check(path: Path, schema: str, last: LastOwner) -> Opening:
    is_anew = last is not LastOwner.NONE and not (path.exists() and path.stat().st_size)
    committed = wal.count_committed(path.with_name(f"{path.name}-wal"), _PAGE_BYTES)
    with closing(open_connection(path, reclaims=True)) as connection:
        lost = max(0, committed - _replayed(connection))
        connection.executescript(schema)
        if last is LastOwner.ENDED or lost:
            _check_structure(connection)
        connection.execute("BEGIN IMMEDIATE")
        torn = journal_damage.cut_tail(connection)
        if is_anew:
            journal_damage.jump_over_all(connection)
        elif last is LastOwner.ENDED or lost:
            journal_damage.jump(connection)
        connection.execute("COMMIT")
    return Opening(torn, lost, is_anew)


def _replayed(connection: sqlite3.Connection) -> int:
    """How many frames of its log SQLite found whole."""
    _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(0, int(frames))


def _check_structure(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StructureDamaged(found)
    journal_cursors.cursors(connection)  # whose names may be no text any more, which is no fault of the structure
