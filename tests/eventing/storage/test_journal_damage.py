"""Garbage and missing bytes at many places: what lies before is kept, nothing torn is given, the journal goes on."""

import asyncio
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.storage import journal_retention, wal
from wayside.eventing.storage.entry import Entry, KeptEntry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import Start
from wayside.eventing.storage.journal_errors import JournalDamaged
from wayside.eventing.storage.journal_retention import Retention, WhenFull
from wayside.eventing.storage.salvage import finish

_COUNT = 600
_SIZE = 1_000
_PAGE = 4_096


def _entry(number: int) -> Entry:
    return Entry(number, b"<%d>" % number, (b"[%d]" % number) * (_SIZE // 5))


async def _make(path: Path) -> None:
    """A journal of `_COUNT` entries, all of them on disk, that was stopped; the reader has the first 50 behind it."""
    journal = Journal(path)
    await journal.start()
    await journal.open_cursor("reader")
    for first in range(0, _COUNT, 20):
        await journal.append([_entry(number) for number in range(first, first + 20)])
    await journal.acknowledge("reader", range(1, 51))
    await journal.stop()


async def _read_on(path: Path, cursor: str) -> tuple[list[KeptEntry], int]:
    """All that a cursor is given, and how often the journal had to be started again to give it."""
    given: dict[int, KeptEntry] = {}
    for starts in range(1, 4):
        journal = Journal(path)
        await journal.start()
        try:
            await journal.open_cursor(cursor, Start.BEGINNING)
            after, last = -1, -2
            while after != last:
                page = await journal.read(cursor, after)
                given |= {entry.position: entry for entry in page.entries}
                after, last = page.last, after
            (position,) = await journal.append([_entry(7)])
            assert position > max(given, default=0)
            return list(given.values()), starts
        except JournalDamaged:
            continue
        finally:
            await journal.stop()
    pytest.fail("the journal does not get well")


def _positions_on_disk_before(content: bytes, place: int) -> set[int]:
    """The entries whose bytes, of which there is one copy, end before a place in the file."""
    data = {number + 1: _entry(number).data for number in range(_COUNT)}
    return {position for position, text in data.items() if content.count(text) == content.count(text, 0, place) == 1}


def _damage(path: Path, place: int, kind: str) -> None:
    with path.open("r+b") as file:
        if kind == "truncated":
            file.truncate(place)
            return
        file.seek(place)
        file.write(random.Random(place).randbytes(_PAGE) if kind == "garbage" else bytes(_PAGE))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    asyncio.run(_make(folder / "journal.db"))
    return folder


@pytest.mark.parametrize("kind", ["garbage", "zeros", "truncated"])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.999])
async def test_damage_to_the_file(sound: Path, tmp_path: Path, share: float, kind: str) -> None:
    folder = tmp_path / "journal"
    shutil.copytree(sound, folder)
    path = folder / "journal.db"
    content = path.read_bytes()
    place = int(len(content) * share) // _PAGE * _PAGE
    _damage(path, place, kind)
    given, _ = await _read_on(path, "whole")
    for entry in given:
        assert (entry.head, entry.data) == (_entry(entry.time_ns).head, _entry(entry.time_ns).data)
    assert _positions_on_disk_before(content, place) <= {entry.position for entry in given}
    assert len({entry.position for entry in given}) == len(given)
    reader, _ = await _read_on(path, "reader")
    assert min((entry.position for entry in reader), default=51) > 50  # the cursor is where it was


@pytest.mark.parametrize("place", [0, 17, 100, 2_000])
async def test_damage_to_the_files_first_page(sound: Path, tmp_path: Path, place: int) -> None:
    folder = tmp_path / "journal"
    shutil.copytree(sound, folder)
    path = folder / "journal.db"
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5" * 64)
    damaged = path.read_bytes()
    given, _ = await _read_on(path, "whole")
    aside = folder / "journal.db.damaged-1"
    assert len(given) == _COUNT or aside.read_bytes() == damaged


