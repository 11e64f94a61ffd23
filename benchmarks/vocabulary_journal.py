"""The journal: entries of 1 kB in and out of it, beside plain SQLite and a bare file with fdatasync in the same run."""

import asyncio
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.storage.database import open_connection
from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import Start

COLUMNS = ("journal, entries of 1 kB", "entries/s", "fsyncs/s", "entries a fsync", "CPU", "memory grew by")
HEAD, DATA = os.urandom(100), os.urandom(900)
SECONDS = 3.0
WRITERS = 64
BACKLOG = 1_000_000


@dataclass(slots=True)
class Meter:
    """Measures a part of a run: time, CPU time of this process, and how its resident memory grew."""

    entries: int = 0
    syncs: int = 0
    began_s: float = 0.0
    cpu_s: float = 0.0
    resident_mib: float = 0.0

    def start(self) -> "Meter":
        self.entries = self.syncs = 0
        self.began_s, self.cpu_s, self.resident_mib = time.perf_counter(), time.process_time(), resident_mib()
        return self

    def is_running(self) -> bool:
        return time.perf_counter() - self.began_s < SECONDS

    def row(self, name: str) -> tuple[str, ...]:
        """To be called at the end of what is measured."""
        elapsed_s = time.perf_counter() - self.began_s
        share = (time.process_time() - self.cpu_s) / elapsed_s
        grown = max(0.0, resident_mib() - self.resident_mib)
        syncs = (f"{self.syncs / elapsed_s:,.0f}", f"{self.entries / self.syncs:,.1f}") if self.syncs else ("", "")
        return (name, f"{self.entries / elapsed_s:,.0f}", *syncs, f"{share:.0%}", f"{grown:.0f} MiB")


def resident_mib() -> float:
    """Of this process now; where there is no /proc, the most that it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


async def _count_syncs(journal: Journal, meter: Meter) -> None:
    """A commit of the writer is one fsync of the log; those of a checkpoint are not counted."""

    def note(sql: str) -> None:
        meter.syncs += sql == "COMMIT"

    await journal.write(lambda connection: connection.set_trace_callback(note))


async def _append(journal: Journal, meter: Meter, batch: int) -> None:
    entries = [Entry(time.time_ns(), HEAD, DATA)] * batch
    while meter.is_running():
        await journal.append(entries)
        meter.entries += batch


async def _appends(journal: Journal, meter: Meter) -> list[tuple[str, ...]]:
    rows = []
    for batch in (1, 16):
        meter.start()
        await asyncio.gather(*(_append(journal, meter, batch) for _ in range(WRITERS)))
        rows.append(meter.row(f"append, {WRITERS} writers, {batch} an append"))
    return rows


async def _read_all(journal: Journal, meter: Meter, deal: Callable[[list[int]], Awaitable[None]]) -> None:
    after = None
    while True:
        page = await journal.read("reader", after)
        if not page.entries:
            return
        await deal([entry.position for entry in page.entries])
        meter.entries += len(page.entries)
        after = page.last


async def _out(journal: Journal, meter: Meter) -> list[tuple[str, ...]]:
    """Everything out of a backlog of a million: read, acknowledged a page at a time and one by one, forgotten."""

    async def nothing(_: list[int]) -> None: ...

    async def acknowledge(positions: list[int]) -> None:
        await journal.acknowledge("reader", positions)

    await _fill(journal)
    await journal.open_cursor("reader", Start.BEGINNING)
    await _read_all(journal, meter.start(), nothing)
    rows = [meter.row(f"read a backlog of {meter.entries:,}")]
    meter.start()
    await asyncio.gather(*(_acknowledge_singly(journal, meter, first) for first in range(1, WRITERS + 1)))
    rows.append(meter.row(f"acknowledge, {WRITERS} in flight, one a call"))
    await _read_all(journal, meter.start(), acknowledge)
    rows.append(meter.row("read and acknowledge, a page a call"))
    meter.start()
    meter.entries = (await journal.sweep(time.time_ns())).entries
    rows.append(meter.row("forget what is acknowledged, give the disk its room back"))
    return rows


async def _fill(journal: Journal) -> None:
    entries = [Entry(time.time_ns(), HEAD, DATA)] * 500
    while (await journal.state()).log.entries < BACKLOG:
        await asyncio.gather(*(journal.append(entries) for _ in range(20)))


async def _acknowledge_singly(journal: Journal, meter: Meter, position: int) -> None:
    while meter.is_running():
        await journal.acknowledge("reader", [position])
        meter.entries += 1
        position += WRITERS


async def _journal(path: Path) -> list[tuple[str, ...]]:
    journal, meter = Journal(path), Meter()
    await journal.start()
    await journal.open_cursor("reader", Start.NOW)
    await _count_syncs(journal, meter)
    rows = await _appends(journal, meter)
    await journal.drop_cursor("reader")
    rows += await _out(journal, meter)
    await journal.stop()
    return rows


def _plain_sqlite(path: Path) -> tuple[str, ...]:
    with closing(open_connection(path)) as connection:
        connection.execute("CREATE TABLE entry (position INTEGER PRIMARY KEY, time_ns INTEGER, head BLOB, data BLOB)")
        meter = Meter().start()
        while meter.is_running():
            connection.execute("BEGIN")
            connection.execute("INSERT INTO entry (time_ns, head, data) VALUES (?, ?, ?)", (0, HEAD, DATA))
            connection.execute("COMMIT")
            meter.entries += 1
            meter.syncs += 1
        return meter.row("plain sqlite3, a transaction an entry")


def _bare_file(path: Path, group: int) -> tuple[str, ...]:
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        meter = Meter().start()
        while meter.is_running():
            os.write(file, (HEAD + DATA) * group)
            os.fdatasync(file)
            meter.entries += group
            meter.syncs += 1
        return meter.row(f"a bare file, fdatasync every {group}")
    finally:
        os.close(file)


def rows() -> list[tuple[str, ...]]:
    """What was done, entries/s, fsyncs/s, entries a fsync, share of one core, growth of resident memory."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # not /tmp, which may be memory
        return [
            *asyncio.run(_journal(Path(folder) / "journal.db")),
            _plain_sqlite(Path(folder) / "plain.db"),
            *(_bare_file(Path(folder) / f"bare-{group}", group) for group in (1, WRITERS)),
        ]
