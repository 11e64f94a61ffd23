"""Changes of many callers become one work: each gets its own outcome, and where the work fails, all of them fail."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wayside.eventing.errors import WaysideError
from wayside.eventing.storage.database import Database
from wayside.eventing.storage.gather import GATHER_LIMIT, Gatherer


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "store.db", "CREATE TABLE IF NOT EXISTS entry (n INTEGER)")
    await database.start()
    yield database
    await database.stop()


def _insert(connection: sqlite3.Connection, numbers: list[int]) -> list[int | Exception]:
    connection.executemany("INSERT INTO entry VALUES (?)", [(number,) for number in numbers])
    if -1 in numbers:
        raise LookupError("all of them")
    return [ValueError(f"odd {number}") if number % 2 else number for number in numbers]


def _kept(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT n FROM entry ORDER BY rowid")]


async def test_each_caller_gets_its_own_outcome_in_the_order_of_the_calls(database: Database) -> None:
    gatherer: Gatherer[int, int] = Gatherer(database, _insert)
    count = GATHER_LIMIT * 2 + 5
    outcomes = await asyncio.gather(*(gatherer.write(number) for number in range(count)), return_exceptions=True)
    assert outcomes[::2] == list(range(0, count, 2))
    assert [str(outcome) for outcome in outcomes[1::2]] == [f"odd {number}" for number in range(1, count, 2)]
    assert await database.read(_kept) == list(range(count))


async def test_where_the_work_itself_fails_all_fail_and_nothing_is_kept(database: Database) -> None:
    gatherer: Gatherer[int, int] = Gatherer(database, _insert)
    outcomes = await asyncio.gather(*(gatherer.write(number) for number in (2, -1, 4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert await gatherer.write(6) == 6
    assert await database.read(_kept) == [6]


async def test_a_stop_follows_what_was_asked_before_it(database: Database) -> None:
    gatherer: Gatherer[int, int] = Gatherer(database, _insert)
    writes = [asyncio.create_task(gatherer.write(number)) for number in (0, 2, 4)]
    await asyncio.sleep(0)
    await database.stop()
    assert await asyncio.gather(*writes) == [0, 2, 4]
    with pytest.raises(WaysideError, match="not open"):
        await gatherer.write(6)
    await database.start()
    assert await gatherer.write(8) == 8


def test_a_loop_that_ends_strands_nobody_of_the_next(tmp_path: Path) -> None:
    database = Database(tmp_path / "store.db", "CREATE TABLE IF NOT EXISTS entry (n INTEGER)")
    gatherer: Gatherer[int, int] = Gatherer(database, _insert)
    gate = threading.Event()

    async def ask_and_leave() -> None:
        await database.start()
        asked = [asyncio.create_task(database.write(lambda _: gate.wait(10))), asyncio.create_task(gatherer.write(2))]
        await asyncio.sleep(0)
        assert not any(task.done() for task in asked)

    async def ask_and_stay() -> None:
        asked = asyncio.create_task(gatherer.write(4))
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.wait_for(asked, 10) == 4
        assert await database.read(_kept) == [2, 4]
        await database.stop()

    asyncio.run(ask_and_leave())
    asyncio.run(ask_and_stay())
