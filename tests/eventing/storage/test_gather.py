"""Changes of many callers become one work: each gets its own outcome, and where the work fails, all of them fail."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
