"""The record store as a sink: an event is acknowledged once its part of the records is on disk.

Invariant: whatever an event turns out to be, it is counted under exactly one outcome.
"""

import asyncio
import logging
import sqlite3
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from wayside.eventing.clock import Clock, SystemClock, format_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.sinks.embedded.store import RecordStore

log = logging.getLogger("wayside.sinks")
_PRUNE_EVERY_S = 300.0


class RecordSink:
    """Keeps records in one SQLite file for `retain_s` seconds of request time (None: for ever)."""

    def __init__(
        self, path: Path, registry: CollectorRegistry, retain_s: float | None = None, clock: Clock | None = None
    ) -> None:
        self._store = RecordStore(path)
        self._retain_s = retain_s
        self._clock = clock or SystemClock()
        self._outcomes = Counter(
            "wayside_records_events", "Events by what became of them.", ["outcome"], registry=registry
        )
        self._pruner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the store. Raises `ConfigurationError`."""
        await self._store.start()
        if self._retain_s is not None:
            self._pruner = asyncio.create_task(self._prune_regularly(self._retain_s))

    async def stop(self) -> None:
        if self._pruner is not None:
            self._pruner.cancel()
            with suppress(asyncio.CancelledError):
                await self._pruner
            self._pruner = None
        await self._store.stop()

    async def send(self, event: CloudEvent) -> None:
        """Return once the event is stored, or known, or of no concern. Raises `EventRefused`, `SinkUnavailable`."""
        try:
            outcome = await self._store.take(event)
        except MalformedEvent as exc:
            self._outcomes.labels("malformed").inc()
            raise EventRefused(str(exc)) from exc
        except sqlite3.Error as exc:
            raise SinkUnavailable(f"the record store took nothing: {exc}") from exc
        self._outcomes.labels(outcome.value).inc()

    async def _prune_regularly(self, retain_s: float) -> None:
        while True:
            try:
                await self._store.prune(format_time(self._clock.time_ns() - round(retain_s * 1e9)))
            except sqlite3.Error as exc:  # a full disk, say: what is too old goes at a later time
                log.warning("old records are still kept, because the record store cannot prune: %s", exc)
            await asyncio.sleep(_PRUNE_EVERY_S)
