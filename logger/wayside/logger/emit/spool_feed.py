"""What waits in the spool, passed on to be sent: a page at a time; while the log url is away, one event alone.

Invariant: an event that was read from the spool and is not queued, sent or refused is given back to it.
"""

import asyncio
from typing import Protocol

from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import WaysideError
from wayside.logger.emit.availability import Availability
from wayside.logger.emit.parcel import Parcel, size_of
from wayside.logger.emit.spool import PAUSE_S, Spool
from wayside.logger.emit.spool_reader import Spooled

_BACKOFF = Backoff()
_NEXT_BACKOFF = Backoff(limit_s=1.0)  # from one event to the next, where the log url answers


class Destination(Protocol):
    """Where spooled events go. `changed` is set whenever there may be room, or the log url came or went."""

    changed: asyncio.Event
    sink: Availability

    def enqueue(self, parcel: Parcel) -> bool:
        """Take a parcel to be sent and settled; False where there is no room."""

    async def attempt(self, parcel: Parcel) -> bool:
        """Send a parcel once and settle it; False where it is to be tried again."""


def _parcel_of(spooled: Spooled) -> Parcel:
    return Parcel(spooled.event, size_of(spooled.event), spooled.position)


class SpoolFeed:
    """Runs as one task of the emitter's."""

    def __init__(self, destination: Destination, spool: Spool) -> None:
        self._to = destination
        self._spool = spool

    async def run(self) -> None:
        """Until it is cancelled, whatever the disk does."""
        failures = 0
        while True:
            try:
                failures = await self._probe(failures + 1) if self._to.sink.is_away else await self._pass_on()
            except WaysideError as exc:
                self._spool.note_failed(exc)
                await asyncio.sleep(PAUSE_S)

    async def _probe(self, failures: int) -> int:
        """Wait, and try the oldest event, or where that was answered with an error, the next one; returns how often
        that failed by now."""
        backoff = _NEXT_BACKOFF if self._to.sink.answers else _BACKOFF
        await asyncio.sleep(backoff.delay_s(failures, self._to.sink.retry_after_s))
        (spooled,) = await self._spool.reader.wait_page(limit=1)
        settled = False
        try:
            settled = await self._to.attempt(_parcel_of(spooled))
        finally:
            if not settled:
                self._put_back(spooled)
        if settled:
            self._spool.reader.rewind()
        self._to.changed.set()
        return 0 if settled else failures

    def _put_back(self, spooled: Spooled) -> None:
        reader = self._spool.reader
        if self._to.sink.answers:
            reader.pass_over(spooled.position)
        else:
            reader.give_back(spooled.position)

    async def _pass_on(self) -> int:
        """Queue what waits as far as the log url is there; returns that nothing failed."""
        page, passed = await self._spool.reader.wait_page(), 0
        try:
            while passed < len(page) and await self._admit(_parcel_of(page[passed])):
                passed += 1
        finally:
            for spooled in page[passed:]:
                self._spool.reader.give_back(spooled.position)
        return 0

    async def _admit(self, parcel: Parcel) -> bool:
        """Wait for room in the queue; False where the log url is away."""
        while not (self._to.sink.is_away or self._to.enqueue(parcel)):
            self._to.changed.clear()
            await self._to.changed.wait()
        return not self._to.sink.is_away
