"""What the page looks at, made without the processes that usually make it: records, ledger, admin ports.

Everything goes in through the real `RecordSink` and the real `Ledger`. `python tests/page/page_seed.py FOLDER` seeds
one whole demo and serves the page over it until Ctrl-C, for looking at it.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wayside.detectors.serving.server import AppServer
from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, Severity
from wayside.eventing.clock import FakeClock, SystemClock, format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.url import Url
from wayside.eventing.verdict import DetectorIdentity, RowVerdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, REQUEST_ID, RESPONSE, ServiceKey
from wayside.eventing.window_findings import MovedFeature, Spending
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict
from wayside.local.demo.digits import Digits
from wayside.local.demo.ledger import Answer, Ledger, Route
from wayside.local.demo.population import Sample
from wayside.local.page.app import make_app
from wayside.local.page.files import Files
from wayside.local.page.sources import AdminPorts, AdminReader
from wayside.local.page.state import LiveState, PageMetrics
from wayside.sinks.embedded.sink import RecordSink

KEY = ServiceKey("default", "digits", "predictor", "")
OUTLIERS = DetectorIdentity("outlier", "knn", "ab" * 32, 0.01)
DRIFTS = DetectorIdentity("drift", "ks", "cd" * 32, 0.01)
TRIGGERS = ("outlier", "drift", "records", "prometheus-outlier", "prometheus-drift", "prometheus-alert")


def payload(kind: str, body: Any, name: str, t: float, key: ServiceKey = KEY, **extensions: str) -> CloudEvent:
    """A request or a response event as the logger sends it; `t` is when the request came, in seconds."""
    at = format_time(round(t * 1e9))
    shared = {**key.extensions(), "requesttime": at, REQUEST_ID: f"client-{name}", **extensions}
    data = json.dumps(body).encode()
    return CloudEvent(name, "digits-predictor", kind, data, at, "application/json", extensions=shared)


def inference(
    name: str, t: float, instances: Any, predictions: Any, **extensions: str
) -> tuple[CloudEvent, CloudEvent]:
    """A request event and its response event."""
    request = payload(REQUEST, {"instances": instances}, name, t, **extensions)
    return request, payload(RESPONSE, {"predictions": predictions}, name, t, **extensions)


def verdict(request: CloudEvent, scores: Sequence[float], p_values: Sequence[float], threshold: float) -> CloudEvent:
    """The outlier verdict on a request event."""
    decisions = [p <= OUTLIERS.alpha for p in p_values]
    return RowVerdict(OUTLIER, scores, p_values, decisions, threshold).event(request, OUTLIERS)


def window(first: int, end: int, t: float, p_value: float, key: ServiceKey = KEY) -> CloudEvent:
    """The drift verdict on one window; its one member is no recorded event."""
    at, drift = format_time(round(t * 1e9)), p_value <= DRIFTS.alpha
    members = [RowRange("digits-predictor", f"window-{first}", 0, end - first, at)]
    found = WindowVerdict(key, first, end, at, drift, p_value, DRIFTS.alpha, 0.2, [0.2], [p_value], members)
    return found.event(DRIFTS)


def alert(
    state: AlertState, first: int, opened: float, t: float, feature: str = "pixel 42", name: str = "a1"
) -> CloudEvent:
    """An event of an alert; its last window that drifted begins at row `first`."""
    at, resolved = format_time(round(t * 1e9)), state is AlertState.RESOLVED
    moved = MovedFeature(feature, True, 0.43, 1e-9, (0.0, 1.5, 5.4, 9.0, 14.0), (3.0, 7.0, 10.7, 13.0, 15.5))
    stretch, spending = Stretch(format_time(round(opened * 1e9)), at), Spending(1e-5, 1e-5, 1e-3)
    evidence = AlertEvidence("v1", first, first + 200, stretch, 0.43, 1e-12, spending, [moved])
    told = AlertEvent(
        *(name, state, Severity.WARNING, KEY, "", format_time(round(opened * 1e9)), at, at if resolved else None),
        *(1, 2 * resolved, evidence),
    )
    return told.event(DRIFTS)


class LoggerMetrics:
    """The logger's metrics under their real names."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        event, name = ["kind"], "wayside_logger"
        self.responses = Counter(f"{name}_responses", "", ["code"], registry=self.registry)
        self.captured = Counter(f"{name}_events_captured", "", event, registry=self.registry)
        self.sent = Counter(f"{name}_events_sent", "", event, registry=self.registry)
        self.dropped = Counter(f"{name}_events_dropped", "", [*event, "reason"], registry=self.registry)
        self.queue = {
            part: Gauge(f"{name}_queue_{part}", "", registry=self.registry)
            for part in ("events", "bytes", "limit_events", "limit_bytes")
        }
        buckets = [0.001 * 2 ** (step / 2) for step in range(20)]
        self.request = Histogram(f"{name}_request_seconds", "", buckets=buckets, registry=self.registry)
        self.upstream = Histogram(f"{name}_upstream_seconds", "", buckets=buckets, registry=self.registry)
        self.queue["limit_events"].set(10_000)
        self.queue["limit_bytes"].set(64 << 20)

    def answered(self, requests: int = 1, latency_s: float = 0.003) -> None:
        """Count requests that were answered, captured and sent."""
        self.responses.labels("200").inc(requests)
        for kind in ("request", "response"):
            self.captured.labels(kind).inc(requests)
            self.sent.labels(kind).inc(requests)
        for _ in range(requests):
            self.request.observe(latency_s + 0.0003)
            self.upstream.observe(latency_s)


