"""The record store as a sink: an event is acknowledged once its part of the records is on disk.

Invariant: whatever an event turns out to be, it is counted under exactly one outcome.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wayside.eventing.clock import Clock, SystemClock, format_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.join import Fate, JoinSettings
from wayside.eventing.pairs.subject import Role
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.sinks.embedded.store import RecordStore
from wayside.sinks.merging import Outcome

log = logging.getLogger("wayside.sinks")
_PRUNE_EVERY_S = 300.0


class PartsCollector(Collector):
    """The parts of records as metrics, read from the store, so that counts go on where they were after a restart."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        return self._families({})

    def collect(self) -> Iterable[Metric]:
        standing = self._store.standing()
        return self._families({} if standing is None else standing.counts)

    def _families(self, counts: Mapping[tuple[Role, Fate], int]) -> list[Metric]:
        settled = CounterMetricFamily(
            "wayside_record_parts", "Parts of records by what became of them.", labels=["role", "fate"]
        )
        waiting = GaugeMetricFamily(
            "wayside_record_parts_waiting", "Parts of records that wait for their partner.", labels=["role"]
        )
        for (role, fate), parts in counts.items():
            if fate is Fate.WAITING:
                waiting.add_metric([role.value], parts)
            else:
                settled.add_metric([role.value, fate.value], parts)
        return [settled, waiting]


class RecordSink:
    """Keeps records in one SQLite file for `retain_s` seconds of request time (None: for ever).

    `settings` say how long the parts of a record are awaited before they are counted as lonely.
    """

    def __init__(
        self,
        path: Path,
        registry: CollectorRegistry,
        retain_s: float | None = None,
        clock: Clock | None = None,
        settings: JoinSettings | None = None,
    ) -> None:
        self._store = RecordStore(path, settings, clock)
        self._retain_s = retain_s
        self._clock = clock or SystemClock()
        self._outcomes = Counter(
            "wayside_records_events", "Events by what became of them.", ["outcome"], registry=registry
        )
        self._taken = {outcome: self._outcomes.labels(outcome.value) for outcome in Outcome}
        registry.register(PartsCollector(self._store))
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
        self._taken[outcome].inc()

    async def _prune_regularly(self, retain_s: float) -> None:
        while True:
            try:
                await self._store.prune(format_time(self._clock.time_ns() - round(retain_s * 1e9)))
            except sqlite3.Error as exc:  # a full disk, say: what is too old goes at a later time
                log.warning("old records are still kept, because the record store cannot prune: %s", exc)
            await asyncio.sleep(_PRUNE_EVERY_S)
