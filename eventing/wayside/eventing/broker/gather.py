"""Gathers single changes into one piece of work for the store's writer.

Invariant: every change is applied once, in the order of the calls, in one transaction with those gathered with it, and
a call returns only when that transaction is on disk.

A statement costs the writer's thread more in waiting for the interpreter's lock than in SQLite; a few statements for a
hundred events are what lets a busy event loop and the writer live side by side.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from wayside.eventing.storage.database import Database

C = TypeVar("C")
R = TypeVar("R")
GATHER_LIMIT = 256


@dataclass(slots=True)
class _Batch(Generic[C]):
    changes: list[C] = field(default_factory=list)


class Gatherer(Generic[C, R]):
    """`apply` takes the changes of one batch and returns a result for each; where it raises, all of them fail."""

    def __init__(self, database: Database, apply: Callable[[sqlite3.Connection, list[C]], list[R]]) -> None:
        self._database = database
        self._apply = apply
        self._lock = threading.Lock()
        self._open: _Batch[C] | None = None
        self._written: asyncio.Future[list[R]] | None = None

    async def write(self, change: C) -> R:
        """Apply one change. It joins the batch that waits for the writer, or opens the next one."""
        with self._lock:
            batch = self._open
            if batch is None or len(batch.changes) >= GATHER_LIMIT:
                batch = self._open = _Batch()
            place = len(batch.changes)
            batch.changes.append(change)
        if place == 0:
            self._written = asyncio.ensure_future(self._database.write(lambda connection: self._run(connection, batch)))
        assert self._written is not None
        results = await asyncio.shield(self._written)
        return results[place]

    def _run(self, connection: sqlite3.Connection, batch: _Batch[C]) -> list[R]:
        with self._lock:
            if self._open is batch:
                self._open = None
        return self._apply(connection, batch.changes)
