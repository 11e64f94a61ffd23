"""What becomes of one message: read, filtered, sent until it is accepted, or kept as a dead letter.

Invariant: `deliver` returns True only where the event was accepted, filtered, or is durable as a dead letter.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Protocol

from wayside.eventing.backoff import Backoff
from wayside.eventing.cancellation import ends_this_task
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.metrics import SourceMetrics
from wayside.eventing.outage import OutageNotice, is_told
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable

log = logging.getLogger("wayside.kafka")
_BACKOFF = Backoff()
# tries for an event that makes the sink itself fail; it must not hold up its partition for ever
_FAULT_LIMIT = 5
_REFUSED, _FAULT = 400, 500


class LetterBox(Protocol):
    """Where dead letters are kept."""

    async def keep(self, record: KafkaRecord, code: int, reason: str) -> None:
        """Returns once the letter is durable. Raises `SinkUnavailable` or `EventRefused`."""


class Delivery:
    """Delivers messages to `sink`, each on its own; keeps no message. `read` raises `MalformedEvent`."""

    def __init__(
        self,
        read: Callable[[KafkaRecord], CloudEvent],
        passes: Callable[[CloudEvent], bool],
        sink: Sink,
        letters: LetterBox,
        metrics: SourceMetrics,
    ) -> None:
        self._read = read
        self._sink = sink
        self._letters = letters
        self._passes = passes
        self._metrics = metrics
        self._outage = OutageNotice(log, "events wait in Kafka")
        self._buried = self._unread = 0
        self._ending = asyncio.Event()

    async def deliver(self, record: KafkaRecord, abandoned: Callable[[], bool]) -> bool:
        """Settle one message, for as long as it takes. False where it was `abandoned`, or `end` came, before."""
        try:
            event = self._read(record)
            passes = self._passes(event)
        except MalformedEvent as exc:
            return await self._bury(record, _REFUSED, str(exc), abandoned)
        except Exception as exc:  # the edge of a record: what one record does to its reader holds up no other
            self._unread += 1
            if is_told(self._unread):
                log.exception("%d records made their reading fail, the last of %s", self._unread, record.topic)
            return await self._bury(record, _FAULT, f"reading it failed: {type(exc).__name__}", abandoned)
        if not passes:
            self._metrics.filtered.inc()
            return True
        return await self._send(record, event, abandoned)

    def end(self) -> None:
        """Make no other try of anything; what is being tried ends by itself."""
        self._ending.set()

    async def _send(self, record: KafkaRecord, event: CloudEvent, abandoned: Callable[[], bool]) -> bool:
        faults, asked_s = 0, None
        for failures in count(1):
            try:
                await self._sink.send(event)
            except SinkUnavailable as exc:
                self._outage.note_away(exc)
                asked_s = exc.retry_after_s
            except (EventRefused, MalformedEvent) as exc:
                return await self._bury(record, _REFUSED, str(exc), abandoned)
            except (Exception, asyncio.CancelledError) as exc:  # the edge of an event: it holds up no other
                if ends_this_task(exc):
                    raise
                faults += 1
                log.exception("an event made the sink fail, %d of %d tries", faults, _FAULT_LIMIT)
                if faults >= _FAULT_LIMIT:
                    return await self._bury(record, _FAULT, f"the sink failed: {type(exc).__name__}", abandoned)
                asked_s = None
            else:
                self._metrics.delivered.inc()
                self._outage.note_back("the sink takes events again")
                return True
            if not await self._pause(_BACKOFF.delay_s(failures, asked_s), abandoned):
                break
        return False

    async def _bury(self, record: KafkaRecord, code: int, reason: str, abandoned: Callable[[], bool]) -> bool:
        for failures in count(1):
            try:
                await self._letters.keep(record, code, reason)
            except (SinkUnavailable, EventRefused) as exc:
                self._outage.note_away(f"a dead letter cannot be kept: {exc}")
            else:
                self._note_buried(record, reason)
                return True
            if not await self._pause(_BACKOFF.delay_s(failures), abandoned):
                break
        return False

    async def _pause(self, pause_s: float, abandoned: Callable[[], bool]) -> bool:
        """Wait; False where there is to be no other try."""
        if not abandoned():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause_s)
        if abandoned() or self._ending.is_set():
            return False
        self._metrics.retries.inc()
        return True

    def _note_buried(self, record: KafkaRecord, reason: str) -> None:
        self._metrics.dead_lettered.inc()
        self._buried += 1
        if is_told(self._buried):
            where = (record.topic, record.partition, record.offset)
            log.warning("%d dead letters, the last of %s, partition %d, offset %d: %s", self._buried, *where, reason)