def _killed(command: list[str], lines: int) -> list[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    return [line.strip() for line in said if line.startswith("+") and line.endswith("\n")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A journal with a log beside it, whose process was killed, and what it had acknowledged."""
    folder = tmp_path_factory.mktemp("killed")
    writer = Path(__file__).with_name("journal_writer.py")
    said = _killed([sys.executable, str(writer), str(folder / "journal.db"), "8", "1000"], 400)
    return folder, {name: int(position) for position, name in (line[1:].split(" ") for line in said)}


@pytest.mark.parametrize("kind", ["garbage", "zeros", "truncated"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
async def test_damage_to_the_log(
    killed: tuple[Path, dict[str, int]], tmp_path: Path, share: float, kind: str, caplog: Any
) -> None:
    folder = tmp_path / "journal"
    shutil.copytree(killed[0], folder)
    log_path = folder / "journal.db-wal"
    content = log_path.read_bytes()
    place = int(len(content) * share)
    _damage(log_path, place, kind)
    frame = (place - 32) // (_PAGE + 24) * (_PAGE + 24) + 32
    with caplog.at_level(logging.WARNING):
        given, starts = await _read_on(folder / "journal.db", "whole")
    assert starts == 1
    names = {entry.head.decode(): entry.position for entry in given}
    for name, position in killed[1].items():
        committed = content.find(name.encode().ljust(1_000, b"."))
        if 0 <= committed < frame - 3 * (_PAGE + 24) * 8:  # its transaction ends before the damage: 8 writers at most
            assert names[name] == position
    assert all(entry.data == entry.head.ljust(1_000, b".") for entry in given)
    if kind != "truncated" and share < 0.9:
        assert "was damaged" in caplog.text


def test_the_frames_of_a_sound_log_are_all_replayed(killed: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(killed[0] / name, tmp_path)
    claimed = wal.count_committed(tmp_path / "journal.db-wal", _PAGE)
    connection = sqlite3.connect(tmp_path / "journal.db")
    assert claimed == connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    connection.close()
    assert wal.count_committed(tmp_path / "absent", _PAGE) == 0


async def test_an_entry_whose_checksum_fails_is_told_skipped_and_counted(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    await journal.start()
    await journal.append([_entry(number) for number in range(2_000)])
    await journal.open_cursor("reader")
    await journal.write(
        lambda connection: connection.execute("UPDATE journal_entry SET data = x'00' WHERE position IN (3, 5)").rowcount
    )
    page = await journal.read("reader", limit_rows=6)
    assert ([entry.position for entry in page.entries], page.damaged, page.last) == ([1, 2, 4, 6], (3, 5), 6)
    assert "entries [3, 5] are damaged" in caplog.text
    assert [entry.position for entry in (await journal.read("reader", limit_rows=4)).entries] == [1, 2, 4, 6]
    state = await journal.state()
    assert (state.log.damaged_entries, state.log.entries, state.cursors[0].waiting_entries) == (2, 1_998, 1_998)
    await journal.acknowledge("reader", [1, 2, 4, 6])
    assert (await journal.open_cursor("reader")).position == 6
    await journal.stop()


async def test_torn_entries_at_the_end_are_cut_at_the_start_and_told(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "journal.db"
    await _make(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE journal_entry SET data = zeroblob(3) WHERE position > ?", (_COUNT - 2,))
    connection.commit()
    connection.close()
    journal = Journal(path)
    opening = await journal.start()
    assert (opening.torn_entries, opening.is_whole) == (2, False)
    assert "2 torn entries at its end are cut" in caplog.text
    assert list(await journal.append([_entry(1)])) == [_COUNT + 1]  # a position is not used again
    await journal.stop()


async def test_where_the_cursors_are_lost_new_ones_begin_with_what_was_saved(sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    shutil.copytree(sound, folder)
    path = folder / "journal.db"
    _spoil(path, [_root(path, "journal_cursor")])
    journal = Journal(path)
    opening = await journal.start()
    assert opening.salvage is not None
    assert opening.salvage.rows["journal_entry"] == _COUNT
    assert (await journal.open_cursor("reader", Start.NOW)).waiting_entries == _COUNT
    await journal.stop()


def _root(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return int(root)


def _spoil(path: Path, pages: list[int]) -> None:
    """These pages, as a disk may, behind the back of an owner that did not leave."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * _PAGE)
            file.write(b"\xa5" * _PAGE)
    path.with_name("journal.db.lock").write_text("4711")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped journal of 10 000 entries, whose tree has two levels above its leaves."""
    path = tmp_path_factory.mktemp("deep") / "journal.db"

    async def make() -> None:
        journal = Journal(path)
        await journal.start()
        for _ in range(10):
            await journal.append([Entry(0, b"", bytes(1_000))] * 1_000)
        await journal.stop()

    asyncio.run(make())
    return path


_LEAF, _ABOVE = 13, 5  # the first byte of a page of a table
_POINTERS_EVERY = _PAGE // 5 + 1  # pages that `auto_vacuum` puts between, from page 2 on


@pytest.mark.parametrize(
    ("kind", "shares", "least"),
    [(_LEAF, (0.1, 0.5, 0.9), 10_000 - 3 * 4), (_ABOVE, (0.3,), 8_100), (_ABOVE, (0.3, 0.7), 6_200)],
)
async def test_a_salvage_reads_around_each_damaged_page(
    deep: Path, tmp_path: Path, kind: int, shares: tuple[float, ...], least: int
) -> None:
    path = tmp_path / "journal.db"
    shutil.copy(deep, path)
    content, root = path.read_bytes(), _root(path, "journal_entry")
    pages = [at // _PAGE + 1 for at in range(_PAGE, len(content), _PAGE) if content[at] == kind]
    pages = [page for page in pages if page != root and (page - 2) % _POINTERS_EVERY]
    _spoil(path, [pages[int(len(pages) * share)] for share in shares])
    journal = Journal(path)
    opening = await journal.start()
    await journal.stop()
    assert opening.salvage is not None
    assert least <= opening.salvage.rows["journal_entry"] < 10_000


@pytest.mark.parametrize("lost", ["a table", "the file", "its content"])
async def test_positions_are_not_used_again_where_the_next_one_is_lost(tmp_path: Path, lost: str, caplog: Any) -> None:
    path = tmp_path / "journal.db"
    last = 0
    for _ in range(3):
        journal = Journal(path)
        await journal.start()
        last = (await journal.append([_entry(1)])).stop - 1
        await journal.sweep(10**18)
        await journal.stop()
        path.with_name("journal.db.lock").write_text("4711")
    if lost == "a table":
        _spoil(path, [_root(path, "journal_log")])
    elif lost == "the file":
        path.unlink()
    else:
        path.write_bytes(b"")
    journal = Journal(path)
    assert not (await journal.start()).is_whole
    assert "was damaged" in caplog.text
    (position,) = await journal.append([_entry(1)])
    assert position > last
    await journal.stop()


@pytest.mark.parametrize("policy", WhenFull)
@pytest.mark.parametrize("column", ["time_ns", "data"])
async def test_a_column_that_damage_made_null_goes_like_any_other(
    tmp_path: Path, column: str, policy: WhenFull
) -> None:
    journal = Journal(tmp_path / "journal.db", Retention(10_000, policy))
    await journal.start()
    await journal.append([Entry(1, b"", bytes(900))] * 5)
    await journal.stop()
    with closing(sqlite3.connect(journal.path)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'journal_entry'")
        connection.commit()
    with closing(sqlite3.connect(journal.path)) as connection:
        connection.execute(f"UPDATE journal_entry SET {column} = NULL WHERE position = 3")
        connection.commit()
        journal_retention.append(connection, [[Entry(1, b"", bytes(900))] * 8], Retention(10_000, policy))
        assert journal_retention.sweep(connection, 10**18, Retention(10_000, policy)).done


@pytest.mark.parametrize("moved", [(), ("-wal",), ("-wal", "")])
async def test_a_salvage_that_was_killed_is_finished(tmp_path: Path, moved: tuple[str, ...]) -> None:
    path = tmp_path / "journal.db"
    await _make(path)
    os.replace(path, tmp_path / "journal.db.salvaged")
    path.write_bytes(b"damaged")
    Path(f"{path}-wal").write_bytes(b"its log")
    for suffix in moved:
        os.replace(f"{path}{suffix}", f"{path}.damaged-1{suffix}")
    journal = Journal(path)
    await journal.start()
    assert (await journal.state()).log.entries == _COUNT
    await journal.stop()
    assert finish(path) is None
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir() if "damaged" in file.name}
    assert b"damaged" in kept.values()
    assert b"its log" in kept.values()


async def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await _make(path)
    for _ in range(6):
        path.write_bytes(b"no database" * 1_000)
        journal = Journal(path)
        assert (await journal.start()).salvage is not None
        await journal.stop()
    aside = sorted(file.name for file in tmp_path.iterdir() if "damaged" in file.name)
    assert aside == [f"journal.db.damaged-{number}" for number in (3, 4, 5, 6)]
