"""`wayside broker`: the embedded broker as a command.

Invariant: manifests are read, checked and resolved before the store is opened or a port is taken.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from wayside.eventing.broker.events.instants import parse_age_s
from wayside.eventing.broker.service import BrokerService, BrokerSettings
from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size, run_command, run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url

ENVIRONMENT = "WAYSIDE_BROKER"


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> BrokerSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    return BrokerSettings(
        data=arguments.data,
        manifests=tuple(path for paths in arguments.manifest for path in paths),
        resolve={name: url for pairs in arguments.resolve for name, url in pairs},
        host=arguments.host,
        port=arguments.port,
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
        in_flight=arguments.in_flight,
        retain_s=arguments.retain,
        store_limit_bytes=arguments.store_limit,
        body_limit_bytes=arguments.body_limit,
        connections=arguments.connections,
        in_flight_bytes=arguments.in_flight_bytes,
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside broker", description="Deliver CloudEvents by Knative Triggers, on one machine.")
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DIR", help="the folder of the store")
    add("--manifest", required=True, action="append", type=_paths, metavar="PATH[,PATH…]",
        help="Broker and Trigger YAML, files or folders, read again when they change; may be repeated")  # fmt: skip
    add("--resolve", action="append", default=[], type=_resolutions, metavar="NAME=URL[,…]",
        help="where a ref's NAME, or NAMESPACE/NAME, is; may be repeated")  # fmt: skip
    add("--host", default="127.0.0.1", help="where events are posted (default: 127.0.0.1)")
    add("--port", type=parse_port, default=8610, help="default: 8610")
    add("--admin-host", default="127.0.0.1", help="of health, metrics and views (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=8611, help="default: 8611")
    add("--in-flight", type=_positive, default=32, help="deliveries at once to one subscriber (default: 32)")
    add("--in-flight-bytes", type=_positive_size, default="256Mi",
        help="of events that Triggers hold in memory, all together (default: 256Mi)")  # fmt: skip
    add("--retain", type=_age_s, default="24h", help="how long a settled event is kept, such as 30m (default: 24h)")
    add("--store-limit", type=_positive_size, default="1Gi", help="bytes of events kept at most (default: 1Gi)")
    add("--body-limit", type=_positive_size, default="16Mi", help="bytes of one event at most (default: 16Mi)")
    add("--connections", type=_positive, default=1024, help="of senders, at most; one more gets 503 (default: 1024)")
    return parser


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(","))


def _resolutions(text: str) -> tuple[tuple[str, Url], ...]:
    return tuple(_resolution(part) for part in text.split(","))


def _resolution(text: str) -> tuple[str, Url]:
    name, equals, url = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=URL")
    try:
        return name, Url.parse(url)
    except ConfigurationError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _positive_size(text: str) -> int:
    return parse_size(text) or _positive(text)


def _age_s(text: str) -> float:
    age_s = parse_age_s(text)
    if age_s is None:
        raise argparse.ArgumentTypeError(f"{text[:64]!r} is not an age such as 24h, 30m or 90s")
    return age_s


async def serve(settings: BrokerSettings) -> int:
    """Serve until SIGTERM or SIGINT. Raises `WaysideError` where the store is damaged."""
    service = BrokerService(settings)
    return await run_until_signalled([service], service.wait_failed)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside broker", parse, serve, argv, environ)
