"""The page's state: everything that its panels show, as one JSON document, made at most once a second.

Invariant: however many people look, each source is read once a second at most; when nobody looks, only the logger's
counters and the number of records are, so that charts have a past when someone comes.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from wayside.eventing.clock import Clock
from wayside.local.page import drift_panels, panels
from wayside.local.page.files import Files, LedgerReading
from wayside.local.page.latency import Line, Point, Sample, Samples, span_of, width_of
from wayside.local.page.panels import Readings
from wayside.local.page.sources import AdminReader, LoggerReading, Problem, Reading, attempt

log = logging.getLogger("wayside.page")
MAX_AGE_S = 1.0
SAMPLE_EVERY_S = 1.0
_RECENT_S = 10.0
_SUMMARY_S = 60.0


class PageMetrics:
    """What the page says of itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.made = Histogram("wayside_page_state_seconds", "Time to make the page's state.", registry=registry)
        self.problems = Counter(
            "wayside_page_source_problems_total", "Reads of a source that failed.", ["source"], registry=registry
        )


class LiveState:
    """Assembles the state from its sources, and samples the logger in between. Owns both sources and closes them."""

    def __init__(self, admin: AdminReader, files: Files, clock: Clock, metrics: PageMetrics) -> None:
        self.files = files
        self._admin = admin
        self._clock = clock
        self._metrics = metrics
        self._samples = Samples(SAMPLE_EVERY_S)
        self._logger: Reading[LoggerReading] = Reading(problem="not read yet")
        self._making = asyncio.Lock()
        self._body = b""
        self._made_s = float("-inf")
        self._sampler: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take a first sample, so that the first state has something to show."""
        await self._sample_once()
        self._sampler = asyncio.create_task(self._sample_regularly(), name="page-sampler")

    async def stop(self) -> None:
        """May be called twice or before `start`."""
        if self._sampler is None:
            return
        sampler, self._sampler = self._sampler, None
        sampler.cancel()
        with suppress(asyncio.CancelledError):
            await sampler
        await self._admin.close()
        await self.files.close()

    async def latest(self) -> bytes:
        """The state as JSON, at most `MAX_AGE_S` old."""
        async with self._making:
            if self._clock.monotonic_s() - self._made_s >= MAX_AGE_S:
                with self._metrics.made.time():
                    state = await self._assemble()
                self._body = json.dumps(state, separators=(",", ":"), allow_nan=False).encode()
                self._made_s = self._clock.monotonic_s()
            return self._body

    # sampling

    async def _sample_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            await self._sample_once()

    async def _sample_once(self) -> None:
        try:
            await self._sample()
        except Exception:  # the edge of a task: one bad reading leaves a gap in the charts, no more
            log.exception("sampling failed")

    async def _sample(self) -> None:
        self._logger = self._noted("logger", await attempt(self._admin.logger))
        rows = await attempt(self.files.rows)
        if self._logger.value is not None:
            logger = self._logger.value
            requests = sum(logger.responses.values())
            self._samples.add(Sample(self._now_s(), requests, rows.value, logger.request, logger.upstream))

    def _now_s(self) -> float:
        return self._clock.time_ns() / 1e9

    def _noted(self, source: str, reading: Reading[Any]) -> Reading[Any]:
        if reading.problem is not None:
            self._metrics.problems.labels(source).inc()
        return reading

    # assembling

    async def _assemble(self) -> Mapping[str, Any]:
        readings = await self._read()
        ledger = readings.ledger.value
        phases = list(ledger.phases) if ledger else []
        try:
            by_phase = await self.files.phase_rates(phases)
        except Problem:
            phases, by_phase = [], []
        shown = self._from_ledger(readings, ledger) if ledger and ledger.through.last_s else self._sampled(readings)
        return {
            "now": readings.now_s,
            "headline": panels.headline(readings),
            "demo": panels.demo(readings.ledger),
            **shown,
            "broker": panels.broker(readings.broker),
            "flagged": panels.flagged(readings.records),
            "false_alarms": panels.false_alarms(readings.records, phases, by_phase),
            "drift": drift_panels.drift(readings.records, readings.drift),
            "alerts": drift_panels.alerts(readings.records),
        }

    async def _read(self) -> Readings:
        broker, drift, records, ledger = await asyncio.gather(
            attempt(self._admin.carried),
            attempt(self._admin.drift),
            attempt(self.files.records),
            attempt(self.files.ledger),
        )
        for source, reading in (("broker", broker), ("drift", drift), ("records", records)):
            self._noted(source, reading)
        return Readings(self._now_s(), self._logger, broker, drift, records, ledger)

    def _from_ledger(self, readings: Readings, ledger: LedgerReading) -> dict[str, Any]:
        """Traffic and latency as the demo's client saw them."""
        now = readings.now_s
        span = span_of(ledger.through.first_s, ledger.through.last_s, now)
        width = width_of(span)
        through, direct = ledger.through.points(width), ledger.direct.points(width)
        lately = min(now, span[1]) - _SUMMARY_S
        lines = [
            Line("through the logger", through, ledger.through.since(lately)),
            Line("model server alone", direct, ledger.direct.since(lately)),
        ]
        recent = ledger.through.since(now - _RECENT_S)
        return _shown(readings, span, width, lines, recent, source="client")

    def _sampled(self, readings: Readings) -> dict[str, Any]:
        """Traffic and latency from the logger's own counters and histograms."""
        now = readings.now_s
        span = span_of(self._samples.first_s, self._samples.last_s, now)
        width = width_of(span)
        lines = [
            Line(name, self._samples.points(histogram, width), self._samples.since(now - _SUMMARY_S, histogram))
            for name, histogram in (("through the logger", "request"), ("model server alone", "upstream"))
        ]
        return _shown(readings, span, width, lines, self._samples.since(now - _RECENT_S, "request"), source="logger")


def _shown(
    readings: Readings, span: tuple[float, float], width_s: int, lines: list[Line], recent: Point | None, *, source: str
) -> dict[str, Any]:
    latency = panels.latency(lines, source, width_s)
    if source == "logger" and readings.logger.value is None:
        latency = drift_panels.problem(readings.logger)
    return {
        "span": span,
        "traffic": panels.traffic(readings, lines[0].points, width_s, recent, _RECENT_S),
        "latency": latency,
    }
