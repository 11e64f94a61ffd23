"""The log of rows against a model: positions without a gap, each event once, ranges as a list would give them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.service import row_log as journal
from wayside.detectors.drift.service.row_log import Entry

_KEYS = ("ns/a", "ns/b")


def _open() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(journal.SCHEMA)
    return connection


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(_open()) as connection:
        yield connection


def _entry(name: str, rows: int, key: str = "k") -> Entry:
    return Entry(key, "/s", name, "2024-01-01T00:00:00Z", rows, name.encode())


_APPENDED = st.lists(st.tuples(st.sampled_from(_KEYS), st.integers(0, 12), st.integers(1, 5)), max_size=15)


@given(_APPENDED, st.sampled_from(_KEYS), st.integers(0, 50), st.integers(0, 50))
def test_the_journal_agrees_with_a_list(appended: list[tuple[str, int, int]], key: str, first: int, end: int) -> None:
    model: dict[str, list[str]] = {known: [] for known in _KEYS}
    seen: set[int] = set()
    with closing(_open()) as connection:
        for where, name, rows in appended:
            assert journal.append(connection, _entry(str(name), rows, where)) is (name not in seen)
            if name not in seen:
                model[where] += [str(name)] * rows
            seen.add(name)
        assert {known: journal.end_of(connection, known) for known in _KEYS} == {k: len(v) for k, v in model.items()}
        assert journal.keys(connection) == sorted(known for known, rows in model.items() if rows)
        read = list(journal.read(connection, key, first, end))
    assert [entry.id for entry in read] == list(dict.fromkeys(model[key][first:end]))
    for entry in read:
        assert model[key][entry.first : entry.end] == [entry.id] * entry.rows
        assert entry == Entry(key, "/s", entry.id, "2024-01-01T00:00:00Z", entry.rows, entry.id.encode(), entry.first)


def test_an_event_keeps_its_first_position_under_any_key(connection: sqlite3.Connection) -> None:
    assert journal.append(connection, _entry("1", 3))
    assert not journal.append(connection, _entry("1", 2))
    assert not journal.append(connection, _entry("1", 3, key="other"))
    assert journal.keys(connection) == ["k"]
    assert [(entry.first, entry.end) for entry in journal.read(connection, "k", 0, 9)] == [(0, 3)]


@pytest.mark.parametrize(
    ("first", "end", "names"),
    [(0, 3, "a"), (2, 4, "ab"), (3, 5, "b"), (0, 9, "abc"), (4, 4, ""), (5, 2, ""), (9, 12, ""), (6, 7, "c")],
)
def test_a_range_gives_the_entries_that_hold_a_row_of_it(
    connection: sqlite3.Connection, first: int, end: int, names: str
) -> None:
    for name, rows in (("a", 3), ("b", 2), ("c", 4)):
        journal.append(connection, _entry(name, rows))
    assert "".join(entry.id for entry in journal.read(connection, "k", first, end)) == names


@pytest.mark.parametrize("rows", [0, -1])
def test_an_entry_without_rows_has_no_position(connection: sqlite3.Connection, rows: int) -> None:
    with pytest.raises(ValueError, match="no row"):
        journal.append(connection, _entry("1", rows))
    assert journal.keys(connection) == []


def test_positions_and_checkpoints_roll_back_together(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    journal.append(connection, _entry("1", 3))
    journal.advance(connection, "drift", "k", 3)
    connection.execute("ROLLBACK")
    assert journal.end_of(connection, "k") == journal.checkpoint(connection, "drift", "k") == 0
    assert journal.append(connection, _entry("1", 3))


def test_each_reader_has_a_checkpoint_a_key(connection: sqlite3.Connection) -> None:
    journal.advance(connection, "one", "k", 5)
    journal.advance(connection, "one", "k", 7)
    journal.advance(connection, "two", "k", 3)
    assert journal.checkpoint(connection, "one", "k") == 7
    assert journal.checkpoint(connection, "two", "k") == 3
    assert journal.checkpoint(connection, "one", "other") == 0
