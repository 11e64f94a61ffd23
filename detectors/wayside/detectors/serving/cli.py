"""`wayside detect`: serve fitted detectors over HTTP, or one of them from Kafka.

Invariant: every artifact is read and verified before a port is opened or a consumer group joined; sinks start before
what feeds them, and stop after it.
"""

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence

from threadpoolctl import threadpool_limits

from wayside.detectors.serving.answering import Answering
from wayside.detectors.serving.catalogue import Catalogue
from wayside.detectors.serving.event_route import EventRoute
from wayside.detectors.serving.judging_sink import JudgingSink
from wayside.detectors.serving.metrics import ServiceMetrics
from wayside.detectors.serving.opening import Opening, verdict_sink
from wayside.detectors.serving.reload import Reloader, ReloadMetrics
from wayside.detectors.serving.reply_terms import Reworded
from wayside.detectors.serving.server import AppServer
from wayside.detectors.serving.settings import DetectSettings, make_parser, parse
from wayside.eventing.command import run_command, run_until_signalled
from wayside.eventing.http.admin import AdminServer, View
from wayside.eventing.kafka.options import Pull, open_source
from wayside.eventing.sink import Lifecycle, Sink

__all__ = ["main", "parse", "serve"]

log = logging.getLogger("wayside.detectors")


def _parser() -> argparse.ArgumentParser:
    return make_parser()


async def serve(settings: DetectSettings) -> int:
    """Serve until SIGTERM or SIGINT."""
    threadpool_limits(settings.execution.threads, "blas")  # batches are small: threads would fight the event loop
    metrics = ServiceMetrics()
    opening = Opening(settings, metrics)
    catalogue = opening.catalogue()
    reloader = Reloader(catalogue, opening.reloads(), ReloadMetrics(metrics.registry), settings.reload_every_s)
    if settings.pull is None:
        return await _serve_posted(settings, catalogue, reloader, metrics)
    return await _serve_pulled(settings, settings.pull, catalogue, reloader, metrics)


async def _serve_posted(
    settings: DetectSettings, catalogue: Catalogue, reloader: Reloader, metrics: ServiceMetrics
) -> int:
    """Serve what is posted to the event port."""
    replies = _reply_sink(settings, catalogue)
    app = application(settings, catalogue, reloader, metrics, replies)
    server = AppServer(app, settings.host, settings.port)
    checks = {**catalogue.checks, "server": lambda: server.running}
    admin = AdminServer(metrics.registry, settings.admin_host, settings.admin_port, checks, _views(catalogue))
    told = _Announcement(lambda: f"{_describe(catalogue)} on port {server.port}, admin on port {admin.port}")
    sinks = [] if replies is None else [replies]
    return await run_until_signalled([*sinks, catalogue, reloader, server, admin, told])


def application(
    settings: DetectSettings,
    catalogue: Catalogue,
    reloader: Reloader,
    metrics: ServiceMetrics,
    replies: Sink | None = None,
) -> EventRoute:
    """All that the event port answers: events by the hot path, what else there is by FastAPI. `replies` stays the
    caller's, and is sent each verdict that is a reply before it is given."""
    from wayside.detectors.serving.management import Managed, bounded_management  # FastAPI, which Kafka does without

    fallback = bounded_management(Managed(catalogue, reloader, metrics, settings.terms.protocol), settings.route)
    resolve = _resolver(catalogue, settings, replies)
    return EventRoute(resolve, fallback, metrics, settings.route, settings.terms.wanted)


async def _serve_pulled(
    settings: DetectSettings, pull: Pull, catalogue: Catalogue, reloader: Reloader, metrics: ServiceMetrics
) -> int:
    """Serve what Kafka holds. A window detector has an outbox of its own for its verdicts, and replies nothing."""
    (detector,) = catalogue
    replies = verdict_sink(settings) if detector.judges_rows else None
    sink = JudgingSink(detector.answer, detector.metrics, replies, detector.types)
    source = open_source(pull, detector.name, sink, metrics.registry)
    checks, views = {**catalogue.checks, **source.checks}, {**_views(catalogue), "/source": source.view}
    admin = AdminServer(metrics.registry, settings.admin_host, settings.admin_port, checks, views)
    where = pull.subscription.address
    told = _Announcement(lambda: f"{_describe(catalogue)}, reads {where}, admin on port {admin.port}")
    return await run_until_signalled([admin, catalogue, reloader, sink, source, told], source.wait_failed)


def _reply_sink(settings: DetectSettings, catalogue: Catalogue) -> Sink | None:
    """Where adserver's --reply_url wants row verdicts beside the reply; a window detector's outbox has its own."""
    rows = any(detector.judges_rows for detector in catalogue)
    return verdict_sink(settings) if settings.terms.posts_replies and rows else None


def _resolver(
    catalogue: Catalogue, settings: DetectSettings, replies: Sink | None
) -> Callable[[str | None], Answering | None]:
    """The catalogue, or the same with every answer on adserver's terms."""
    terms = settings.terms.reply
    if replies is None and terms.change_nothing:
        return catalogue.resolve
    reworded = {detector.name: Reworded(detector, terms, replies) for detector in catalogue}

    def resolve(name: str | None) -> Answering | None:
        detector = catalogue.resolve(name)
        return None if detector is None else reworded[detector.name]

    return resolve


def _views(catalogue: Catalogue) -> Mapping[str, View]:
    return {path: view for detector in catalogue for path, view in detector.views.items()}


def _describe(catalogue: Catalogue) -> str:
    """For the log: what is served."""
    return ", ".join(f"{each.card.identity.kind} '{each.name}' (artifact {each.card.version})" for each in catalogue)


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
