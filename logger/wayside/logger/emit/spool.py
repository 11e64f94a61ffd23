"""The logger's spool: events that memory has no room for, or that the log url cannot take now, in a journal on disk.

Invariant: `offer` never waits for the disk, and what waits for it is bounded in bytes. Every event that was taken is
appended, or goes back to whoever offered it, with a reason. What was appended is handed out, by this process or the
next, until it is settled, or is counted as lost: `found + appended == settled + lost + waiting`, at every moment.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from wayside.eventing.backoff import Backoff
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import OutageNotice
from wayside.eventing.storage import journal_tables
from wayside.eventing.storage.journal import Journal
from wayside.eventing.storage.journal_cursors import CursorState, find
from wayside.eventing.storage.journal_errors import JournalDamaged, JournalFull, JournalUnavailable
from wayside.eventing.storage.journal_retention import Retention, WhenFull
from wayside.logger.emit import spool_entry
from wayside.logger.emit.spool_reader import CURSOR, SpoolReader
from wayside.logger.settings import SpoolSettings, SpoolWhenFull

log = logging.getLogger("wayside.logger.emit.spool")
FILE_NAME = "logger.journal"
FULL, FAILED, SLOW = "spool_full", "spool_failed", "spool_slow"
DAMAGED, UNREADABLE, SHUTDOWN = "spool_damaged", "spool_unreadable", "shutdown"
REASONS = (FULL, FAILED, SLOW, DAMAGED, UNREADABLE)
HAND_OVER_BYTES = 16 << 20
_BATCH_ROWS = 64  # encoded at one go on the loop that serves clients
_BATCH_BYTES = 4 << 20
PAUSE_S = 1.0  # until a disk that failed is tried again
_LEAST_GRACE_S = 1.0  # for a disk that works it is plenty
_BACKOFF = Backoff(first_s=PAUSE_S, limit_s=5.0)
Sized = tuple[CloudEvent, int]  # an event, and the bytes that it takes in memory
_WHEN_FULL = {SpoolWhenFull.DROP_OLDEST: WhenFull.DROP_OLDEST, SpoolWhenFull.DROP_NEWEST: WhenFull.REFUSE}


class SpoolOwner(Protocol):
    """Who offers events to a spool."""

    def take_back(self, event: CloudEvent, reason: str) -> None:
        """This event was taken, and could not be appended."""

    def note_lost(self, count: int, reason: str) -> None:
        """So many events that were appended will not be sent."""


@dataclass(slots=True)
class SpoolCounts:
    """Events. `found` waited when the process began, `overflowed` went for want of room, `damaged` by the disk."""

    found: int = 0
    appended: int = 0
    sent: int = 0
    overflowed: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class SpoolGauges:
    """As last read from the file: bytes that wait, and when the oldest of it was spooled (ns since the epoch)."""

    waiting_bytes: int = 0
    oldest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Lost:
    """What the file counts that is counted here already, or was before: overflow before this process, damage so far."""

    overflowed: int
    damaged: int


@dataclass(slots=True)
class _HandOver:
    """Events on their way to the disk, those of the batch that is being written included."""

    events: deque[Sized] = field(default_factory=deque)
    count: int = 0
    bytes: int = 0
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    is_empty: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_empty.set()

    def has_room(self, size_bytes: int) -> bool:
        """One event at least, however large it is."""
        return not self.count or self.bytes + size_bytes <= HAND_OVER_BYTES

    def put(self, event: CloudEvent, size_bytes: int) -> None:
        self.events.append((event, size_bytes))
        self.count += 1
        self.bytes += size_bytes
        self.waits.set()
        self.is_empty.clear()

    def take_batch(self) -> list[Sized]:
        batch: list[Sized] = []
        taken_bytes = 0
        while self.events and len(batch) < _BATCH_ROWS and (not batch or taken_bytes < _BATCH_BYTES):
            batch.append(self.events.popleft())
            taken_bytes += batch[-1][1]
        if not self.events:
            self.waits.clear()
        return batch

    def release(self, batch: list[Sized]) -> None:
        """A batch that was taken is on disk, or returned."""
        self.count -= len(batch)
        self.bytes -= sum(size_bytes for _, size_bytes in batch)
        if not self.count:
            self.is_empty.set()


class Spool:
    """One journal file in a folder that no other logger uses, for one event loop.

    `limit_in_hand` bounds the events that are read from it and not settled.
    """

    def __init__(self, settings: SpoolSettings, limit_in_hand: int, clock: Clock | None = None) -> None:
        self.settings = settings
        self.counts = SpoolCounts()
        self.gauges = SpoolGauges()
        self._clock = clock or SystemClock()
        retention = Retention(settings.limit_bytes, _WHEN_FULL[settings.when_full])
        self._journal = Journal(settings.folder / FILE_NAME, retention)
        self.reader = SpoolReader(self._journal, limit_in_hand, lambda: self._note_lost(1, UNREADABLE))
        self._handed = _HandOver()
        self._owner: SpoolOwner | None = None
        self._base = _Lost(0, 0)
        self._blocked_until_s, self._blocked_by = 0.0, ""
        self._is_closed = self._is_stopped = False
        self._swept_at = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._outage = OutageNotice(log, "events cannot be spooled, wait in memory while there is room,")

    @property
    def handed(self) -> int:
        """Events in memory, on their way to the disk."""
        return self._handed.count

    @property
    def waiting(self) -> int:
        """Events on disk that are not settled."""
        counts = self.counts
        return counts.found + counts.appended - self.reader.settled - counts.overflowed - counts.damaged

    @property
    def oldest_age_s(self) -> float:
        """Of what waits; 0 where nothing does."""
        oldest_ns = self.gauges.oldest_ns
        return 0.0 if oldest_ns is None or not self.waiting else max(0.0, (self._clock.time_ns() - oldest_ns) / 1e9)

    async def start(self, owner: SpoolOwner) -> None:
        """Own the file and open it. Raises `ConfigurationError`, which says what to do.

        A disk that is full or fails is no reason not to serve: it is told, and tried again as after any outage.
        """
        self._owner = owner
        self._is_stopped = False
        try:
            await self._journal.start()
            await self._account()
        except JournalUnavailable as exc:
            await self._journal.stop()
            self._is_closed = True
            self._block(FAILED, exc)
        except WaysideError as exc:
            await self._journal.stop()
            advice = "give this logger a folder of its own that it may write, or leave the spool out"
            raise ConfigurationError(f"the spool {self.settings.folder} cannot be used: {exc}; {advice}") from exc
        if self.counts.found:
            log.info("the spool holds %d events from before; they are sent", self.counts.found)
        steps = (self._append_handed, self.reader.acknowledge, self._tend)
        self._tasks = [asyncio.create_task(self._repeat(step)) for step in steps]

    async def stop(self, rest: Sequence[Sized] = (), grace_s: float = 0.0) -> None:
        """Append the rest, with their sizes, and close the file; the owner takes back what could not be kept in time.

        May be called twice, and before `start`.
        """
        for event, size_bytes in rest:
            self._handed.put(event, size_bytes)
        if self._tasks:
            await self._finish(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while batch := self._handed.take_batch():
            self._return(batch, SHUTDOWN)
        self._is_stopped = True
        await self._journal.stop()

    async def _finish(self, grace_s: float) -> None:
        """Wait until all is appended and acknowledged, and count once more."""
        try:
            async with asyncio.timeout(max(grace_s, _LEAST_GRACE_S)):
                await self._handed.is_empty.wait()
                await self.reader.wait_acknowledged()
                await self.tally()
        except (TimeoutError, WaysideError) as exc:
            log.warning("the spool is closed before it was done: %s", str(exc) or "the time was over")

    # into the spool

    def offer(self, event: CloudEvent, size_bytes: int) -> str | None:
        """Take an event to be appended soon, or say why not: FULL, FAILED, SLOW where the disk does not keep up, or
        SHUTDOWN."""
        if self._is_stopped:
            return SHUTDOWN
        if asyncio.get_running_loop().time() < self._blocked_until_s:
            return self._blocked_by
        if size_bytes > self.settings.limit_bytes:
            return FULL
        if not self._handed.has_room(size_bytes):
            return SLOW
        self._handed.put(event, size_bytes)
        return None

    async def _append_handed(self) -> None:
        await self._handed.waits.wait()
        batch = self._handed.take_batch()
        try:
            await self._append(batch)
        except asyncio.CancelledError:
            self._return(batch, SHUTDOWN)
            raise
        finally:
            self._return(batch, FAILED)

    async def _append(self, batch: list[Sized]) -> None:
        """Append a batch at once, or one by one where there is no room for all; takes out of it what is dealt with."""
        try:
            await self._keep(batch)
        except JournalFull:
            while batch:
                await self._append_one(batch)

    async def _append_one(self, batch: list[Sized]) -> None:
        one = batch[:1]
        try:
            await self._keep(one)
        except JournalFull as exc:
            self._block(FULL, exc)
            self._return(one, FULL)
        del batch[0]

    async def _keep(self, batch: list[Sized]) -> None:
        now_ns = self._clock.time_ns()
        await self._journal.append([spool_entry.encode(event, now_ns) for event, _ in batch])
        self.counts.appended += len(batch)
        self._handed.release(batch)
        batch.clear()
        self._outage.note_back("events are spooled again")
        self.reader.note_more()

    def _return(self, batch: list[Sized], reason: str) -> None:
        self._handed.release(batch)
        for event, _ in batch:
            if self._owner is not None:
                self._owner.take_back(event, reason)
        batch.clear()

    def _note_lost(self, count: int, reason: str) -> None:
        if self._owner is not None and count:
            self._owner.note_lost(count, reason)

    def _block(self, reason: str, exc: Exception) -> None:
        """Take nothing for a while, so that what cannot be kept does not travel to the disk and back."""
        self._blocked_until_s, self._blocked_by = asyncio.get_running_loop().time() + PAUSE_S, reason
        self._outage.note_away(exc)

    # in the background

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step again and again, whatever the disk does."""
        failures = 0
        while True:
            try:
                await step()
                failures = 0
            except Exception as exc:  # a task's edge: the spool goes on with the next step
                failures += 1
                self.note_failed(exc)
                await asyncio.sleep(_BACKOFF.delay_s(failures))

    def note_failed(self, exc: Exception) -> None:
        """The disk failed somebody; a damaged file is opened anew before long."""
        self._is_closed |= isinstance(exc, JournalDamaged)
        self._block(FAILED, exc)
        if not isinstance(exc, WaysideError):
            log.error("the spool failed in a way that it should not", exc_info=exc)

    async def _tend(self) -> None:
        await asyncio.sleep(PAUSE_S)
        if self._is_closed:
            await self._reopen()
        await self.tally()
        if self.reader.settled != self._swept_at:
            settled = self.reader.settled
            await self._journal.sweep(self._clock.time_ns())
            self._swept_at = settled

    async def _reopen(self) -> None:
        await self._journal.stop()
        await self._journal.start()
        await self._account()
        self._is_closed = False

    async def _account(self) -> None:
        """After an opening: what the file holds is what waits."""
        cursor = await self.reader.open()
        damaged_entries = (await self._journal.state()).log.damaged_entries
        counts = self.counts
        kept = cursor.waiting_entries - self.reader.unacknowledged
        counts.found += max(0, kept - self.waiting)
        self._count_damaged(max(0, self.waiting - kept))
        self._base = _Lost(cursor.overflow_entries - counts.overflowed - self.reader.late, damaged_entries)
        self._show(cursor)

    async def tally(self) -> None:
        """Read from the file what waits and what was lost. Raises `JournalError`."""
        before = self._progress()
        cursor, log_state = await self._journal.look(
            lambda connection: (find(connection, CURSOR), journal_tables.state(connection))
        )
        # what is in hand may have overflowed, and is sent all the same
        spared = self.reader.late + self.reader.in_hand
        self._count_overflowed(cursor.overflow_entries - self._base.overflowed - spared)
        self._count_damaged(log_state.damaged_entries - self._base.damaged)
        self._base = replace(self._base, damaged=log_state.damaged_entries)
        if before == self._progress() and not (self.handed or self.reader.in_hand):
            self._reconcile(cursor)
        self._show(cursor)

    def _progress(self) -> tuple[int, ...]:
        return self.handed, self.reader.in_hand, self.counts.appended, self.reader.settled

    def _reconcile(self, cursor: CursorState) -> None:
        """Nothing is on its way: the file knows what waits. Only damage to what was in hand makes a difference."""
        self.counts.found += max(0, cursor.waiting_entries - self.waiting)
        self._count_damaged(max(0, self.waiting - cursor.waiting_entries))

    def _count_overflowed(self, total: int) -> None:
        before = self.counts.overflowed
        if total <= before:
            return
        self.counts.overflowed = total
        self._note_lost(total - before, FULL)
        if total.bit_length() > before.bit_length():  # as `is_told` has it, for many at a time
            log.warning("the spool is full: %d of its oldest events were dropped so far", total)

    def _count_damaged(self, more: int) -> None:
        self.counts.damaged += more
        self._note_lost(more, DAMAGED)

    def _show(self, cursor: CursorState) -> None:
        self.gauges = SpoolGauges(cursor.waiting_bytes, cursor.oldest_ns)
