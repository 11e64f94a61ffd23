"""`wayside detect`: serve a fitted detector; the artifact's kind chooses the row or the window service.

Invariant: the artifact is read and verified before a port is opened.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from wayside.detectors.artifact import Artifact, check_name, load_artifact
from wayside.detectors.batching import BatchLimits
from wayside.detectors.drift_service import DriftDetector, DriftService
from wayside.detectors.drift_store import DriftStore
from wayside.detectors.ingress import Ingress, IngressLimits
from wayside.detectors.judge import RowJudge, restore_window_detector
from wayside.detectors.metrics import DetectorMetrics
from wayside.detectors.outbox import Backoff, Outbox
from wayside.detectors.row_service import RowService
from wayside.detectors.server import AppServer
from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size, run_command, run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.admin import AdminServer, Check, View
from wayside.eventing.http.client import Url
from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.sink import Lifecycle

log = logging.getLogger("wayside.detectors")
ENVIRONMENT = "WAYSIDE_DETECT"
_SINK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What to serve and where. `data` and `sink_url` are for window detectors; row detectors keep nothing."""

    artifact: Path
    name: str | None
    host: str
    port: int
    admin_host: str
    admin_port: int
    data: Path | None
    sink_url: str | None
    retain_windows: int
    batch: BatchLimits
    ingress: IngressLimits


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DetectSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    if arguments.batch_rows < 1 or not 0 <= arguments.batch_wait_ms <= 1000 or arguments.retain_windows < 1:
        raise ConfigurationError("--batch-rows and --retain-windows are at least 1, --batch-wait-ms is 0 to 1000")
    return DetectSettings(
        artifact=arguments.artifact,
        name=check_name(arguments.name) if arguments.name else None,
        host=arguments.host,
        port=arguments.port,
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
        data=arguments.data,
        sink_url=Url.parse(arguments.sink_url).text if arguments.sink_url else None,
        retain_windows=arguments.retain_windows,
        batch=BatchLimits(rows=arguments.batch_rows, wait_s=arguments.batch_wait_ms / 1000),
        ingress=IngressLimits(body_bytes=arguments.body_limit),
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside detect", description="Serve a detector that 'wayside fit' made.")
    add = parser.add_argument
    add("--artifact", required=True, type=Path, metavar="DIR", help="the folder that 'wayside fit --out' wrote")
    add("--name", help="the detector's name in its verdicts (default: the one it was fitted under)")
    add("--host", default="127.0.0.1", help="where events are posted (default: 127.0.0.1)")
    add("--port", type=parse_port, default=8620, help="default: 8620")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=8621, help="default: 8621")
    add("--data", type=Path, metavar="DIR", help="the folder of a window detector's journal")
    add("--sink-url", metavar="URL", help="where a window detector posts its verdicts, such as the broker")
    add("--retain-windows", type=int, default=1000, help="windows whose values are kept (default: 1000)")
    add("--batch-rows", type=int, default=2048, help="rows scored in one call at most (default: 2048)")
    add("--batch-wait-ms", type=float, default=1.0, help="a shared batch waits so long for company (default: 1)")
    add("--body-limit", type=parse_size, default="16Mi", help="bytes of one event at most (default: 16Mi)")
    return parser


async def serve(settings: DetectSettings) -> int:
    """Serve until SIGTERM or SIGINT."""
    threadpool_limits(1, "blas")  # batches are small: a BLAS of many threads only fights the event loop for cores
    artifact = load_artifact(settings.artifact)
    metrics = DetectorMetrics()
    service: RowService | DriftService
    views: dict[str, View] = {}
    if artifact.is_window_detector:
        service, store = _drift_service(artifact, settings, metrics)
        views["/windows"] = store.view
    else:
        service = RowService(RowJudge.of(artifact), artifact.identity(settings.name), metrics, settings.batch)
    app = Ingress(service.answer, metrics, settings.ingress).app
    server = AppServer(app, settings.host, settings.port)
    checks: dict[str, Check] = {**service.checks, "server": lambda: server.running}
    admin = AdminServer(metrics.registry, settings.admin_host, settings.admin_port, checks, views)
    return await run_until_signalled([service, server, admin, _Announcement(artifact, server, admin)])


def _drift_service(
    artifact: Artifact, settings: DetectSettings, metrics: DetectorMetrics
) -> tuple[DriftService, DriftStore]:
    if settings.data is None or settings.sink_url is None:
        raise ConfigurationError(
            f"{artifact.kind} judges windows: it needs --data, the folder of its journal, and --sink-url, where its"
            " verdicts go"
        )
    detector, size = restore_window_detector(artifact)
    identity = artifact.identity(settings.name)
    store = DriftStore(settings.data, identity.name, detector.features)
    outbox = Outbox(store, HttpEventSink(settings.sink_url, _SINK_TIMEOUT_S), metrics, Backoff())
    drift = DriftDetector(detector, identity, size, settings.retain_windows)
    return DriftService(drift, store, outbox, metrics), store


class _Announcement(Lifecycle):
    """One line that says what is served where, once everything is up."""

    def __init__(self, artifact: Artifact, server: AppServer, admin: AdminServer) -> None:
        self._artifact = artifact
        self._server = server
        self._admin = admin

    async def start(self) -> None:
        what = f"{self._artifact.kind} '{self._artifact.name}', digest {self._artifact.digest[:12]}"
        log.info("%s takes events on port %d, admin on port %d", what, self._server.port, self._admin.port)

    async def stop(self) -> None:
        log.info("stopping")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside detect", parse, serve, argv, environ)