@dataclass
class Loop:
    """Everything that the page looks at, and the page. `triggers` and `windows` are what the admin ports say."""

    sink: RecordSink
    ledger: Ledger
    clock: FakeClock
    logger: LoggerMetrics
    admin: AdminServer
    url: str = ""
    triggers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TRIGGERS, 0))
    windows: dict[str, Any] = field(default_factory=lambda: {"rows": 0, "in_windows": 0, "open": 0})
    key: ServiceKey = KEY

    def trigger_view(self) -> Mapping[str, Any]:
        names = {"namespace": "default", "broker": "default"}
        counts = [
            {**names, "name": name, "matched": n, "delivered": n, "dead_lettered": 0, "waiting": 0, "attempts": n}
            for name, n in self.triggers.items()
        ]
        return {"events": sum(self.triggers.values()), "duplicates": 0, "conflicts": 0, "triggers": counts}

    def window_view(self) -> Mapping[str, Any]:
        return {"keys": [{"key": str(self.key), "windows": 0, **self.windows}], "outbox": 0}

    async def take(self, *events: CloudEvent) -> None:
        """Store events, side by side, as a broker delivers them."""
        await asyncio.gather(*(self.sink.send(event) for event in events))


@asynccontextmanager
async def open_loop(folder: Path, port: int = 0, with_ledger: bool = True) -> AsyncIterator[Loop]:
    """Start it all on free ports; the page on `port`."""
    async with AsyncExitStack() as stack:
        sink = RecordSink(folder / "records.sqlite", CollectorRegistry())
        clock, logger = FakeClock(time.time_ns()), LoggerMetrics()
        ledger = Ledger(folder / "ledger.sqlite", clock)
        admin = AdminServer(
            logger.registry,
            "127.0.0.1",
            0,
            views={"/triggers": lambda: loop.trigger_view(), "/windows": lambda: loop.window_view()},
        )
        loop = Loop(sink, ledger, clock, logger, admin)
        for service in (sink, ledger, admin):
            await service.start()
            stack.push_async_callback(service.stop)
        base = Url.parse(f"http://127.0.0.1:{admin.port}")
        files = (folder / "records.sqlite", folder / "ledger.sqlite" if with_ledger else None)
        server = await stack.enter_async_context(open_page(AdminPorts(base, base, (base,)), *files, port=port))
        loop.url = f"http://127.0.0.1:{server.port}"
        yield loop


@asynccontextmanager
async def open_page(
    ports: AdminPorts, records: Path | None = None, ledger: Path | None = None, port: int = 0
) -> AsyncIterator[AppServer]:
    """The page over what is given, as `wayside page` puts it together."""
    clock, metrics = SystemClock(), PageMetrics(CollectorRegistry())
    state = LiveState(AdminReader(ports), Files(records, ledger, clock), clock, metrics)
    server = AppServer(make_app(state, metrics), "127.0.0.1", port, grace_s=1)
    await state.start()
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        await state.stop()


# one whole demo, for looking at

ROWS_PER_S = 180
WINDOW_ROWS = 200
SCRIPT = (
    ("ordinary", "Ordinary digits", "ordinary", 20, "ordinary"),
    ("outliers", "Corrupted and foreign images", "outliers", 10, "outliers"),
    ("calm", "Ordinary digits for a while", "ordinary", 8, "ordinary"),
    ("shift", "A shifted population", "shift", 11, "shifted"),
    ("again", "Ordinary digits again", "ordinary", 14, "ordinary"),
    ("fault", "Ordinary digits while things break", "fault", 20, "ordinary"),
)
FAULTS = ((2.0, "hang broker for 5 s"), (10.0, "kill -9 broker"), (14.0, "kill -9 outlier"))


