"""The journal as its users meet it: appends, cursors, bounded pages, one owner, and what is told to an admin."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.storage import journal_tables
from wayside.eventing.storage.entry import LIMIT_BYTES, Entry, KeptEntry
from wayside.eventing.storage.journal import Journal, look_at
from wayside.eventing.storage.journal_cursors import Start
from wayside.eventing.storage.journal_errors import JournalUnavailable, UnknownCursor


def _entry(number: int, size: int = 10) -> Entry:
    return Entry(number, b"head %d" % number, b"x" * size)


def _times(entries: list[KeptEntry] | tuple[KeptEntry, ...]) -> list[int]:
    return [entry.time_ns for entry in entries]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "journal.db"


async def test_what_was_appended_is_read_as_it_was(path: Path, running: Any, read_all: Any) -> None:
    entries = [Entry(-5, b"", b""), Entry(0, b"\x00", b"\xff" * 10_000), Entry(1 << 62, bytes(range(256)), b"'")]
    async with running(Journal(path)) as journal:
        positions = await journal.append(entries)
        assert list(positions) == [1, 2, 3]
        kept = await read_all(journal)
    assert [Entry(entry.time_ns, entry.head, entry.data) for entry in kept] == entries
    assert [entry.position for entry in kept] == [1, 2, 3]


async def test_an_append_is_kept_whole_under_positions_that_follow_one_another(path: Path, running: Any) -> None:
    async with running(Journal(path)) as journal:
        groups = [[_entry(n) for _ in range(n % 7 + 1)] for n in range(200)]
        ranges = await asyncio.gather(*(journal.append(group) for group in groups))
        assert [len(positions) for positions in ranges] == [len(group) for group in groups]
        assert [position for positions in ranges for position in positions] == list(range(1, sum(map(len, groups)) + 1))
        with pytest.raises(ValueError, match="nothing"):
            await journal.append([])


async def test_positions_go_on_after_a_stop_and_jump_after_none(path: Path, running: Any) -> None:
    for expected in (1, 2):
        async with running(Journal(path)) as journal:
            assert list(await journal.append([_entry(0)])) == [expected]
    (path.parent / "journal.db.lock").write_text("4711")
    async with running(Journal(path)) as journal:
        assert list(await journal.append([_entry(0)])) == [3 + journal_tables.JUMP]


async def test_a_cursor_goes_on_where_it_was_in_any_order(path: Path, running: Any, read_all: Any) -> None:
    async with running(Journal(path)) as journal:
        await journal.append([_entry(n) for n in range(1, 11)])
        assert (await journal.open_cursor("reader")).position == 0
        await journal.acknowledge("reader", [9, 4, 5])
        assert _times(await read_all(journal)) == [1, 2, 3, 6, 7, 8, 10]
    async with running(Journal(path)) as journal:
        state = await journal.open_cursor("reader", Start.NOW)
        assert (state.position, state.waiting_entries, state.oldest_ns) == (0, 7, 1)
        await asyncio.gather(*(journal.acknowledge("reader", [n, n]) for n in (3, 1, 2, 99, 4)))
        assert (await journal.open_cursor("reader")).position == 5
        assert _times(await read_all(journal)) == [6, 7, 8, 10]
        await journal.acknowledge("reader", [6, 7, 8, 10])
        state = await journal.open_cursor("reader")
        assert (state.position, state.waiting_entries, state.waiting_bytes, state.oldest_ns) == (10, 0, 0, None)


async def test_a_new_cursor_starts_at_now_or_at_the_beginning(path: Path, running: Any, read_all: Any) -> None:
    async with running(Journal(path)) as journal:
        await journal.append([_entry(1), _entry(2)])
        await journal.open_cursor("late", Start.NOW)
        await journal.open_cursor("early", Start.BEGINNING)
        await journal.append([_entry(3)])
        assert _times(await read_all(journal, "late")) == [3]
        assert _times(await read_all(journal, "early")) == [1, 2, 3]


async def test_a_cursor_that_is_dropped_is_forgotten_with_all_it_acknowledged(
    path: Path, running: Any, read_all: Any
) -> None:
    async with running(Journal(path)) as journal:
        await journal.append([_entry(n) for n in range(3)])
        await journal.open_cursor("reader")
        await journal.acknowledge("reader", [1, 3])
        assert await journal.drop_cursor("reader")
        assert not await journal.drop_cursor("reader")
        for call in (journal.read("reader"), journal.acknowledge("reader", [2])):
            with pytest.raises(UnknownCursor, match="'reader'"):
                await call
        assert _times(await read_all(journal)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("limit_rows", "limit_bytes", "expected"),
    [(3, 10**6, 3), (100, 2_500, 2), (100, 1, 1), (1, 0, 1), (100, 10**6, 20)],
)
async def test_a_page_is_bounded_in_rows_and_bytes_but_never_empty(
    path: Path, running: Any, limit_rows: int, limit_bytes: int, expected: int
) -> None:
    async with running(Journal(path)) as journal:
        await journal.append([_entry(n, 1_000) for n in range(20)])
        await journal.open_cursor("reader")
        page = await journal.read("reader", limit_rows=limit_rows, limit_bytes=limit_bytes)
        assert _times(page.entries) == list(range(expected))
        assert page.last == expected
        end = await journal.read("reader", 20)
        assert (end.entries, end.last) == ((), 20)


async def test_a_second_owner_is_refused_with_the_path_and_the_process(path: Path, running: Any) -> None:
    code = (
        "import asyncio, sys, pathlib\nfrom wayside.eventing.storage.journal import Journal\n"
        "asyncio.run(Journal(pathlib.Path(sys.argv[1])).start())"
    )
    async with running(Journal(path)) as journal:
        with pytest.raises(ConfigurationError, match=rf"journal\.db is in use by process {os.getpid()}"):
            await Journal(path).start()
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
        assert f"{path} is in use by process {os.getpid()}" in done.stderr
        assert await journal.append([_entry(1)])
    async with running(Journal(path)):
        pass


async def test_an_admin_looks_at_a_journal_that_another_owns(path: Path, running: Any) -> None:
    async with running(Journal(path)) as journal:
        await journal.append([_entry(1), _entry(2)])
        await journal.open_cursor("reader")
        await journal.acknowledge("reader", [1])
        seen = look_at(path)
        assert seen == await journal.state()
        assert (seen.log.entries, seen.cursors[0].waiting_entries, seen.cursors[0].oldest_ns) == (2, 1, 2)
    assert look_at(path) == seen
    with pytest.raises(JournalUnavailable, match="absent"):
        look_at(path.with_name("absent.db"))


async def test_a_callers_own_tables_change_in_the_same_transaction(path: Path, running: Any, read_all: Any) -> None:
    schema = "CREATE TABLE IF NOT EXISTS mine (position INTEGER)"

    def work(connection: Any) -> int:
        (position,) = journal_tables.append(connection, [_entry(1)])
        connection.execute("INSERT INTO mine VALUES (?)", (position,))
        return position

    def fails(connection: Any) -> None:
        work(connection)
        raise LookupError("mine")

    async with running(Journal(path, schema=schema)) as journal:
        assert await journal.write(work) == 1
        with pytest.raises(LookupError):
            await journal.write(fails)
        assert await journal.look(lambda connection: connection.execute("SELECT * FROM mine").fetchall()) == [(1,)]
        assert len(await read_all(journal)) == 1


async def test_a_journal_that_is_not_open_says_so(path: Path) -> None:
    journal = Journal(path)
    await journal.stop()
    for _ in range(2):
        with pytest.raises(WaysideError, match="not open"):
            await journal.append([_entry(1)])
        await journal.start()
        await journal.append([_entry(1)])
        await journal.stop()
        await journal.stop()


@pytest.mark.parametrize("time_ns", [1 << 63, -(1 << 63) - 1])
def test_an_entry_that_no_journal_could_keep_is_refused(time_ns: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        Entry(time_ns, b"", b"")
    with pytest.raises(ValueError, match="at most"):
        Entry(0, b"", bytes(LIMIT_BYTES + 1))


async def test_a_file_that_was_never_a_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"somebody's letters, long enough to look like a header of something" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not a database"):
        await Journal(path).start()
    with pytest.raises(ConfigurationError, match="not a database"):
        await Journal(path).start()
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_a_database_of_another_program_is_left_alone(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE letters (text TEXT)")
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"another program \(letters\): give the journal its own file"):
            await Journal(path).start()
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", "journal.db.lock"}
    with pytest.raises(JournalUnavailable, match="is this the path of a journal"):
        look_at(path)


async def test_a_link_to_a_journal_has_the_same_owner(path: Path, running: Any) -> None:
    async with running(Journal(path)):
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(ConfigurationError, match="is in use by process"):
            await Journal(link).start()


async def test_a_start_of_what_is_started_changes_nothing(path: Path, running: Any) -> None:
    async with running(Journal(path)) as journal:
        with pytest.raises(ConfigurationError, match="in use by this very owner"):
            await journal.start()
        assert list(await journal.append([_entry(1)])) == [1]
