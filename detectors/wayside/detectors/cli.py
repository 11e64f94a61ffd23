"""`wayside detect`: serve a fitted detector over HTTP, or from Kafka; its kind chooses the row or the window service.

Invariant: the artifact is read and verified before a port is opened or a consumer group joined.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from wayside.detectors.artifact import Artifact, check_name, load_artifact
from wayside.detectors.batching import BatchLimits
from wayside.detectors.drift_service import DriftDetector, DriftService
from wayside.detectors.drift_store import DriftStore
from wayside.detectors.event_rows import Side
from wayside.detectors.ingress import Ingress, IngressLimits
from wayside.detectors.intake import Intake, PairIntake, SideIntake
from wayside.detectors.judge import RowJudge, restore_window_detector
from wayside.detectors.judging_sink import JudgingSink
from wayside.detectors.metrics import DetectorMetrics
from wayside.detectors.outbox import Outbox
from wayside.detectors.row_service import RowService
from wayside.detectors.server import AppServer
from wayside.eventing.backoff import Backoff
from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size, run_command, run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.admin import AdminServer, Check, View
from wayside.eventing.kafka.options import Pull, add_source_arguments, open_source, pull_of
from wayside.eventing.outbound import check_event_url, event_sink
from wayside.eventing.pairs.join import JoinSettings
from wayside.eventing.sink import Lifecycle, Sink

log = logging.getLogger("wayside.detectors")
ENVIRONMENT = "WAYSIDE_DETECT"
_SINK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What to serve and where. `data` is for window detectors; row detectors keep nothing.

    `side` says which events' rows are judged; `join` is for pairs, of a request with its response.
    `pull` says what is read from Kafka, and then no event port is opened. `sink_url` takes the verdicts that are no
    reply to a post: all of a window detector's, and with `pull` a row detector's too. `kafka_config` is for it, too.
    """

    artifact: Path
    name: str | None
    host: str
    port: int
    admin_host: str
    admin_port: int
    data: Path | None
    sink_url: str | None
    pull: Pull | None
    kafka_config: Path | None
    retain_windows: int
    batch: BatchLimits
    ingress: IngressLimits
    side: Side
    join: JoinSettings


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
        sink_url=check_event_url(arguments.sink_url) if arguments.sink_url else None,
        pull=_pull(arguments),
        kafka_config=arguments.kafka_config,
        retain_windows=arguments.retain_windows,
        batch=BatchLimits(rows=arguments.batch_rows, wait_s=arguments.batch_wait_ms / 1000),
        ingress=IngressLimits(body_bytes=arguments.body_limit),
        side=Side(arguments.on),
        join=JoinSettings(timeout_s=arguments.pair_timeout, limit_bytes=arguments.pair_bytes),
    )


def _pull(arguments: argparse.Namespace) -> Pull | None:
    if arguments.source and not arguments.group and not arguments.name:
        raise ConfigurationError("--source needs --name or --group: the replicas of a detector share its group")
    arguments.group = arguments.group or f"wayside-{arguments.name}"
    pull = pull_of(arguments)
    if pull is not None and not arguments.sink_url:
        raise ConfigurationError("--source needs --sink-url, where verdicts go, such as kafka://host:9092/topic")
    return pull


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside detect", description="Serve a detector that 'wayside fit' made.")
    add = parser.add_argument
    add("--artifact", required=True, type=Path, metavar="DIR", help="the folder that 'wayside fit --out' wrote")
    add("--name", help="the detector's name in its verdicts (default: the one it was fitted under)")
    add(
        "--on",
        choices=[side.value for side in Side],
        default=Side.REQUEST.value,
        help="judge inputs, predictions, or a window detector inputs beside predictions (default: request)",
    )
    add("--pair-timeout", type=float, default=60.0, metavar="S", help="a part of a pair waits so long (default: 60)")
    add("--pair-bytes", type=parse_size, default="256Mi", help="room for parts that wait (default: 256Mi)")
    add("--host", default="127.0.0.1", help="where events are posted (default: 127.0.0.1)")
    add("--port", type=parse_port, default=8620, help="default: 8620")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=8621, help="default: 8621")
    add("--data", type=Path, metavar="DIR", help="the folder of a window detector's rows and windows")
    add(
        "--sink-url",
        metavar="URL",
        help="where a window detector's verdicts go, and with --source all: a broker, or kafka://host:9092/topic",
    )
    add("--retain-windows", type=int, default=1000, help="windows whose values are kept (default: 1000)")
    add("--batch-rows", type=int, default=2048, help="rows scored in one call at most (default: 2048)")
    add("--batch-wait-ms", type=float, default=1.0, help="a shared batch waits so long for company (default: 1)")
    add("--body-limit", type=parse_size, default="16Mi", help="bytes of one event at most (default: 16Mi)")
    add_source_arguments(parser, None, "wayside-NAME")
    return parser


