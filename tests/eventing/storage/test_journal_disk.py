"""A disk that is full or read-only: a clear error, nothing acknowledged is lost, and room mends it."""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_errors import JournalUnavailable

_NOBODY = 65_534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk and changing users need root")


def _entry(number: int) -> Entry:
    return Entry(number, b"%d" % number, b"x" * 10_000)


async def _append_until_it_fails(journal: Journal) -> tuple[list[int], JournalUnavailable]:
    positions: list[int] = []
    while True:
        try:
            positions += await journal.append([_entry(len(positions))])
        except JournalUnavailable as exc:
            return positions, exc


async def _limit_pages(journal: Journal, pages: int) -> None:
    await journal.write(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone())


async def test_a_full_file_refuses_with_advice_and_room_mends_it(tmp_path: Path, running: Any, read_all: Any) -> None:
    async with running(Journal(tmp_path / "journal.db")) as journal:
        await _limit_pages(journal, 200)
        positions, error = await _append_until_it_fails(journal)
        assert "make room" in str(error)
        assert "journal.db" in str(error)
        with pytest.raises(JournalUnavailable):
            await journal.append([_entry(0)] * 100)
        await _limit_pages(journal, 100_000)
        positions += await journal.append([_entry(len(positions))])
        assert [entry.position for entry in await read_all(journal)] == positions
    async with running(Journal(tmp_path / "journal.db")) as journal:
        kept = await read_all(journal)
    assert [entry.position for entry in kept] == positions
    assert [entry.time_ns for entry in kept] == list(range(len(positions)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 12 MiB large."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run([str(mount), "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_root
async def test_a_disk_without_room(small_disk: Path, running: Any, read_all: Any) -> None:
    path = small_disk / "journal.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    async with running(Journal(path)) as journal:
        positions, error = await _append_until_it_fails(journal)
        assert positions
        assert "make room" in str(error)
        ballast.unlink()
        positions += await journal.append([_entry(len(positions))])
    async with running(Journal(path)) as journal:
        assert [entry.position for entry in await read_all(journal)] == positions


@needs_root
async def test_a_disk_that_is_full_can_be_emptied_by_acknowledging(small_disk: Path, running: Any) -> None:
    """What waits can be read and acknowledged once there is a little room, for the log of what is forgotten."""
    async with running(Journal(small_disk / "journal.db")) as journal:
        await journal.open_cursor("reader")
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        positions, _ = await _append_until_it_fails(journal)
        assert [entry.position for entry in (await journal.read("reader", limit_rows=10_000)).entries] == positions
        ballast.unlink()
        await journal.acknowledge("reader", positions)
        swept = await journal.sweep(now_ns=10**18)
        assert swept.entries == len(positions)
        assert len(await journal.append([_entry(0)] * 20)) == 20


def test_a_limit_on_the_files_size(tmp_path: Path, writer_command: Callable[..., list[str]], running: Any) -> None:
    """RLIMIT_FSIZE: the write itself fails, as on a disk that breaks, not only as on one that is full."""
    path = tmp_path / "journal.db"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = subprocess.run(
        writer_command(path, 8, 1_000, 100_000), preexec_fn=limit, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    said = {int(line[1:].split()[0]) for line in lines if line.startswith("+")}
    (reason,) = {line for line in lines if line.startswith("!")}
    assert said
    assert "look at its room" in reason

    async def positions() -> set[int]:
        async with running(Journal(path)) as journal:
            assert await journal.append([_entry(0)])
            await journal.open_cursor("whole")
            kept: set[int] = set()
            after = -1
            while (page := await journal.read("whole", after)).entries:
                kept |= {entry.position for entry in page.entries}
                after = page.last
            return kept

    assert said <= asyncio.run(positions())


_OPEN = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.storage.journal import Journal

async def main():
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
    await Journal(Path(sys.argv[1])).start()

try:
    asyncio.run(main())
except ConfigurationError as exc:
    print(exc)
"""


@needs_root
@pytest.mark.parametrize("is_new", [True, False])
def test_a_folder_that_is_read_only(tmp_path: Path, is_new: bool) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    if not is_new:

        async def make() -> None:
            journal = Journal(folder / "journal.db")
            await journal.start()
            await journal.stop()

        asyncio.run(make())
    folder.chmod(0o555)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    command = [sys.executable, "-c", _OPEN, str(folder / "journal.db"), str(_NOBODY)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot lock" in said
    assert "Permission denied" in said
    assert "journal.db" in said


async def test_a_path_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "journal.db", tmp_path):
        with pytest.raises(ConfigurationError, match=r"cannot (lock|open)"):
            await Journal(path).start()
