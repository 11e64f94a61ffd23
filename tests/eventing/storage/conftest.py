"""What the tests of the journal share: starting it, and the process that appends to it."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import Start

sys.path.insert(0, str(Path(__file__).parent))  # for what tests share that is no fixture
WRITER = Path(__file__).with_name("journal_writer.py")
Running = Callable[[Journal], AbstractAsyncContextManager[Journal]]


@asynccontextmanager
async def _running(journal: Journal) -> AsyncIterator[Journal]:
    await journal.start()
    try:
        yield journal
    finally:
        await journal.stop()


@pytest.fixture
def running() -> Running:
    """`async with running(Journal(path)) as journal`: started, and stopped."""
    return _running


@pytest.fixture
def writer_command() -> Callable[..., list[str]]:
    """The command line of a process that appends: `writer_command(path, writers, size, limit, pages)`."""
    return lambda *arguments: [sys.executable, str(WRITER), *(str(argument) for argument in arguments)]


@pytest.fixture
def read_all() -> Callable[..., object]:
    """Every entry that a cursor is to be given, page by page; a new cursor begins at the beginning."""

    async def read(journal: Journal, cursor: str = "reader") -> list[KeptEntry]:
        await journal.open_cursor(cursor, Start.BEGINNING)
        entries: list[KeptEntry] = []
        after = -1
        while True:
            page = await journal.read(cursor, after, limit_rows=100)
            if not page.entries and not page.damaged:
                return entries
            entries += page.entries
            after = page.last

    return read
