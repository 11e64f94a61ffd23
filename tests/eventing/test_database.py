"""Group commit: what was acknowledged is on disk, a work that fails undoes itself alone, and stopping flushes."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.storage.database import Database, open_connection

_SCHEMA = "CREATE TABLE IF NOT EXISTS entry (n INTEGER PRIMARY KEY, note TEXT)"
_PATIENCE_S = 10


def _insert(number: int) -> Any:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO entry (n) VALUES (?)", (number,))
        return number

    return work


def _numbers(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT n FROM entry ORDER BY rowid")]


def _on_disk(path: Path) -> list[int]:
    with closing(open_connection(path)) as connection:
        return _numbers(connection)


def _threads(prefix: str) -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(prefix))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "deep" / "store.db", _SCHEMA)
    await database.start()
    yield database
    await database.stop()


async def test_a_write_is_on_disk_when_it_returns(database: Database) -> None:
    assert await database.write(_insert(1)) == 1
    assert _on_disk(database.path) == [1]
    assert await database.read(_numbers) == [1]


async def test_many_writers_share_few_transactions(database: Database) -> None:
    begun: list[str] = []

    def hold(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith("BEGIN") else None)
        assert gate.wait(_PATIENCE_S)

    gate = threading.Event()
    held = asyncio.create_task(database.write(hold))
    writes = [asyncio.create_task(database.write(_insert(number))) for number in range(300)]
    await asyncio.sleep(0)
    gate.set()
    await held
    assert await asyncio.gather(*writes) == list(range(300))
    assert len(begun) <= 2


async def test_a_work_that_fails_undoes_itself_alone(database: Database) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO entry (n) VALUES (100)")
        raise LookupError("mine")

    works = [_insert(1), fails, _insert(2), _insert(1), _insert(3)]
    outcomes = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, LookupError, int, sqlite3.IntegrityError, int]
    assert _on_disk(database.path) == [1, 2, 3]


async def test_works_run_in_the_order_of_their_calls(database: Database) -> None:
    order: list[int] = []
    await asyncio.gather(*(database.write(lambda _, n=number: order.append(n)) for number in range(1200)))
    assert order == list(range(1200))


async def test_a_group_that_sqlite_undoes_fails_whole_and_the_next_succeeds(database: Database) -> None:
    def undone(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")  # as SQLite does of itself where the disk is full
        raise LookupError("no room")

    outcomes = await asyncio.gather(
        *(database.write(work) for work in (_insert(1), undone, _insert(2))), return_exceptions=True
    )
    assert all(isinstance(outcome, LookupError) for outcome in outcomes[:2])
    await database.write(_insert(3))
    assert 3 in _on_disk(database.path)
    assert 1 not in _on_disk(database.path)


async def test_a_full_disk_fails_the_write_and_room_lets_the_next_succeed(database: Database) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO entry (note) VALUES (?)", ("x" * 1_000_000,))

    def limit(pages: int) -> Any:
        return lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone()

    await database.write(limit(10))
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await database.write(fill)
    await database.write(limit(100_000))
    await database.write(fill)
    assert len(await database.read(_numbers)) == 1


async def test_a_caller_that_is_cancelled_disturbs_nobody(database: Database) -> None:
    gate = threading.Event()
    held = asyncio.create_task(database.write(lambda _: gate.wait(_PATIENCE_S)))
    given_up = asyncio.create_task(database.write(_insert(1)))
    patient = asyncio.create_task(database.write(_insert(2)))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.set()
    assert (await held, await patient) == (True, 2)
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_a_read_sees_one_moment(database: Database) -> None:
    await database.write(_insert(1))
    first, go = threading.Event(), threading.Event()

    def twice(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
        before = _numbers(connection)
        first.set()
        assert go.wait(_PATIENCE_S)
        return before, _numbers(connection)

    reading = asyncio.create_task(database.read(twice))
    await asyncio.to_thread(first.wait, _PATIENCE_S)
    await database.write(_insert(2))
    go.set()
    assert await reading == ([1], [1])
    assert await database.read(_numbers) == [1, 2]


async def test_a_read_cannot_write_and_may_fail(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(_insert(1))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
    assert await database.read(_numbers) == []


async def test_neither_reads_nor_the_stop_wait_for_the_loops_own_threads(database: Database) -> None:
    gate = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    held = loop.run_in_executor(None, gate.wait, _PATIENCE_S)
    await database.write(_insert(1))
    assert await database.read(_numbers) == [1]
    await database.stop()
    assert not held.done()
    gate.set()
    assert await held


async def test_reads_run_in_order_and_those_that_were_given_up_not_at_all(database: Database) -> None:
    order: list[int] = []
    gate = threading.Event()
    held = asyncio.create_task(database.read(lambda _: gate.wait(_PATIENCE_S)))
    reads = [asyncio.create_task(database.read(lambda _, n=number: order.append(n))) for number in range(100)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    await asyncio.wait(reads[::2])
    gate.set()
    assert await held
    await asyncio.gather(*reads[1::2])
    assert order == list(range(1, 100, 2))


async def test_reads_that_were_asked_for_before_the_stop_are_answered(database: Database) -> None:
    reads = [asyncio.create_task(database.read(_numbers)) for _ in range(50)]
    await asyncio.sleep(0)
    await database.stop()
    assert await asyncio.gather(*reads) == [[]] * 50


async def test_the_reading_thread_starts_with_the_first_read_and_ends_with_the_stop(tmp_path: Path) -> None:
    database = Database(tmp_path / "threads.db", _SCHEMA)
    for _ in range(2):
        await database.start()
        assert _threads("db-threads") == ["db-threads"]
        for _ in range(3):
            await database.read(_numbers)
        assert _threads("db-threads") == ["db-threads", "db-threads-reader_0"]
        await database.stop()
        assert _threads("db-threads") == []


async def test_stop_commits_what_was_asked(database: Database) -> None:
    writes = [asyncio.create_task(database.write(_insert(number))) for number in range(50)]
    await asyncio.sleep(0)
    await database.stop()
    assert await asyncio.gather(*writes) == list(range(50))
    assert _on_disk(database.path) == list(range(50))


async def test_a_work_alone_begins_its_own_transactions_between_groups(database: Database) -> None:
    def alone(connection: sqlite3.Connection) -> int:
        assert not connection.in_transaction
        connection.execute("BEGIN")
        connection.execute("INSERT INTO entry (n) VALUES (2)")
        connection.execute("COMMIT")
        return len(_numbers(connection))

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO entry (n) VALUES (100)")
        raise LookupError("mine")

    outcomes = await asyncio.gather(
        database.write(_insert(1)),
        database.run_alone(alone),
        database.run_alone(fails),
        database.write(_insert(3)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, int, LookupError, int]
    assert sorted(_on_disk(database.path)) == [1, 2, 3]


@pytest.mark.parametrize(("reclaims", "mode"), [(False, 0), (True, 2)])
async def test_a_file_that_reclaims_can_give_free_pages_back(tmp_path: Path, reclaims: bool, mode: int) -> None:
    database = Database(tmp_path / "store.db", _SCHEMA, reclaims)
    await database.start()
    assert await database.read(lambda connection: connection.execute("PRAGMA auto_vacuum").fetchone()) == (mode,)
    await database.stop()


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", _SCHEMA)
    await database.stop()
    for _ in range(2):
        with pytest.raises(WaysideError, match="not open"):
            await database.write(_insert(1))
        with pytest.raises(WaysideError, match="not open"):
            await database.read(_numbers)
        await database.start()
        await database.stop()
        await database.stop()


async def test_a_store_that_is_open_is_not_opened_again(database: Database) -> None:
    with pytest.raises(WaysideError, match="open already"):
        await database.start()
    assert await database.write(_insert(1)) == 1


async def test_a_stop_that_was_cancelled_is_finished_by_the_next(database: Database) -> None:
    gate = threading.Event()
    held = asyncio.create_task(database.write(lambda _: gate.wait(_PATIENCE_S)))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(database.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    with pytest.raises(WaysideError, match="not open"):
        await database.write(_insert(1))
    again = asyncio.create_task(database.stop())
    await asyncio.sleep(0)
    assert not again.done()  # the writer is at work still
    gate.set()
    assert await held
    await again
    await database.start()


async def test_a_stopped_store_starts_again(database: Database) -> None:
    await database.write(_insert(1))
    await database.stop()
    await database.start()
    await database.write(_insert(2))
    assert await database.read(_numbers) == [1, 2]


def test_the_writer_outlives_a_loop_that_asked(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", _SCHEMA)
    gate = threading.Event()

    async def ask_and_leave() -> None:
        await database.start()
        asked = [asyncio.create_task(database.write(work)) for work in (lambda _: gate.wait(_PATIENCE_S), _insert(1))]
        await asyncio.sleep(0)
        assert not any(task.done() for task in asked)

    async def ask_and_stay() -> None:
        asked = asyncio.create_task(database.write(_insert(2)))
        await asyncio.sleep(0)
        gate.set()
        assert await asked == 2
        await database.stop()

    asyncio.run(ask_and_leave())
    asyncio.run(ask_and_stay())
    assert _on_disk(database.path) == [1, 2]


@pytest.mark.parametrize(
    "schema", ["CREATE TABLE IF NOT EXISTS entry (n INTEGER); CREATE INDEX i ON entry (absent)", "NOT SQL"]
)
async def test_a_schema_that_does_not_fit_is_a_wrong_setting(tmp_path: Path, schema: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.db"):
        await Database(tmp_path / "store.db", schema).start()


async def test_a_file_that_is_no_database_is_a_wrong_setting(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database at all, but long enough to have a header" * 100)
    with pytest.raises(ConfigurationError, match=r"store\.db.*not a database"):
        await Database(path, _SCHEMA).start()


async def test_a_path_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "store.db", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot open the store"):
            await Database(path, _SCHEMA).start()


_WRITER = """
import asyncio, sys
from pathlib import Path
from wayside.eventing.storage.database import Database

async def write(database, number):
    await database.write(lambda connection: connection.execute("INSERT INTO entry (n) VALUES (?)", (number,)) and None)
    print(number, flush=True)

async def main():
    database = Database(Path(sys.argv[1]), sys.argv[2])
    await database.start()
    for start in range(0, 10**9, 20):
        await asyncio.gather(*(write(database, start + number) for number in range(20)))

asyncio.run(main())
"""


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    command = [sys.executable, "-c", _WRITER, str(path), _SCHEMA]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(500)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split(b"\n")[:-1] if line]
    stored = set(_on_disk(path))
    assert set(acknowledged) <= stored
    assert stored == set(range(len(stored)))