@dataclass(frozen=True, slots=True)
class _Detector:
    """A detector's service with what is shown of it."""

    artifact: Artifact
    service: RowService | DriftService
    metrics: DetectorMetrics
    views: Mapping[str, View]

    def describe(self, where: str) -> str:
        """For the log: what it is, and where it has its events from."""
        return f"{self.artifact.kind} '{self.artifact.name}', digest {self.artifact.digest[:12]}, {where}"


async def serve(settings: DetectSettings) -> int:
    """Serve until SIGTERM or SIGINT."""
    threadpool_limits(1, "blas")  # batches are small: a BLAS of many threads only fights the event loop for cores
    detector = _open(load_artifact(settings.artifact), settings)
    if settings.pull is None:
        return await _serve_posted(settings, detector)
    return await _serve_pulled(settings, settings.pull, detector)


def _open(artifact: Artifact, settings: DetectSettings) -> _Detector:
    metrics = DetectorMetrics()
    if artifact.is_window_detector:
        service, store = _drift_service(artifact, settings, metrics)
        return _Detector(artifact, service, metrics, {"/windows": store.view})
    if settings.side is Side.PAIR:
        raise ConfigurationError(
            f"{artifact.kind} judges rows and keeps nothing, and a pair's first part would have to wait on a volume:"
            " serve it --on request or --on response"
        )
    rows = RowService(RowJudge.of(artifact), artifact.identity(settings.name), metrics, settings.batch)
    return _Detector(artifact, rows, metrics, {})


async def _serve_posted(settings: DetectSettings, detector: _Detector) -> int:
    """Serve what is posted to the event port."""
    service, metrics = detector.service, detector.metrics
    ingress = Ingress(service.answer, metrics, settings.ingress, settings.side.types)
    server = AppServer(ingress.app, settings.host, settings.port)
    checks: dict[str, Check] = {**service.checks, "server": lambda: server.running}
    admin = AdminServer(metrics.registry, settings.admin_host, settings.admin_port, checks, detector.views)
    told = _Announcement(
        lambda: detector.describe(f"takes events on port {server.port}, admin on port {admin.port}"),
    )
    return await run_until_signalled([service, server, admin, told])


async def _serve_pulled(settings: DetectSettings, pull: Pull, detector: _Detector) -> int:
    """Serve what Kafka holds. A window detector has an outbox of its own for its verdicts, and replies nothing."""
    service, metrics = detector.service, detector.metrics
    replies = None if isinstance(service, DriftService) else _verdict_sink(settings)
    name = detector.artifact.identity(settings.name).name
    sink = JudgingSink(service.answer, metrics, replies, settings.side.types)
    source = open_source(pull, name, sink, metrics.registry)
    checks, views = {**service.checks, **source.checks}, {**detector.views, "/source": source.view}
    admin = AdminServer(metrics.registry, settings.admin_host, settings.admin_port, checks, views)
    told = _Announcement(lambda: detector.describe(f"reads {pull.subscription.address}, admin on port {admin.port}"))
    return await run_until_signalled([admin, service, sink, source, told], source.wait_failed)


def _verdict_sink(settings: DetectSettings) -> Sink:
    assert settings.sink_url is not None, "checked when the command line was parsed"
    return event_sink(settings.sink_url, _SINK_TIMEOUT_S, settings.kafka_config)


def _drift_service(
    artifact: Artifact, settings: DetectSettings, metrics: DetectorMetrics
) -> tuple[DriftService, DriftStore]:
    if settings.data is None or settings.sink_url is None:
        raise ConfigurationError(
            f"{artifact.kind} judges windows: it needs --data, the folder of its rows and windows, and --sink-url,"
            " where its verdicts go"
        )
    detector, size = restore_window_detector(artifact)
    identity = artifact.identity(settings.name)
    store = DriftStore(settings.data, identity.name, detector.features, settings.side)
    outbox = Outbox(store, _verdict_sink(settings), metrics, Backoff(limit_s=15.0))
    drift = DriftDetector(detector, identity, size, settings.retain_windows)
    return DriftService(drift, store, outbox, metrics, _intake(settings, store, detector.features, metrics)), store


def _intake(settings: DetectSettings, store: DriftStore, features: int, metrics: DetectorMetrics) -> Intake:
    if settings.side is Side.PAIR:
        return PairIntake(store, features, settings.join, metrics)
    return SideIntake(store, features)


class _Announcement(Lifecycle):
    """One line that says what is served where, once everything is up."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line

    async def start(self) -> None:
        log.info("%s", self._line())

    async def stop(self) -> None:
        log.info("stopping")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside detect", parse, serve, argv, environ)
