"""Damage that reads like an entry: another type, another position. It costs that entry, and hides no other."""

import asyncio
import shutil
from pathlib import Path

import pytest

from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import Start
from wayside.eventing.storage.journal_errors import JournalDamaged

_COUNT, _PAGE = 600, 4_096


def _entry(number: int) -> Entry:
    return Entry(number, b"<%d>" % number, bytes(1_000))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal that was stopped, of entries from 1 to `_COUNT`."""
    folder = tmp_path_factory.mktemp("sound")

    async def make() -> None:
        journal = Journal(folder / "journal.db")
        await journal.start()
        await journal.open_cursor("reader")
        await journal.append([_entry(position) for position in range(1, _COUNT + 1)])
        await journal.stop()

    asyncio.run(make())
    return folder


def _copied(sound: Path, folder: Path) -> Path:
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    return folder / "journal.db"


def _page_of(path: Path, position: int) -> int:
    """Where its page begins."""
    return path.read_bytes().index(_entry(position).head) // _PAGE * _PAGE


def _spoil(path: Path, places: set[int]) -> None:
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(b"\xa5" * _PAGE)


def _move(path: Path, position: int, to: int) -> None:
    """Write another position in an entry's place; both are numbers of two bytes."""
    content = path.read_bytes()
    head = content.index(_entry(position).head)
    place = content.index(_two_bytes(position), head - 30, head)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(_two_bytes(to))


def _two_bytes(number: int) -> bytes:
    """As SQLite writes numbers of variable length; it reads those too that one byte would do for."""
    return bytes([0x80 | number >> 7, number & 0x7F])


async def _saved(path: Path) -> set[int]:
    """The positions that the reader is given once a salvage is over."""
    journal = Journal(path)
    assert (await journal.start()).salvage is not None
    page = await journal.read("reader", limit_rows=_COUNT)
    await journal.stop()
    return {entry.position for entry in page.entries}


@pytest.mark.parametrize("column", ["time_ns", "checksum", "head", "data"])
@pytest.mark.parametrize("value", ["CAST(x'ff' AS TEXT)", "'text'", "7", "0.5", "x'00'"])
async def test_a_column_that_damage_gave_another_type_costs_its_entry_alone(
    tmp_path: Path, column: str, value: str
) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    await journal.open_cursor("reader")
    await journal.append([_entry(number) for number in range(3)])
    change = f"UPDATE journal_entry SET {column} = {value} WHERE position = 2"
    await journal.write(lambda connection: connection.execute(change).rowcount)
    page = await journal.read("reader")
    assert ([entry.position for entry in page.entries], page.damaged) == ([1, 3], (2,))
    await journal.stop()


async def test_a_cursor_whose_name_is_no_text_is_damage_and_is_salvaged(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    await journal.start()
    await journal.open_cursor("reader")
    await journal.append([_entry(1)])
    change = "UPDATE journal_cursor SET name = CAST(x'ff' AS TEXT)"
    await journal.write(lambda connection: connection.execute(change).rowcount)
    with pytest.raises(JournalDamaged):
        await journal.state()
    await journal.stop()
    assert (await journal.start()).salvage is not None
    assert (await journal.open_cursor("reader", Start.NOW)).waiting_entries == 1
    await journal.stop()


@pytest.mark.parametrize("limit_rows", [301, 400])  # the page that is read ends with the entry, or goes on behind it
async def test_an_entry_whose_position_was_damaged_hides_none_behind_it(
    sound: Path, tmp_path: Path, limit_rows: int
) -> None:
    journal = Journal(_copied(sound, tmp_path))
    await journal.start()
    _move(journal.path, 301, to=16_383)
    with pytest.raises(JournalDamaged):
        await journal.read("reader", limit_rows=limit_rows)
    await journal.stop()
    assert await _saved(journal.path) == {*range(1, _COUNT + 1)} - {301}


@pytest.mark.parametrize("to", [50, 16_383])
async def test_a_salvage_goes_on_behind_an_entry_whose_position_was_damaged(
    sound: Path, tmp_path: Path, to: int
) -> None:
    path = _copied(sound, tmp_path)
    last = next(number for number in range(300, 310) if _page_of(path, number) != _page_of(path, number + 1))
    spoilt = {number for number in range(last, _COUNT) if _page_of(path, number) == _page_of(path, last + 1)}
    _spoil(path, {_page_of(path, last + 1)})
    _move(path, last, to)
    async with asyncio.timeout(20):
        saved = await _saved(path)
    assert saved == {*range(1, _COUNT + 1)} - {last} - spoilt


async def test_a_salvage_finds_what_lies_between_two_damaged_places(sound: Path, tmp_path: Path) -> None:
    path = _copied(sound, tmp_path)
    pages = {position: _page_of(path, position) for position in range(1, _COUNT + 1)}
    spoilt = {pages[position] for position in (*range(350, 580), 590)}
    _spoil(path, spoilt)
    assert await _saved(path) == {position for position, page in pages.items() if page not in spoilt}
