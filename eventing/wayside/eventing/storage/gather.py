"""Gathers single changes into one piece of work for the store's writer.

Invariant: every change is applied once, in the order of the calls, in one transaction with those gathered with it, and
a call returns only when that transaction is on disk.

A statement costs the writer's thread more in waiting for the interpreter's lock than in SQLite; a few statements for a
hundred events are what lets a busy event loop and the writer live side by side.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from wayside.eventing.storage.database import Database

C = TypeVar("C")
R = TypeVar("R")
GATHER_LIMIT = 256


@dataclass(slots=True)
class _Batch(Generic[C, R]):
    """Changes from one loop, each with the future that its caller awaits."""

    loop: asyncio.AbstractEventLoop
    changes: list[C] = field(default_factory=list)
    callers: list[asyncio.Future[R]] = field(default_factory=list)

    def succeed(self, results: Sequence[R | Exception]) -> None:
        for caller, result in zip(self.callers, results, strict=True):
            if caller.done():
                continue
            if isinstance(result, Exception):
                caller.set_exception(result)
            else:
                caller.set_result(result)

    def fail(self, exc: BaseException) -> None:
        for caller in self.callers:
            if not caller.done():
                caller.set_exception(exc)


class Gatherer(Generic[C, R]):
    """`apply` takes the changes of one batch and returns for each a result, or an exception that its caller is to see.

    Where `apply` itself raises, the whole batch is undone and fails. `committed` is told of each batch that is on disk,
    in the order of the commits and in its loop, before its callers are.
    """

    def __init__(
        self,
        database: Database,
        apply: Callable[[sqlite3.Connection, list[C]], Sequence[R | Exception]],
        committed: Callable[[Sequence[C], Sequence[R | Exception]], None] | None = None,
    ) -> None:
        self._database = database
        self._apply = apply
        self._committed = committed
        self._lock = threading.Lock()
        self._open: _Batch[C, R] | None = None

    async def write(self, change: C) -> R:
        """Apply one change. It joins the batch that waits for the writer, or opens the next one."""
        loop = asyncio.get_running_loop()
        caller: asyncio.Future[R] = loop.create_future()
        with self._lock:
            batch = self._open
            if batch is None or batch.loop is not loop or len(batch.changes) >= GATHER_LIMIT:
                batch = self._open = self._ask(_Batch(loop))  # the writer cannot run it before the lock is free
            batch.changes.append(change)
            batch.callers.append(caller)
        return await caller

    def _ask(self, batch: _Batch[C, R]) -> _Batch[C, R]:
        """Asked for at once, not by a task: what a stop follows is written, and a loop that ends strands nobody."""
        asked = self._database.ask(lambda connection: self._run(connection, batch))
        asked.add_done_callback(lambda done: self._settle(batch, done))
        return batch

    def _settle(self, batch: _Batch[C, R], done: asyncio.Future[Sequence[R | Exception]]) -> None:
        exc = done.exception()
        if exc is None:
            if self._committed is not None:
                self._committed(batch.changes, done.result())
            batch.succeed(done.result())
        else:
            self._close(batch)  # it may have failed before it was run
            batch.fail(exc)

    def _run(self, connection: sqlite3.Connection, batch: _Batch[C, R]) -> Sequence[R | Exception]:
        self._close(batch)
        return self._apply(connection, batch.changes)

    def _close(self, batch: _Batch[C, R]) -> None:
        with self._lock:
            if self._open is batch:
                self._open = None
