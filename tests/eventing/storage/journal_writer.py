"""A process that appends to a journal with many writers in flight, and says each acknowledged position on stdout.

Run as `python journal_writer.py FILE WRITERS BYTES [COUNT [PAGES]]`; without a count it goes on until it is killed, and
the log goes into the file when it is so many pages long. Lines are `+POSITION NAME` once an append returned,
`-POSITION` once an acknowledgement did, written in one system call.
"""

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from wayside.eventing.storage.entry import Entry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_errors import JournalError


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def write(journal: Journal, names: "count[int]", limit: int, size: int) -> None:
    """Append one entry after the other; every third is acknowledged."""
    while (number := next(names)) < limit:
        name = b"<%d/%d>" % (os.getpid(), number)
        try:
            (position,) = await journal.append([Entry(number, name, name.ljust(size, b"."))])
            say(f"+{position} {name.decode()}")
            if position % 3 == 0:
                await journal.acknowledge("reader", [position])
                say(f"-{position}")
        except JournalError as exc:
            say(f"!{exc}")
            return


async def main(path: Path, writers: int, size: int, limit: int = 1 << 62, pages: int = 1_000) -> None:
    journal = Journal(path)
    await journal.start()
    await journal.write(lambda connection: connection.execute(f"PRAGMA wal_autocheckpoint={pages}").fetchone())
    await journal.open_cursor("reader")
    say("started")
    names = count()
    await asyncio.gather(*(write(journal, names, limit, size) for _ in range(writers)))
    await journal.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *(int(value) for value in sys.argv[2:])))
