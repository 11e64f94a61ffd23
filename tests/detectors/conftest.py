"""What the detector tests share: fitted artifacts, request events, services on free ports, waiting for a condition."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifact import Artifact
from wayside.detectors.batching import BatchLimits
from wayside.detectors.drift_service import DriftDetector, DriftService
from wayside.detectors.drift_store import DriftStore
from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.detectors.ingress import Ingress, IngressLimits
from wayside.detectors.judge import RowJudge, restore_window_detector
from wayside.detectors.metrics import DetectorMetrics
from wayside.detectors.outbox import Outbox
from wayside.detectors.row_service import RowService
from wayside.detectors.server import AppServer
from wayside.eventing.backoff import Backoff
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.sink import MemorySink
from wayside.eventing.vocabulary import REQUEST

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
def knn() -> Artifact:
    return fit_artifact("knn", normal_rows(2400, 1), FitSettings()).artifact


@pytest.fixture(scope="session")
def ks() -> Artifact:
    return fit_artifact("ks", normal_rows(1000, 2), FitSettings(name="drift", window=50)).artifact


@pytest.fixture(scope="session")
def ks_folder(ks: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "drift"
    ks.save(folder)
    return folder


@pytest.fixture(scope="session")
def knn_folder(knn: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "outlier"
    knn.save(folder)
    return folder


@dataclass
class Served:
    """A service that listens, and a client of it."""

    url: Url
    metrics: DetectorMetrics
    client: HttpClient = field(default_factory=HttpClient)

    async def post(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> Response:
        return await self.client.send(b"POST", self.url, headers, body, timeout_s=10)

    async def post_event(self, event: CloudEvent) -> Response:
        headers, body = encode_binary(event)
        return await self.post(body, headers)

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("wayside_detector_events_total", {"outcome": outcome}) or 0.0


@asynccontextmanager
async def serve_rows(artifact: Artifact, limits: IngressLimits | None = None) -> AsyncIterator[Served]:
    """The row service on a port of its own."""
    metrics = DetectorMetrics()
    service = RowService(RowJudge.of(artifact), artifact.identity(), metrics, BatchLimits())
    server = AppServer(Ingress(service.answer, metrics, limits or IngressLimits()).app, "127.0.0.1", 0)
    await service.start()
    await server.start()
    served = Served(Url.parse(f"http://127.0.0.1:{server.port}/"), metrics)
    try:
        yield served
    finally:
        await served.client.close()
        await server.stop()
        await service.stop()


@dataclass
class Drift:
    """A running drift service and what it posts to."""

    service: DriftService
    store: DriftStore
    sink: MemorySink

    async def take(self, *events: CloudEvent) -> list[str]:
        return [(await self.service.answer(event)).outcome for event in events]

    def view(self) -> tuple[int, int, int, int]:
        view = self.store.view()
        rows, closed, windows = [sum(key[name] for key in view["keys"]) for name in ("rows", "in_windows", "windows")]
        return rows, closed, windows, view["outbox"]


@asynccontextmanager
async def drift_in(
    folder: Path, artifact: Artifact, sink: MemorySink | None = None, retain_windows: int = 1000
) -> AsyncIterator[Drift]:
    detector, size = restore_window_detector(artifact)
    sink, metrics = sink or MemorySink(), DetectorMetrics()
    store = DriftStore(folder, "drift", detector.features)
    outbox = Outbox(store, sink, metrics, Backoff(first_s=0.001, limit_s=0.01))
    service = DriftService(DriftDetector(detector, artifact.identity(), size, retain_windows), store, outbox, metrics)
    await service.start()
    try:
        yield Drift(service, store, sink)
    finally:
        await service.stop()
        await service.stop()


async def wait_until(condition: Callable[[], Any], timeout_s: float = 15.0) -> None:
    """Poll until the condition holds; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.01)
