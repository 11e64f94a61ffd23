"""What the detector tests share: fitted artifacts, request events, services on free ports, waiting for a condition."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.service.intake import Intake, SideIntake
from wayside.detectors.drift.service.outbox import Outbox
from wayside.detectors.drift.service.reading import RowReader
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.service import DriftParts, DriftService, room_of
from wayside.detectors.drift.service.store import DriftStore, Reader
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.kinds.protocol import Execution
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.serving.answering import PLAIN, Answering, Wanted
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.connection import ConnectionLimits
from wayside.detectors.serving.event_route import EventRoute
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.serving.row_service import RowService
from wayside.detectors.serving.server import AppServer
from wayside.detectors.tabular.event_rows import Side
from wayside.detectors.tabular.table import Table
from wayside.eventing.backoff import Backoff
from wayside.eventing.clock import Clock, SystemClock, format_time, parse_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.sink import MemorySink
from wayside.eventing.vocabulary import DRIFT, REQUEST
from wayside.eventing.window_verdict import WindowVerdict, read_window_verdict

from .sequential_streams import errors, fit, p_values, three_columns

FEATURES = 4
TIME = "2026-01-02T03:04:05.000000006Z"


def normal_rows(count: int, seed: int, features: int = FEATURES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features))


def request_event(rows: Any, event_id: str = "1", time_text: str | None = TIME, **extensions: str) -> CloudEvent:
    """A request as the logger sends it; `rows` may be anything that JSON can say."""
    instances = rows.tolist() if isinstance(rows, np.ndarray) else rows
    return CloudEvent(
        id=event_id,
        source="http://model-predictor",
        type=REQUEST,
        time=time_text,
        datacontenttype="application/json",
        data=json.dumps({"instances": instances}).encode(),
        extensions={"namespace": "default", "inferenceservicename": "digits", "component": "predictor", **extensions},
    )


@pytest.fixture(scope="session")
def error_detectors() -> dict[str, Any]:
    """Kinds that follow errors, fitted where one row in ten is one."""
    return {kind: fit(kind, errors(4000)) for kind in ("adwin", "ddm", "kswin")}


@pytest.fixture(scope="session")
def row_detectors() -> dict[str, Any]:
    """Kinds that follow rows, fitted on three columns."""
    return {kind: fit(kind, three_columns()) for kind in ("cusum", "cvm-online", "mmd-online")}


@pytest.fixture(scope="session")
def outlier_rate() -> Any:
    """Fitted for an outlier detector that 1999 rows calibrated."""
    return fit("outlier-rate", p_values(1000), calibration_rows=1999)


@pytest.fixture(scope="session")
def knn() -> Artifact:
    return fit_artifact("knn", Table.of(normal_rows(2400, 1)), FitSettings()).artifact


@pytest.fixture(scope="session")
def mahalanobis() -> Artifact:
    return fit_artifact("mahalanobis", Table.of(normal_rows(2400, 1)), FitSettings()).artifact


@pytest.fixture(scope="session")
def online() -> Artifact:
    """A stateful one."""
    return fit_artifact("mahalanobis-online", Table.of(normal_rows(2400, 1)), FitSettings()).artifact


@pytest.fixture(scope="session")
def ks() -> Artifact:
    plan = FitSettings(name="drift", windows=WindowPlan.of_rows(50))
    return fit_artifact("ks", Table.of(normal_rows(1000, 2)), plan).artifact


@pytest.fixture(scope="session")
def ks_folder(ks: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "drift"
    save(ks, folder)
    return folder


@pytest.fixture(scope="session")
def knn_folder(knn: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "outlier"
    save(knn, folder)
    return folder


@dataclass
class Served:
    """A service that listens, and a client of it."""

    url: Url
    metrics: DetectorMetrics
    server: AppServer
    client: HttpClient = field(default_factory=HttpClient)

    async def post(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Response:
        return await self.client.send(b"POST", self.url, headers, body, timeout_s=10)

    async def post_event(self, event: CloudEvent) -> Response:
        headers, body = encode_binary(event)
        return await self.post(body, headers)

    def count(self, outcome: str) -> float:
        return sample(self.metrics, "events_total", outcome=outcome)


def sample(metrics: DetectorMetrics, name: str, **labels: str) -> float:
    """A value of a registry with one detector; 0 where there is none."""
    found = metrics.registry.get_sample_value(f"wayside_detector_{name}", {"detector": metrics.detector, **labels})
    return found or 0.0


async def no_page(scope: Any, receive: Any, send: Any) -> None:
    """What stands beside the event route in tests: 404 to all."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def serve_answering(
    answering: Answering,
    limits: RouteLimits | None = None,
    connections: ConnectionLimits | None = None,
    wanted: Wanted = PLAIN,
) -> AsyncIterator[Served]:
    """The event route on a port of its own; `answering` is started and stopped by the caller."""
    service = answering.metrics.service
    route = EventRoute(lambda name: None if name == "nobody" else answering, no_page, service, limits, wanted)
    server = AppServer(route, "127.0.0.1", 0, limits=connections)
    await server.start()
    served = Served(Url.parse(f"http://127.0.0.1:{server.port}/"), answering.metrics, server)
    try:
        yield served
    finally:
        await served.client.close()
        await server.stop()


