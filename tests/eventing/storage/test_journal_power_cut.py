"""Power cuts at random places, simulated from the system calls of a process: what was acknowledged is there."""

import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from power_cut import Disk
from system_calls import strings_of, trace

from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal import Journal

_CUTS = 60
_ENTRIES = 300
_SIZE = 300
_CHECKPOINT_PAGES = 30
_START = (
    "import asyncio, sys, pathlib\nfrom wayside.eventing.storage.journal import Journal\n"
    "asyncio.run(Journal(pathlib.Path(sys.argv[1])).start())"
)


def _cuts(
    command: list[str], folder: Path, files: Mapping[str, bytes], scratch: Path
) -> Iterator[tuple[list[str], Path]]:
    """For each cut while the command runs: what it had said, and a journal's file as it is when power is back."""
    disk, source = Disk(folder, files), random.Random(11)
    calls = trace(command, scratch)
    first = next(number for number, call in enumerate(calls) if str(folder).encode() in b"".join(strings_of(call)))
    at = set(source.sample(range(first, len(calls)), min(_CUTS, len(calls) - first)))
    said: list[str] = []
    for number, call in enumerate(calls):
        if call.startswith("write(1<"):
            said.append(strings_of(call)[1].decode().strip())
        disk.follow(call)
        if number in at:
            after = scratch / f"cut-{number}"
            after.mkdir()
            for name, content in disk.after_a_cut(source).items():
                (after / name).write_bytes(content)
            yield list(said), after / "journal.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


async def test_a_power_cut_loses_nothing_that_was_acknowledged(
    tmp_path: Path, folder: Path, running: Any, read_all: Any, writer_command: Callable[..., list[str]]
) -> None:
    command = writer_command(folder / "journal.db", 8, _SIZE, _ENTRIES, _CHECKPOINT_PAGES)
    most = 0
    for said, path in _cuts(command, folder, {}, tmp_path):
        appended = dict(line[1:].split(" ") for line in said if line.startswith("+"))
        acknowledged = {int(line[1:]) for line in said if line.startswith("-")}
        async with running(Journal(path)) as journal:
            given = {entry.position for entry in await read_all(journal, "reader")}
            kept = {str(entry.position): entry for entry in await read_all(journal, "whole")}
            (position,) = await journal.append([Entry(0, b"", b"")])
        assert all(entry.data == entry.head.ljust(_SIZE, b".") for entry in kept.values())
        assert {at: kept[at].head.decode() for at in appended if at in kept} == appended
        assert given.isdisjoint(acknowledged)
        assert position > max(map(int, appended), default=0)
        most = max(most, len(appended))
    assert most > _ENTRIES // 2


async def test_a_power_cut_while_a_damaged_file_is_salvaged(tmp_path: Path, folder: Path, running: Any) -> None:
    path = folder / "journal.db"
    async with running(Journal(path)) as journal:
        await journal.append([Entry(number, b"", b"x" * 100) for number in range(200)])
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal_cursor'").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4_096)
        file.write(b"\xa5" * 4_096)
    path.with_name("journal.db.lock").write_text("4711")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    for _, left in _cuts([sys.executable, "-c", _START, str(path)], folder, files, tmp_path):
        async with running(Journal(left)) as journal:
            assert (await journal.state()).log.entries == 200
