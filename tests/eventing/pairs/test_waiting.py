"""The join over SQLite in the hands of a process that is killed: each subject joined once, and every part counted."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from waiting_load import SUBJECTS, load, write_all

from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.join import Fate, JoinSettings, Part
from wayside.eventing.pairs.subject import Role, Subject
from wayside.eventing.storage.database import Database

# Takes shuffled parts from where it is told to; says how many are on disk, and is killed meanwhile.
WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from waiting_load import load, write_all
asyncio.run(write_all(Path(sys.argv[2]), load(), int(sys.argv[3]), lambda done: print(done, flush=True)))
"""


async def test_a_kill_changes_nothing(tmp_path: Path) -> None:
    parts, done, kills = load(), 0, 0
    while done < len(parts):
        at = random.Random(kills).randint(100, 900)
        reached = _run_until(tmp_path / "pairs.sqlite", done, done + at)
        again = 0 if reached == len(parts) else random.Random(kills).randint(0, 50)
        done = max(done, reached - again)  # some of it comes again, acknowledged or not
        kills += 1
    assert kills > 2
    await write_all(tmp_path / "pairs.sqlite", parts, len(parts) - 200, lambda _: None)
    with closing(sqlite3.connect(tmp_path / "pairs.sqlite")) as connection:
        wholes = connection.execute("SELECT id, payloads FROM whole ORDER BY id").fetchall()
        standing = waiting.standing(connection)
        left = connection.execute("SELECT count(*) FROM pair_payload").fetchone()[0]
    answered = {part.subject.id for part in parts if part.role is Role.RESPONSE}
    assert wholes == sorted((name, f"request-{name} response-{name}") for name in answered)
    counts = standing.counts
    assert counts[Role.REQUEST, Fate.JOINED] == counts[Role.RESPONSE, Fate.JOINED] == len(answered)
    assert counts[Role.REQUEST, Fate.WAITING] == left == SUBJECTS - len(answered)
    assert standing.held == SUBJECTS + len(answered)


def _run_until(path: Path, first: int, kill_at: int) -> int:
    folder = str(Path(__file__).parent)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, str(path), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    reached = first
    for line in writer.stdout:
        reached = int(line)
        if reached >= kill_at:
            os.kill(writer.pid, signal.SIGKILL)
    assert writer.wait() in (0, -signal.SIGKILL)
    writer.stdout.close()
    return reached


async def test_what_the_caller_makes_of_a_whole_is_undone_with_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "pairs.sqlite", waiting.SCHEMA)
    await database.start()
    request, response = (
        Part(Subject("s", "1"), role, 1_000_000_000, b"x", role.encode()) for role in (Role.REQUEST, Role.RESPONSE)
    )

    def refuse(connection: sqlite3.Connection) -> None:
        assert waiting.take(connection, response, JoinSettings()).payloads == (b"request", b"response")
        raise ValueError("they do not fit")

    await database.write(lambda connection: waiting.take(connection, request, JoinSettings()))
    with pytest.raises(ValueError, match="do not fit"):
        await database.write(refuse)
    standing = await database.read(waiting.standing)
    assert dict(standing.counts) == {(Role.REQUEST, Fate.WAITING): 1}
    assert standing.by_role() == {"request": {"waiting": 1}}
    again = await asyncio.gather(
        *(database.write(lambda connection: waiting.take(connection, response, JoinSettings())) for _ in range(2))
    )
    assert [taken.fate for taken in again] == [Fate.JOINED, Fate.DUPLICATE]
    await database.stop()


def test_parts_that_come_at_once_are_searched_for_by_their_keys() -> None:
    """However many they are, and however much is held: a scan of the table for each batch would be quadratic."""
    parts = {
        role: [Part(Subject("logger", str(name)), role, 1, b"") for name in range(250)]
        for role in (Role.REQUEST, Role.RESPONSE)
    }
    asked: list[str] = []
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(waiting.SCHEMA)
        waiting.take_all(connection, parts[Role.REQUEST], JoinSettings())
        connection.set_trace_callback(asked.append)
        taken = waiting.take_all(connection, parts[Role.RESPONSE], JoinSettings())
        connection.set_trace_callback(None)
        searches = [sql for sql in asked if "FROM asked" in sql]
        plans = [row[3] for sql in searches for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert {each.fate for each in taken} == {Fate.JOINED}
    assert len(searches) == 3
    assert not [step for step in plans if "SCAN pair_subject" in step]
    assert [step for step in plans if step.startswith("SEARCH pair_subject USING")]
    assert not [sql for sql in asked if "pair_payload" in sql], "nothing waits there without a payload"
