"""Looking into a file that is owned, that was left, that nobody ever left, and that gets an owner meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from wayside.eventing.storage.database import open_connection
from wayside.eventing.storage.onlooker import Onlooker
from wayside.eventing.storage.owner_lock import OwnerLock, left_stamp


@contextmanager
def owned(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as an owner has it, who leaves in good order."""
    lock = OwnerLock(path)
    lock.take()
    with closing(open_connection(path)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        yield connection
    lock.leave()


def add(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO t SELECT count(*) FROM t")


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with owned(tmp_path / "j.db") as connection:
        add(connection)
    return tmp_path / "j.db"


def test_a_file_that_was_left_stays_as_it_lies(path: Path) -> None:
    before = names(path)
    with closing(Onlooker(path)) as looking:
        assert looking.look(count) == 1
        assert names(path) == before == ["j.db", "j.db.lock"]
    assert names(path) == before


def test_a_file_without_any_lock_is_read_too(path: Path) -> None:
    path.with_name("j.db.lock").unlink()
    with closing(Onlooker(path)) as looking:
        assert looking.look(count) == 1
    assert names(path) == ["j.db"]


def test_an_owners_file_is_read_as_of_its_last_commit(path: Path) -> None:
    with owned(path) as connection, closing(Onlooker(path)) as looking:
        for number in (2, 3):
            add(connection)
            assert looking.look(count) == number


def test_who_comes_meanwhile_is_seen(path: Path) -> None:
    with closing(Onlooker(path)) as looking:
        assert looking.look(count) == 1
        with owned(path) as connection:
            add(connection)
            assert looking.look(count) == 2
        with owned(path) as connection:
            add(connection)
        assert looking.look(count) == 3


def test_who_came_and_went_while_it_was_read_is_seen(path: Path) -> None:
    looks = 0

    def work(connection: sqlite3.Connection) -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            with owned(path) as other:
                add(other)
        return count(connection)

    with closing(Onlooker(path)) as looking:
        assert (looking.look(work), looks) == (2, 2)


def test_a_file_whose_owner_was_killed_is_read_with_its_log(path: Path) -> None:
    with owned(path) as connection:
        add(connection)
        killed = path.parent / "killed"
        killed.mkdir()
        for file in path.parent.glob("j.db*"):
            (killed / file.name).write_bytes(file.read_bytes())
    with closing(Onlooker(killed / "j.db")) as looking:
        assert looking.look(count) == 2


def test_what_the_work_raises_comes_out(path: Path) -> None:
    with closing(Onlooker(path)) as looking:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            looking.look(lambda connection: connection.execute("SELECT * FROM u").fetchall())
        with pytest.raises(ValueError, match="own"):
            looking.look(lambda connection: int("own"))
        assert looking.look(count) == 1


def test_a_stamp_tells_one_leaving_from_the_next(path: Path) -> None:
    assert left_stamp(path.with_name("other.db")) == 0
    first = left_stamp(path)
    assert first
    with owned(path):
        assert left_stamp(path) is None
    assert left_stamp(path) not in (None, first)