@asynccontextmanager
async def serve_rows(
    artifact: Artifact, limits: RouteLimits | None = None, batch: BatchLimits | None = None
) -> AsyncIterator[Served]:
    """The row service on a port of its own."""
    identity = artifact.identity()
    metrics = DetectorMetrics(identity.name)
    service = RowService(RowJudge.of(artifact), identity, metrics, batch or BatchLimits())
    await service.start()
    try:
        async with serve_answering(service, limits) as served:
            yield served
    finally:
        await service.stop()


def at(second: float) -> str:
    """Event time, so many seconds after the tests' first event."""
    return format_time(parse_time("2026-01-01T00:00:00Z") + round(second * 1e9))


def later(second: float, rows: int = 1, event_id: str | None = None, **extensions: str) -> CloudEvent:
    """An event of ordinary rows that moves its key's watermark up to two seconds before it."""
    return request_event(normal_rows(rows, 999), event_id or f"later-{second:g}", at(second), **extensions)


@dataclass
class Drift:
    """A running drift service and what it posts to."""

    service: DriftService
    store: DriftStore
    sink: MemorySink
    metrics: DetectorMetrics

    async def take(self, *events: CloudEvent) -> list[str]:
        return [(await self.service.answer(event)).outcome for event in events]

    def view(self) -> tuple[int, int, int, int]:
        """Rows, those in windows, windows, and events that wait in the outbox."""
        view = self.service.view()
        rows, closed, windows = [sum(key[name] for key in view["keys"]) for name in ("rows", "in_windows", "windows")]
        return rows, closed, windows, view["outbox"]

    @property
    def keys(self) -> Mapping[str, Mapping[str, Any]]:
        """What is told of each key, by its service's endpoint and revision."""
        return {key["key"].split("/", 3)[3]: key for key in self.service.view()["keys"]}

    @property
    def verdicts(self) -> list[WindowVerdict]:
        return [read_window_verdict(event) for event in self.sink.events if event.type == DRIFT]


@dataclass(frozen=True)
class DriftTerms:
    """What a test wants of a drift service."""

    limits: WindowLimits = field(default_factory=WindowLimits)
    side: Side = Side.REQUEST
    remember_s: float = 7 * 86400.0
    clock: Clock = field(default_factory=SystemClock)
    intake: Callable[[DriftStore, RowReader, Room, DetectorMetrics], Intake] | None = None
    judge: WindowJudge | None = None


@asynccontextmanager
async def drift_in(
    folder: Path, artifact: Artifact, sink: MemorySink | None = None, terms: DriftTerms | None = None
) -> AsyncIterator[Drift]:
    terms, sink, metrics = terms or DriftTerms(), sink or MemorySink(), DetectorMetrics()
    judge = terms.judge or WindowJudge.of(artifact, artifact.identity(), Execution())
    store = DriftStore(folder, Reader(artifact.identity(), artifact.features, terms.side), terms.remember_s)
    room = room_of(terms.limits)
    reader = RowReader(judge.schema, terms.side, judge.settings.compared, judge.settings.missing)
    outbox = Outbox(store, sink, metrics, Backoff(first_s=0.001, limit_s=0.01))
    if terms.intake is None:
        intake: Intake = SideIntake(store, reader, room, terms.clock)
    else:
        intake = terms.intake(store, reader, room, metrics)
    parts = DriftParts(judge, store, outbox, intake, room, terms.limits)
    service = DriftService(parts, metrics, terms.side.types, retry_s=0.01)
    await service.start()
    try:
        yield Drift(service, store, sink, metrics)
    finally:
        await service.stop()
        await service.stop()


async def wait_until(condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    """Poll until the condition holds; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.01)
