"""The log of an embedded broker, read from its folder, whether it runs or not.

Invariant: nothing is changed and no broker waits; events come in the order in which the broker took them.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from wayside.eventing.broker.events.scan import Range, scan
from wayside.eventing.broker.kept import unpack
from wayside.eventing.broker.service import STORE_FILE
from wayside.eventing.event_files import Refusal
from wayside.eventing.storage.journal_errors import translate
from wayside.eventing.storage.onlooker import Onlooker
from wayside.local.replay.stored import Stored

_PAGE_ROWS = 1000


def is_broker_folder(folder: Path) -> bool:
    return (folder / STORE_FILE).is_file()


def read_broker_log(folder: Path) -> Iterator[Stored]:
    """Every event that is still kept. Raises `ConfigurationError` where the file cannot be read."""
    path = folder / STORE_FILE
    try:
        yield from _read(Onlooker(path))
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc


def _read(store: Onlooker) -> Iterator[Stored]:
    after, done = None, False
    try:
        while not done:
            within = Range(after=after, limit_rows=_PAGE_ROWS)
            page = store.look(lambda connection, within=within: scan(connection, within, "1", {}))  # type: ignore[misc]
            after, done = page.last, page.done
            for kept in map(unpack, page.entries):
                yield Stored(f"position {kept.position}", kept.event, kept.received_ns)
            for position in page.damaged:
                yield Stored(f"position {position}", Refusal(0, "it is damaged on disk"))
    finally:
        store.close()
