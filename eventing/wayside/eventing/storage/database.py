"""SQLite with one writer thread and group commit: many callers, one transaction, one fsync.

Invariant: `await write(work)` returns only after the transaction that holds `work` is on disk. A `work` that raises
undoes itself alone (a savepoint), and the others in its group still commit. Works run in the order of their calls.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wayside.eventing.errors import ConfigurationError, WaysideError

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]
GROUP_LIMIT = 512
WAL_LIMIT_BYTES = 16 << 20  # what a WAL that one large transaction or one slow reader let grow is cut back to


@dataclass(frozen=True, slots=True)
class _Job:
    """`alone`: outside any transaction, after the group that it was drawn with."""

    work: Work[Any]
    done: "asyncio.Future[Any]"
    alone: bool = False


class Database:
    """One SQLite file in WAL mode with `synchronous=FULL`. `start` creates the schema; `stop` finishes what was asked.

    What waits for the writer is not bounded here: each caller waits for its own, so callers bound it, by how many they
    are and how much each brings. A process that was forked from one that has a store open must not use it.

    `schema` is SQL that may be run again; `reclaims` as in `open_connection`. `read` runs on a connection and a thread
    of its own, beside the writer, and sees one moment of the store; that thread starts with the first read. Nothing
    here waits for the loop's own threads, which others may fill. What a work returns must not lean on the connection:
    fetch inside the work. `write` and `read` raise what their work raised, `sqlite3.Error` where the disk fails, and
    `WaysideError` where the store is not open.
    """

    def __init__(self, path: Path, schema: str, reclaims: bool = False) -> None:
        self.path = path
        self._schema = schema
        self._reclaims = reclaims
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_open = False
        self._thread: threading.Thread | None = None  # until it has ended, which is later than `_is_open`
        self._reader: sqlite3.Connection | None = None
        self._reading: ThreadPoolExecutor | None = None  # one thread, which alone uses `_reader`; as long as `_thread`

    async def start(self) -> None:
        """Open the file. Raises `ConfigurationError` where it cannot be opened or is no database of this schema."""
        if self._thread is not None:
            raise WaysideError(f"the store {self.path} is open already")
        with contextlib.ExitStack() as opened:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                writer = opened.enter_context(contextlib.closing(open_connection(self.path, self._reclaims)))
                writer.executescript(self._schema)
                self._reader = opened.enter_context(contextlib.closing(open_connection(self.path)))
                self._reader.execute("PRAGMA query_only=ON")
            except (sqlite3.Error, OSError) as exc:
                raise ConfigurationError(f"cannot open the store {self.path}: {exc}") from exc
            opened.pop_all()
        # A daemon: a process that fails must be able to end, and what is not committed was not acknowledged.
        name = f"db-{self.path.stem}"
        self._reading = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-reader")
        self._thread = threading.Thread(target=self._write_groups, args=(writer,), name=name, daemon=True)
        self._thread.start()
        self._is_open = True

    async def stop(self) -> None:
        """Commit what was asked before this call, then close. May be called twice, and again where it was cancelled."""
        if self._is_open:
            self._is_open = False
            self._jobs.put(None)
        thread, reading = self._thread, self._reading
        if thread is not None and reading is not None:
            await asyncio.get_running_loop().run_in_executor(reading, self._finish, thread)
            reading.shutdown()  # does not wait: its thread has nothing left to do
            self._thread = self._reading = None

    def _finish(self, thread: threading.Thread) -> None:
        thread.join()
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def _not_open(self) -> WaysideError:
        return WaysideError(f"the store {self.path} is not open")

    async def write(self, work: Work[R]) -> R:
        """Run `work(connection)` in the next group's transaction and return its result once that is on disk."""
        return await self.ask(work)

    async def run_alone(self, work: Work[R]) -> R:
        """Run a work that begins its transactions itself, between two groups: what `write` cannot hold, as a vacuum."""
        return await self.ask(work, alone=True)

    def ask(self, work: Work[R], alone: bool = False) -> "asyncio.Future[R]":
        """As `write` and `run_alone`, asked when this returns: a `stop` that is called next still does it."""
        if not self._is_open:
            raise self._not_open()
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, done, alone))
        return done

    async def read(self, work: Work[R]) -> R:
        """Run a read-only `work(connection)` on the reading connection, in a transaction of its own.

        Reads run one at a time, in the order of their calls; one that nobody waits for any longer is not begun.
        """
        if self._reading is None:
            raise self._not_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, work)

    def _read(self, work: Work[R]) -> R:
        if self._reader is None:
            raise self._not_open()
        self._reader.execute("BEGIN")
        try:
            return work(self._reader)
        finally:
            self._reader.execute("ROLLBACK")

    def _write_groups(self, connection: sqlite3.Connection) -> None:
        running = True
        while running:
            group = self._next_group()
            running = group[-1] is not None
            together = [job for job in group if job is not None and not job.alone]
            if together:
                _settle(together, _commit(connection, together))
            for job in group:
                if job is not None and job.alone:
                    _settle([job], [_run_alone(connection, job.work)])
        connection.close()

    def _next_group(self) -> "list[_Job | None]":
        group = [self._jobs.get()]
        while group[-1] is not None and len(group) < GROUP_LIMIT:
            try:
                group.append(self._jobs.get_nowait())
            except queue.Empty:
                break
        return group


def open_connection(path: Path, reclaims: bool = False) -> sqlite3.Connection:
    """A connection with Wayside's settings: WAL, full synchronisation, transactions begun by hand.

    `reclaims`: where this call makes the file, free pages can be given back to the disk (`PRAGMA incremental_vacuum`).
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        if reclaims:  # before WAL mode writes the first page, which holds this setting
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
    """Each job's result or exception; all are the same exception where the group itself cannot be committed."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [_attempt(connection, job.work) for job in jobs]
        connection.execute("COMMIT")
    except Exception as exc:  # the edge of the writer's thread, which outlives whatever a group does
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return [exc] * len(jobs)
    return outcomes


def _run_alone(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    try:
        return work(connection)
    except Exception as exc:  # handed to the caller, whose work it was
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return exc


def _attempt(connection: sqlite3.Connection, work: Work[Any]) -> Any:
    connection.execute("SAVEPOINT work")
    try:
        outcome = work(connection)
    except Exception as exc:  # handed to the caller, whose work it was
        if not connection.in_transaction:  # SQLite undid the whole group: no room, or the disk failed
            raise
        connection.execute("ROLLBACK TO work")
        outcome = exc
    connection.execute("RELEASE work")
    return outcome


def _settle(jobs: list[_Job], outcomes: list[Any]) -> None:
    """Hand each outcome over in its caller's loop; a loop that was closed meanwhile keeps nothing from the others."""
    settled = list(zip(jobs, outcomes, strict=True))
    for loop in {job.done.get_loop() for job in jobs}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_deliver, [pair for pair in settled if pair[0].done.get_loop() is loop])


def _deliver(settled: list[tuple[_Job, Any]]) -> None:
    for job, outcome in settled:
        if job.done.done():
            continue
        if isinstance(outcome, Exception):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)
