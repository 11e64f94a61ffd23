"""A load for a join that is killed: requests and most of their responses, shuffled, written by many at once."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.join import JoinSettings, Part
from wayside.eventing.pairs.subject import Role, Subject
from wayside.eventing.storage.database import Database

SUBJECTS = 1500
_AT_ONCE = 20
_SCHEMA = f"""{waiting.SCHEMA}
CREATE TABLE IF NOT EXISTS whole (source TEXT, id TEXT, payloads TEXT);
"""


def load() -> list[Part]:
    """The same parts in the same order in every process; every tenth request has no response."""
    parts = [
        Part(Subject("/model", name), role, number * 10_000_000, b"", f"{role}-{name}".encode())
        for number in range(SUBJECTS)
        for name in (f"{number:05d}",)
        for role in (Role.REQUEST, Role.RESPONSE)
        if role is Role.REQUEST or number % 10
    ]
    random.Random(7).shuffle(parts)
    return parts


async def write_all(path: Path, parts: Sequence[Part], first: int, tell: Callable[[int], None]) -> None:
    """Write the parts from `first` on, twenty at once; `tell` how many are acknowledged."""
    database = Database(path, _SCHEMA)
    await database.start()
    for start in range(first, len(parts), _AT_ONCE):
        batch = parts[start : start + _AT_ONCE]
        await asyncio.gather(*(database.write(lambda connection, part=part: _take(connection, part)) for part in batch))
        tell(start + len(batch))
    await database.stop()


def _take(connection: sqlite3.Connection, part: Part) -> None:
    taken = waiting.take(connection, part, JoinSettings(timeout_s=600))
    if taken.payloads:
        row = (part.subject.source, part.subject.id, b" ".join(taken.payloads).decode())
        connection.execute("INSERT INTO whole VALUES (?, ?, ?)", row)
