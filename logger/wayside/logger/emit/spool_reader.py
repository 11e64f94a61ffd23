"""What waits in the spool, handed out to be sent and acknowledged once it is settled.

Invariant: a position is in one hand at a time, and stays in the journal until it was settled; one that was given back
is handed out again, before what is behind it; one that was passed over, once all that is behind it was handed out.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told
from wayside.eventing.storage import journal_cursors
from wayside.eventing.storage.entry import KeptEntry
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import CursorState, Start
from wayside.logger.emit import spool_entry

log = logging.getLogger("wayside.logger.emit.spool")
CURSOR = "log-url"
_PAGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event that waits in the journal, and where."""

    position: int
    event: CloudEvent


class SpoolReader:
    """One cursor of a journal, for one event loop; at most `limit` events are in hand at once.

    `settled` counts what was dealt with, unreadable entries too, and `late` those of them that the journal had dropped
    for want of room while they were in hand.
    """

    def __init__(self, journal: Journal, limit: int, on_unreadable: Callable[[], None]) -> None:
        self._journal = journal
        self._on_unreadable = on_unreadable
        self._limit = limit
        self._cursor = 0
        self._after: int | None = None
        self._rewinds = 0
        self._passed_over = False
        self._in_hand: set[int] = set()
        self._to_acknowledge: set[int] = set()
        self._more = asyncio.Event()
        self._has_settled = asyncio.Event()
        self._all_acknowledged = asyncio.Event()
        self._all_acknowledged.set()
        self.settled = self.late = self.unreadable = 0

    @property
    def in_hand(self) -> int:
        """Events that are handed out, or not yet acknowledged on disk."""
        return len(self._in_hand)

    @property
    def unacknowledged(self) -> int:
        """Events that are settled, and wait in the journal for all it knows."""
        return len(self._to_acknowledge)

    async def open(self) -> CursorState:
        """Find or make the cursor; to be called each time the journal was started."""
        state = await self._journal.open_cursor(CURSOR, Start.BEGINNING)
        self._cursor = state.cursor
        self.rewind()
        return state

    def note_more(self) -> None:
        """There is more to read."""
        self._more.set()

    async def wait_page(self, limit: int | None = None) -> list[Spooled]:
        """The next events, oldest first, at least one and at most `limit`; waits for them and for free hands.

        Raises `JournalError` where the disk fails. Each event is to be settled or given back.
        """
        while True:
            self._more.clear()
            room = min(self._limit - len(self._in_hand), limit or self._limit)
            page = await self._read(room) if room > 0 else []
            if page:
                return page
            if room > 0 and self._passed_over:
                self.rewind()
                continue
            await self._more.wait()

    async def _read(self, room: int) -> list[Spooled]:
        """As `wait_page`, without waiting: nothing where nothing is left."""
        while True:
            rewinds, held = self._rewinds, frozenset(self._in_hand)
            page = await self._journal.read(CURSOR, self._after, room, _PAGE_BYTES)
            if rewinds == self._rewinds:  # else it is read again, from the front
                self._after = page.last
            # as of before the page was read: what was acknowledged since is in it all the same
            taken = [self._take(entry) for entry in page.entries if entry.position not in held]
            events = [spooled for spooled in taken if spooled is not None]
            if events or not (page.entries or page.damaged):
                return events

    def _take(self, entry: KeptEntry) -> Spooled | None:
        self._in_hand.add(entry.position)
        try:
            return Spooled(entry.position, spool_entry.decode(entry))
        except MalformedEvent as exc:
            self.settle(entry.position)
            self.unreadable += 1
            self._on_unreadable()
            if is_told(self.unreadable):
                log.error("%d entries were skipped, the last because %s", self.unreadable, exc)
            return None

    def give_back(self, position: int) -> None:
        """The event was not sent and is in nobody's hand any more."""
        self._in_hand.discard(position)
        self.rewind()

    def pass_over(self, position: int) -> None:
        """The event was not sent and is in nobody's hand any more; what is behind it is handed out first."""
        self._in_hand.discard(position)
        self._passed_over = True
        self._more.set()

    def rewind(self) -> None:
        """Hand out the oldest next."""
        self._passed_over = False
        self._after = None
        self._rewinds += 1
        self._more.set()

    def settle(self, position: int) -> None:
        """The event was sent, or never will be: it is acknowledged soon."""
        self.settled += 1
        self._to_acknowledge.add(position)
        self._has_settled.set()
        self._all_acknowledged.clear()

    async def acknowledge(self) -> None:
        """Wait for settled events and acknowledge all that there are. Raises `JournalError`, forgetting none."""
        await self._has_settled.wait()
        positions = sorted(self._to_acknowledge)
        new = await self._journal.write(
            lambda connection: journal_cursors.acknowledge(connection, self._cursor, positions)
        )
        self.late += len(positions) - new
        self._to_acknowledge.difference_update(positions)
        self._in_hand.difference_update(positions)
        if not self._to_acknowledge:
            self._has_settled.clear()
            self._all_acknowledged.set()
        self._more.set()

    async def wait_acknowledged(self) -> None:
        """Wait until all that was settled is acknowledged on disk."""
        await self._all_acknowledged.wait()
