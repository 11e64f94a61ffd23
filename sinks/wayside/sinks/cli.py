"""`wayside sink records`, `prometheus` and `elasticsearch`: sinks as services, behind HTTP or beside Kafka.

Invariant: the sink is open before events can come, and closes after the last of them.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size, run_command, run_until_signalled
from wayside.eventing.http.admin import AdminServer, Check, View
from wayside.eventing.http.server import ServerLimits
from wayside.eventing.kafka.options import Pull, add_source_arguments, open_source, pull_of
from wayside.eventing.pairs.join import JoinSettings
from wayside.eventing.sink import Sink
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.embedded.sink import RecordSink
from wayside.sinks.prometheus import PrometheusSink
from wayside.sinks.receiver import Receiver

ENVIRONMENT = "WAYSIDE_SINK"
_PORTS = {"records": 8640, "prometheus": 8650, "elasticsearch": 8660}
_DURATION = re.compile(r"(\d+)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """Which sink, where it gets its events, and what its kind needs; `retain_s` None is for ever."""

    kind: str
    host: str
    port: int
    admin_host: str
    admin_port: int
    limits: ServerLimits
    data: Path | None = None
    retain_s: float | None = None
    join: JoinSettings | None = None
    elasticsearch: ElasticsearchSettings | None = None
    pull: Pull | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    """A sink with what its admin port shows."""

    sink: Sink
    checks: Mapping[str, Check]
    views: Mapping[str, View]


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
        join=JoinSettings(timeout_s=arguments.pair_timeout) if chosen == "records" else None,
        elasticsearch=_elasticsearch(arguments) if chosen == "elasticsearch" else None,
        pull=pull_of(arguments),
    )


def _elasticsearch(arguments: argparse.Namespace) -> ElasticsearchSettings:
    return ElasticsearchSettings(
        url=arguments.url,
        index_prefix=arguments.index_prefix,
        ca_file=arguments.ca_file,
        user=arguments.user or None,
        password=arguments.password or None,
        api_key=arguments.api_key or None,
        wait_s=arguments.wait,
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
        add(
            "--pair-timeout",
            type=float,
            default=60.0,
            metavar="S",
            help="seconds of request time after which a part without its partner counts as lonely (default: 60)",
        )
    if kind == "elasticsearch":
        _add_elasticsearch_arguments(parser)
    add_source_arguments(parser, f"wayside-{kind}")
    return parser


def _add_elasticsearch_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group(
        "Elasticsearch; every user of the machine sees flags: pass secrets as WAYSIDE_SINK_PASSWORD or _API_KEY"
    ).add_argument
    add("--url", required=True, help="of Elasticsearch 8, such as https://elasticsearch:9200")
    add("--index-prefix", default="wayside", help="indices are PREFIX-records-YYYY.MM.DD, … (default: wayside)")
    add("--ca-file", type=Path, metavar="FILE", help="the certificates to trust, in place of the system's")
    add("--user", help="together with --password")
    add("--password", help="better as WAYSIDE_SINK_PASSWORD")
    add("--api-key", help="in the place of a user; better as WAYSIDE_SINK_API_KEY")


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
    opened = _open(settings, registry)
    if settings.pull is not None:
        return await _serve_pulled(settings, settings.pull, opened, registry)
    refused = Counter("wayside_sink_malformed", "Messages that were no CloudEvent.", registry=registry)
    receiver = Receiver(opened.sink, settings.host, settings.port, settings.limits, refused.inc)
    checks: Mapping[str, Check] = {**opened.checks, "receiver": lambda: receiver.listening}
    admin = AdminServer(registry, settings.admin_host, settings.admin_port, checks, opened.views)
    return await run_until_signalled([admin, opened.sink, receiver])


async def _serve_pulled(settings: SinkSettings, pull: Pull, opened: _Opened, registry: CollectorRegistry) -> int:
    source = open_source(pull, settings.kind, opened.sink, registry)
    checks, views = {**opened.checks, **source.checks}, {**opened.views, "/source": source.view}
    admin = AdminServer(registry, settings.admin_host, settings.admin_port, checks, views)
    return await run_until_signalled([admin, opened.sink, source], source.wait_failed)


def _open(settings: SinkSettings, registry: CollectorRegistry) -> _Opened:
    if settings.elasticsearch is not None:
        return _open_elasticsearch(settings.elasticsearch, registry)
    if settings.data is None:
        return _Opened(PrometheusSink(registry), {}, {})
    path = settings.data / "records.sqlite"
    sink = RecordSink(path, registry, settings.retain_s, settings=settings.join)
    return _Opened(sink, {}, {"/records": _counts_of(path)})


def _open_elasticsearch(settings: ElasticsearchSettings, registry: CollectorRegistry) -> _Opened:
    from wayside.sinks.elasticsearch.sink import ElasticsearchSink  # needs the extra `elasticsearch`

    sink = ElasticsearchSink(settings, registry)
    return _Opened(sink, {"elasticsearch": sink.ready}, {})


def _counts_of(path: Path) -> View:
    def counts() -> Mapping[str, Any]:
        reader = RecordReader(path)
        try:
            return {**asdict(reader.counts()), "parts": reader.parts()}
        finally:
            reader.close()

    return counts


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside sink", parse, serve, argv, environ)
