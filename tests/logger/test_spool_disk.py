"""A spool whose disk is full or damaged: told once, counted, mended when the disk is; the logger goes on."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from spool_stage import Switch, an_event, spooling

from wayside.logger.emit.spool import FILE_NAME

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 8 MiB large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = [str(shutil.which("mount")), "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_root
async def test_a_disk_without_room_costs_what_memory_cannot_hold_and_no_more(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sink, ballast = Switch(is_away=True), small_disk / "ballast"
    async with spooling(sink, small_disk, queue_bytes=100_000) as stage:
        ballast.write_bytes(bytes(6_000_000))
        for number in range(600):
            stage.offer(an_event(number, 5000))
            await asyncio.sleep(0)
        await stage.until(lambda: stage.dropped("spool_failed") > 0 and not stage.spool.handed)
        assert caplog.text.count("cannot be spooled") == 1
        assert "make room" in caplog.text
        ballast.unlink()
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting and not stage.emitter.in_memory)
    assert len(sink.ids) == 600 - stage.dropped("spool_failed") > 0


@needs_root
async def test_a_disk_that_is_full_at_the_start_stops_no_logger(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with spooling(Switch(is_away=True), small_disk) as stage:
        stage.offer(an_event(0, 2000))
        await stage.until(lambda: stage.spool.waiting == 1)
    sink, ballast = Switch(), small_disk / "ballast"
    fill(ballast)
    async with spooling(sink, small_disk) as stage:
        stage.offer(an_event(1, 2000))
        await stage.until(lambda: 1 in sink.ids)
        assert "cannot be spooled" in caplog.text
        ballast.unlink()
        await stage.until(lambda: 0 in sink.ids)
    assert sink.ids == {0, 1}


def fill(path: Path) -> None:
    """Take all the room that the disk has."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_file_that_is_damaged_while_it_is_used_is_opened_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path) as stage:
        for number in range(300):
            stage.offer(an_event(number, 2000))
        await stage.until(lambda: stage.spool.waiting == 300)
        overwrite(tmp_path / f"{FILE_NAME}-wal")
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting and stage.dropped("spool_damaged") > 0)
        stage.offer(an_event(1000))
        await stage.until(lambda: 1000 in sink.ids)
    lost = stage.dropped("spool_damaged")
    assert len(sink.ids - {1000}) >= 300 - lost
    assert "cannot be spooled" in caplog.text


def overwrite(path: Path) -> None:
    """Nonsense over the middle of a file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(os.urandom(size // 2))


async def test_entries_whose_checksum_fails_are_counted_and_the_others_are_sent(tmp_path: Path) -> None:
    sink = Switch(is_away=True)
    async with spooling(sink, tmp_path) as stage:
        for number in range(20):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 20)
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as connection:
            connection.execute("UPDATE journal_entry SET data = x'00' WHERE position IN (3, 4, 20)")
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting)
        assert stage.dropped("spool_damaged") == 3
    assert len(sink.ids) == 17