class Judge:
    """Distance to the nearest reference row, calibrated; and a Kolmogorov-Smirnov test a feature for windows."""

    def __init__(self, population: Digits) -> None:
        self.reference = population.stream("fit").ordinary(1500)
        calibration = population.stream("calibrate").ordinary(2000)
        self.calibration = np.sort(self.nearest(calibration.rows)[0])
        self.threshold = float(np.quantile(self.calibration, 1 - OUTLIERS.alpha))

    def nearest(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distance to the nearest reference row, and the digit on it."""
        against = self.reference.rows
        squares = (rows**2).sum(1)[:, None] + (against**2).sum(1) - 2 * rows @ against.T
        return np.sqrt(np.maximum(squares, 0).min(1)), self.reference.labels[squares.argmin(1)]

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        above = len(self.calibration) - np.searchsorted(self.calibration, scores)
        return (1 + above) / (len(self.calibration) + 1)

    def window_p(self, rows: np.ndarray) -> float:
        from scipy.stats import ks_2samp

        smallest = min(ks_2samp(rows[:, at], self.reference.rows[:, at]).pvalue for at in range(rows.shape[1]))
        return float(min(1.0, smallest * rows.shape[1]))


class Seeding:
    """Seeds the script's phases, so that the last of them ends now."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.population = Digits.load(7)
        self.judge = Judge(self.population)
        self.rng = np.random.default_rng(7)
        self.pending = np.empty((0, 64))
        self.position = 0
        self.requests = 0
        self.alerts = 0
        self.opened: float | None = None
        self.quiet = 0
        self.t = time.time() - sum(seconds for *_, seconds, _ in SCRIPT)

    async def run(self) -> None:
        for name, title, kind, seconds, draw in SCRIPT:
            self._set_clock(self.t)
            await self.loop.ledger.begin_phase(name, title, kind)
            sample = getattr(self.population.stream(name), draw)(seconds * ROWS_PER_S)
            await self._phase(name, sample, self.t, seconds)
            for after, what in FAULTS if kind == "fault" else ():
                self._set_clock(self.t + after)
                await self.loop.ledger.note_fault(what)
            self.t += seconds
            self._set_clock(self.t)
            await self.loop.ledger.end_phase(name)
        self.loop.windows |= {"rows": self.position + len(self.pending), "in_windows": self.position}
        self.loop.windows["open"] = len(self.pending)
        self.loop.triggers = dict.fromkeys(TRIGGERS[:2], self.requests) | {
            "records": 3 * self.requests + self.position // WINDOW_ROWS,
            "prometheus-outlier": self.requests,
            "prometheus-drift": self.position // WINDOW_ROWS,
            "prometheus-alert": self.alerts,
        }
        self.loop.logger.answered(self.requests)

    def _set_clock(self, t: float) -> None:
        self.loop.clock.now_ns = round(t * 1e9)

    async def _phase(self, name: str, sample: Sample, start: float, seconds: float) -> None:
        scores, labels = self.judge.nearest(sample.rows)
        p_values, at = self.judge.p_values(scores), 0
        events: list[CloudEvent] = []
        while at < len(sample.rows):
            end = min(len(sample.rows), at + int(self.rng.integers(1, 9)))
            t = start + seconds * at / len(sample.rows)
            events += self._inference(name, t, sample.rows[at:end], labels[at:end], scores[at:end], p_values[at:end])
            at = end
        await self.loop.take(*events)

    def _inference(
        self, phase: str, t: float, rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, p_values: np.ndarray
    ) -> list[CloudEvent]:
        self.requests += 1
        name = f"e{self.requests}"
        request, response = inference(name, t, rows.tolist(), labels.tolist())
        self._answer(t, Route.THROUGH, f"client-{name}", len(rows), phase)
        if self.rng.random() < 0.2:
            self._answer(t, Route.DIRECT, f"direct-{name}", len(rows), phase)
        found = verdict(request, scores.tolist(), p_values.tolist(), self.judge.threshold)
        self.pending = np.concatenate([self.pending, rows])
        return [request, response, found, *self._windows(t)]

    def _windows(self, t: float) -> list[CloudEvent]:
        if len(self.pending) < WINDOW_ROWS:
            return []
        full, self.pending = self.pending[:WINDOW_ROWS], self.pending[WINDOW_ROWS:]
        first, self.position = self.position, self.position + WINDOW_ROWS
        p_value = self.judge.window_p(full)
        return [window(first, self.position, t, p_value), *self._alerts(first, t, p_value <= DRIFTS.alpha / 1000)]

    def _alerts(self, first: int, t: float, drifts: bool) -> list[CloudEvent]:
        """Opens at a window that drifts, and resolves after two that do not."""
        self.quiet = 0 if drifts else self.quiet + 1
        if drifts and self.opened is None:
            self.opened, state, began = t, AlertState.OPENED, t
        elif self.opened is not None and self.quiet == 2:
            state, began, self.opened = AlertState.RESOLVED, self.opened, None
        else:
            return []
        self.alerts += 1
        return [alert(state, first, began, t, name=f"a{began}")]

    def _answer(self, t: float, route: Route, request_id: str, rows: int, phase: str) -> None:
        slow = 12.0 if self.rng.random() < 0.01 else 1.0
        latency_s = 0.0042 * float(self.rng.lognormal(0, 0.25)) * slow + 0.0006 * (route is Route.THROUGH)
        self.loop.ledger.record(Answer(t, route, request_id, rows, 200, latency_s, phase))


async def main(folder: Path) -> None:
    """Seed a demo and serve the page on 8600."""
    async with open_loop(folder, port=8600) as loop:
        await Seeding(loop).run()
        print(loop.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
