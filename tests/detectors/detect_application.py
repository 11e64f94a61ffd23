"""What `wayside detect` serves on its event port, in this process: for tests that look at both sides of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.serving.catalogue import Catalogue
from wayside.detectors.serving.cli import application
from wayside.detectors.serving.event_route import EventRoute
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.opening import Opening
from wayside.detectors.serving.reload import Reloader, ReloadMetrics
from wayside.detectors.serving.server import AppServer
from wayside.detectors.serving.settings import DetectSettings, parse
from wayside.detectors.tabular.table import Table
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.sink import Sink

ROWS = [[0.0] * 4, [50.0] * 4]


def write_artifact(folder: Path, seed: int = 1, features: int = 4, kind: str = "mahalanobis", **fit: Any) -> Artifact:
    """An artifact fitted on normal rows, in its folder; what was there is replaced."""
    rows = np.random.default_rng(seed).normal(size=(2400, features))
    artifact = fit_artifact(kind, Table.of(rows), FitSettings(**fit)).artifact
    save(artifact, folder)
    return artifact


@dataclass
class Detecting:
    """The application, served on a port, and all that is behind it."""

    settings: DetectSettings
    catalogue: Catalogue
    reloader: Reloader
    metrics: ServiceMetrics
    app: EventRoute
    port: int = 0
    client: HttpClient = field(default_factory=HttpClient)

    async def get(self, path: str) -> Response:
        return await self.client.send(b"GET", self._url(path), [], timeout_s=10)

    async def post(self, path: str, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Response:
        return await self.client.send(b"POST", self._url(path), list(headers), body, timeout_s=10)

    async def post_event(self, event: CloudEvent, path: str = "/") -> Response:
        headers, body = encode_binary(event)
        return await self.post(path, body, *headers)

    async def infer(self, name: str, **document: Any) -> Response:
        return await self.post(f"/v2/models/{name}/infer", json.dumps(document).encode())

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"wayside_detector_{name}", labels)

    def _url(self, path: str) -> Url:
        return Url.parse(f"http://127.0.0.1:{self.port}{path}")


@asynccontextmanager
async def detecting(
    *flags: object, settings: DetectSettings | None = None, replies: Sink | None = None
) -> AsyncIterator[Detecting]:
    """Serve what these flags of `wayside detect` say."""
    settings = settings or parse([str(flag) for flag in flags], {})
    metrics = ServiceMetrics()
    opening = Opening(settings, metrics)
    catalogue = opening.catalogue()
    reloader = Reloader(catalogue, opening.reloads(), ReloadMetrics(metrics.registry), settings.reload_every_s)
    app = application(settings, catalogue, reloader, metrics, replies)
    server = AppServer(app, "127.0.0.1", 0)
    for service in (catalogue, reloader, server):
        await service.start()
    found = Detecting(settings, catalogue, reloader, metrics, app, server.port)
    try:
        yield found
    finally:
        await found.client.close()
        for service in (server, reloader, catalogue):
            await service.stop()
