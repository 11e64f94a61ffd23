"""kill -9 at random under load: what was acknowledged is there once, whole and in order; cursors never ran ahead."""

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wayside.eventing.storage.journal import Journal

KILLS = int(os.environ.get("WAYSIDE_TEST_KILLS", "10"))
WRITERS = 64


def _run_until_killed(command: list[str], lines: int) -> list[str]:
    """What the process said before and while it was killed, after so many lines."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    return [line.rstrip("\n") for line in said if line.endswith("\n")]


async def test_kills_at_random_lose_nothing_that_was_acknowledged(
    tmp_path: Path, running: Any, read_all: Any, writer_command: Callable[..., list[str]]
) -> None:
    path = tmp_path / "journal.db"
    random_source = random.Random(7)
    appended: dict[str, int] = {}
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        lines = random_source.randint(1, 800)
        for line in _run_until_killed(writer_command(path, WRITERS, 1_000), lines):
            if line.startswith("+"):
                position, name = line[1:].split(" ")
                assert name not in appended
                appended[name] = int(position)
            elif line.startswith("-"):
                acknowledged.add(int(line[1:]))
        async with running(Journal(path)) as journal:
            kept = await read_all(journal, "whole")
            given = {entry.position for entry in await read_all(journal, "reader")}
            state = await journal.state()
        names = [entry.head.decode() for entry in kept]
        positions = [entry.position for entry in kept]
        assert len(set(names)) == len(names)
        assert positions == sorted(set(positions))
        assert all(entry.data == entry.head.ljust(1_000, b".") for entry in kept)
        at = dict(zip(names, positions, strict=True))
        assert appended.items() <= at.items()
        assert given.isdisjoint(acknowledged)
        # What the reader is not given was asked to be acknowledged: every third position, and nothing else.
        assert {position for position in positions if position % 3} <= given
        assert state.log.entries == len(kept)
        assert {cursor.name: cursor.waiting_entries for cursor in state.cursors} == {
            "reader": len(given),
            "whole": len(kept),
        }
    assert len(appended) > KILLS * 10
