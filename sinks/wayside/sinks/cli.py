"""`wayside sink records` and `wayside sink prometheus`: sinks as services behind HTTP.

Invariant: the sink is open before the port is, and closes after it.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter

from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size, run_command, run_until_signalled
from wayside.eventing.http.admin import AdminServer, View
from wayside.eventing.http.server import ServerLimits
from wayside.eventing.sink import Sink
from wayside.sinks.prometheus import PrometheusSink
from wayside.sinks.receiver import Receiver
from wayside.sinks.record_sink import RecordSink
from wayside.sinks.records import RecordReader

ENVIRONMENT = "WAYSIDE_SINK"
_PORTS = {"records": 8640, "prometheus": 8650}
_DURATION = re.compile(r"(\d+)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Which sink, where it listens, and for the record store where and how long it keeps; None is for ever."""

    kind: str
    host: str
    port: int
    admin_host: str
    admin_port: int
    limits: ServerLimits
    data: Path | None
    retain_s: float | None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> SinkSettings:
    """Raises `ConfigurationError`."""
    chosen, rest = (argv[0], argv[1:]) if argv and argv[0] in _PORTS else (None, argv)
    arguments = parse_arguments(_parser(chosen), rest if chosen else argv, environ, ENVIRONMENT)
    assert chosen is not None, "a parser without a sink accepts --help alone"
    return SinkSettings(
        kind=chosen,
        host=arguments.host,
        port=arguments.port,
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
        limits=ServerLimits(body_bytes=arguments.body_limit),
        data=getattr(arguments, "data", None),
        retain_s=getattr(arguments, "retain", None),
    )


def _parser(kind: str | None) -> argparse.ArgumentParser:
    if kind is None:
        parser = Parser(prog="wayside sink", description="Keep records, or show verdicts to Prometheus.")
        parser.add_argument("sink", choices=sorted(_PORTS))
        return parser
    parser = Parser(prog=f"wayside sink {kind}")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where events are posted (default: 127.0.0.1)")
    add("--port", type=parse_port, default=_PORTS[kind], help=f"default: {_PORTS[kind]}")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=_PORTS[kind] + 1, help=f"default: {_PORTS[kind] + 1}")
    add("--body-limit", type=parse_size, default="32Mi", help="the largest event (default: 32Mi)")
    if kind == "records":
        add("--data", type=Path, required=True, metavar="DIR", help="the folder of records.sqlite")
        add("--retain", type=parse_duration, default="30d", help="how long records are kept: 12h, 30d, for-ever")
    return parser


def parse_duration(text: str) -> float | None:
    """Seconds of '90s', '15m', '12h' or '30d'; None for 'for-ever'."""
    match = _DURATION.fullmatch(text)
    if text == "for-ever":
        return None
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30d, nor 'for-ever'")
    return float(int(match[1]) * _SECONDS[match[2]])


async def serve(settings: SinkSettings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    registry = CollectorRegistry()
    sink, views = _sink(settings, registry)
    refused = Counter("wayside_sink_malformed", "Messages that were no CloudEvent.", registry=registry)
    receiver = Receiver(sink, settings.host, settings.port, settings.limits, refused.inc)
    admin = AdminServer(registry, settings.admin_host, settings.admin_port, views=views)
    return await run_until_signalled([sink, receiver, admin])


def _sink(settings: SinkSettings, registry: CollectorRegistry) -> tuple[Sink, Mapping[str, View]]:
    if settings.data is None:
        return PrometheusSink(registry), {}
    path = settings.data / "records.sqlite"

    def counts() -> Mapping[str, int]:
        reader = RecordReader(path)
        try:
            return asdict(reader.counts())
        finally:
            reader.close()

    return RecordSink(path, registry, settings.retain_s), {"/records": counts}


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside sink", parse, serve, argv, environ)
