"""`wayside page`: serve the page on which people see the whole loop.

Invariant: every source is optional; a panel whose source was not named says which flag names it.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from wayside.detectors.serving.server import AppServer
from wayside.eventing.clock import SystemClock
from wayside.eventing.command import Parser, parse_arguments, parse_port, run_command, run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.config import load_config
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.sink import Lifecycle
from wayside.local.carriers import KafkaCarrier
from wayside.local.page.app import make_app
from wayside.local.page.files import Files
from wayside.local.page.sources import AdminPorts, AdminReader
from wayside.local.page.state import LiveState, PageMetrics

log = logging.getLogger("wayside.page")
ENVIRONMENT = "WAYSIDE_PAGE"


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Where to serve and what to read."""

    host: str
    port: int
    records: Path | None
    ledger: Path | None
    admin: AdminPorts
    allowed_hosts: tuple[str, ...]


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> PageSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    drift = _split(arguments.drift_admin)
    kafka = _kafka(arguments.subscription, arguments.kafka_config)
    return PageSettings(
        host=arguments.host,
        port=arguments.port,
        records=arguments.records,
        ledger=arguments.ledger,
        admin=AdminPorts(
            logger=_url(arguments.logger_admin),
            broker=_url(arguments.broker_admin),
            drift=tuple(map(Url.parse, drift)),
            kafka=kafka,
        ),
        allowed_hosts=_split(arguments.allow_host),
    )


def _split(values: Sequence[str]) -> tuple[str, ...]:
    """A flag given several times, or once with commas, as the environment has it."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _url(text: str | None) -> Url | None:
    return Url.parse(text) if text else None


def _kafka(subscriptions: Sequence[str], config: Path | None) -> KafkaCarrier | None:
    """Each subscription is GROUP=kafka://servers/topic,topic."""
    if not subscriptions:
        return None
    parsed = []
    for text in subscriptions:
        group, _, address = text.partition("=")
        if not group or not address:
            raise ConfigurationError(f"--subscription {text!r}: give GROUP=kafka://host:9092/topic")
        parsed.append(Subscription(parse_address(address), group))
    return KafkaCarrier(parsed, load_config(config))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside page", description="Serve the page on which people see the whole loop.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="default: 127.0.0.1")
    add("--port", type=parse_port, default=8600, help="default: 8600")
    add("--records", type=Path, metavar="FILE", help="the record store that 'wayside sink records' keeps")
    add("--logger-admin", metavar="URL", help="the logger's admin port, such as http://127.0.0.1:9082")
    add("--broker-admin", metavar="URL", help="the broker's admin port, such as http://127.0.0.1:8611")
    add(
        "--subscription",
        metavar="GROUP=URL",
        action="append",
        default=[],
        help="with Kafka, in the broker's place: a group and its topics, kafka://host:9092/topic; may be repeated",
    )
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings, as key=value lines")
    add("--drift-admin", metavar="URL", action="append", default=[], help="a detector's admin port; may be repeated")
    add("--ledger", type=Path, metavar="FILE", help="the demo's ledger: its phases, faults and the client's latency")
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a further name that browsers may call the page by; may be repeated",
    )
    return parser


async def serve(settings: PageSettings) -> int:
    """Serve until SIGTERM or SIGINT."""
    clock, metrics = SystemClock(), PageMetrics(CollectorRegistry())
    files = Files(settings.records, settings.ledger, clock)
    state = LiveState(AdminReader(settings.admin), files, clock, metrics)
    server = AppServer(make_app(state, metrics, settings.allowed_hosts), settings.host, settings.port)
    return await run_until_signalled([state, server, _Announcement(server)])


class _Announcement(Lifecycle):
    """One line that says where the page is, once it is there."""

    def __init__(self, server: AppServer) -> None:
        self._server = server

    async def start(self) -> None:
        log.info("the page is at http://%s:%d", self._server.host, self._server.port)

    async def stop(self) -> None:
        log.info("stopping")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside page", parse, serve, argv, environ)
