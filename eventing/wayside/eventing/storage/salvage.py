"""Saves what is readable of a damaged SQLite file into a fresh one, and sets the damaged one aside under a name.

Invariant: at every moment either the damaged file or the complete fresh one is there to go on from, so that a kill in
the middle loses nothing: `finish` does what a killed salvage left undone.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

_KEPT_ASIDE = 4
_ROWIDS = (1 << 63) - 1
_NEAR = 4_096  # rowids: more than a page above the leaves has below it
Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Salvage:
    """Where the damaged file is now, and how many rows of each table were saved from it."""

    aside: Path
    rows: dict[str, int]


def salvage(path: Path, schema: str, mend: Callable[[sqlite3.Connection], None]) -> Salvage:
    """Put in the place of a damaged file a fresh one of `schema`, with every row of its tables that can be reached
    around the damage. `mend` makes the fresh file consistent before it counts.

    Raises `sqlite3.Error` and `OSError` where the disk fails; the damaged file is then where it was.
    """
    unfinished, complete = _beside(path, "salvaging"), _beside(path, "salvaged")
    _remove(unfinished)
    with closing(_new_file(unfinished)) as fresh:
        rows = _copy_all(path, fresh, schema)
        mend(fresh)
    _sync(unfinished)
    os.replace(unfinished, complete)
    _sync(path.parent)
    aside = finish(path)
    assert aside is not None
    return Salvage(aside, rows)


def _new_file(path: Path) -> sqlite3.Connection:
    """Without a journal: a file that is not complete is thrown away, and one that is was synchronised whole."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("auto_vacuum=INCREMENTAL", "journal_mode=OFF", "synchronous=OFF"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def finish(path: Path) -> Path | None:
    """Where a fresh file is complete, put it in its place. Returns the name of the damaged file; None without one."""
    complete = _beside(path, "salvaged")
    if not complete.exists():
        return None
    aside = _free_name(path)
    for suffix in ("-wal", ""):  # the log first: a log beside a file that is not its own would be played into it
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    with suppress(FileNotFoundError):
        os.unlink(f"{path}-shm")
    _sync(path.parent)
    os.replace(complete, path)
    _sync(path.parent)
    return aside


def _copy_all(damaged: Path, fresh: sqlite3.Connection, schema: str) -> dict[str, int]:
    fresh.executescript(schema)
    tables = [name for (name,) in fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")]
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        source.execute("PRAGMA writable_schema=ON")  # lets SQLite read a file that is shorter than its header says
        rows = {table: _copy(source, fresh, table) for table in tables if not table.startswith("sqlite_")}
    fresh.executescript(schema)  # the rows that a schema brings along, where they were not saved
    return rows


def _copy(source: sqlite3.Connection, fresh: sqlite3.Connection, table: str) -> int:
    """Every row that can be reached. Returns how many there are then."""
    columns = fresh.execute(f'PRAGMA table_info("{table}")').fetchall()
    names = ", ".join(f'"{column[1]}"' for column in columns)
    keys = [f'"{column[1]}"' for column in sorted(columns, key=lambda column: int(column[5])) if column[5]]
    has_rowid = _has_rowid(fresh, table)
    rows = _read_around(source, names, table) if has_rowid else _read_from_ends(source, names, table, keys)
    marks = ", ".join("?" * len(columns))
    fresh.execute("BEGIN")
    fresh.execute(f'DELETE FROM "{table}"')
    fresh.executemany(f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({marks})', rows)
    fresh.execute("COMMIT")
    (count,) = fresh.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    return int(count)


def _has_rowid(connection: sqlite3.Connection, table: str) -> bool:
    try:
        connection.execute(f'SELECT rowid FROM "{table}" LIMIT 0')
    except sqlite3.OperationalError:
        return False
    return True


def _read_from_ends(source: sqlite3.Connection, names: str, table: str, keys: list[str]) -> Iterator[Row]:
    """From the front as far as it goes, then from the back: what is between is lost."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{key} {direction}" for key in keys)
        yield from _read(source, f'SELECT {names} FROM "{table}" ORDER BY {order}')


def _read_around(source: sqlite3.Connection, names: str, table: str) -> Iterator[Row]:
    """In order of the rowid, and over each place that cannot be read: to the next that can, and back towards it.

    A damaged page can show rowids that are none of its own: what is read goes on from one that can also be found.
    """
    query = f'SELECT rowid, {names} FROM "{table}" WHERE rowid > ? AND rowid < ? ORDER BY rowid'
    last: int | None = -_ROWIDS
    while last is not None:
        found = farthest = last
        for row in _read(source, query, last, _ROWIDS):
            farthest = max(farthest, _rowid(row))
            if _rowid(row) > found and _is_found(source, table, _rowid(row)):
                found = _rowid(row)
            yield row[1:]
        last = found if found > last else farthest
        landing = _next_readable(source, query, last)
        yield from (row[1:] for row in _read(source, f"{query} DESC", last, _ROWIDS if landing is None else landing))
        if landing is not None:
            yield from (row[1:] for row in _read(source, f"{query} LIMIT 1", landing - 1, _ROWIDS))
        last = landing


def _is_found(source: sqlite3.Connection, table: str, rowid: int) -> bool:
    try:
        return source.execute(f'SELECT 1 FROM "{table}" WHERE rowid = ?', (rowid,)).fetchone() is not None
    except sqlite3.Error:
        return False


def _next_readable(source: sqlite3.Connection, query: str, last: int) -> int | None:
    """A rowid past one behind which nothing could be read: near it, or as far off as it must be. None: there is none.

    Near it, every rowid is tried; then each step is twice as long, because positions can jump far. One that leads over
    the end is followed by shorter ones.
    """
    place, step = last, 0
    while place + step < _ROWIDS:
        try:
            row = source.execute(f"{query} LIMIT 1", (place + step, _ROWIDS)).fetchone()
        except (sqlite3.Error, UnicodeDecodeError):
            row = (last,)  # as where a damaged page leads back
        if row is not None and _rowid(row) > place + step:
            return _rowid(row)
        if row is not None:
            step = step * 2 if step >= _NEAR else step + 1
        elif step > _NEAR:
            place, step = place + step // 2, 1
        else:
            return None
    return None


def _rowid(row: Row) -> int:
    assert isinstance(row[0], int)
    return row[0]


def _read(source: sqlite3.Connection, query: str, *bounds: int) -> Iterator[Row]:
    """Rows until there are no more, or none that can be read."""
    count = 0
    try:
        for row in source.execute(query, bounds):
            count += 1
            yield row
    except (sqlite3.Error, UnicodeDecodeError):  # which the binding raises in the place of the last row it has read
        with suppress(sqlite3.Error, UnicodeDecodeError):
            yield from source.execute(f"{query} LIMIT 1 OFFSET {count}", bounds)


def _free_name(path: Path) -> Path:
    """`<name>.damaged-<n>` with the next n; of those from before, only the newest few are kept."""
    taken = sorted((_number(old), old) for old in path.parent.glob(f"{path.name}.damaged-*") if _number(old))
    for _, old in taken[: 1 - _KEPT_ASIDE]:
        _remove(old)
    return path.with_name(f"{path.name}.damaged-{taken[-1][0] + 1 if taken else 1}")


def _number(aside: Path) -> int:
    number = aside.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f"{path.name}.{word}")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")


def _sync(path: Path) -> None:
    """A file's bytes, or a folder's names."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
