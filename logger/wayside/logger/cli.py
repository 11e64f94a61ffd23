"""`wayside logger`, and `python -m wayside.logger` in the place of KServe's agent: the same flags, and ours.

Source: kserve/kserve cmd/agent/main.go and the injector's arguments.
Invariant: every flag of the agent is accepted or refused with a reason; none is ignored that would change what happens.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wayside.eventing.command import (
    Parser,
    parse_arguments,
    parse_bool,
    parse_port,
    parse_size,
    run_command,
    run_until_signalled,
)
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.outbound import check_event_url
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.service import PayloadLogger
from wayside.logger.settings import (
    Capture,
    Delivery,
    Identity,
    Listen,
    LoggerSettings,
    LogMode,
    SpoolSettings,
    SpoolWhenFull,
    Upstream,
)

ENVIRONMENT = "WAYSIDE_LOGGER"
CA_FOLDER = Path("/etc/tls/logger")
_GRACE_LIMIT_S = 3600
_SINGLE_DASH = re.compile(r"-[a-z][a-z-]+(=.*)?", re.ASCII | re.DOTALL)
# Duties of the agent's image that this logger does not have: accepted at their defaults, refused otherwise.
_REFUSED = {
    "enable-puller": "the multi-model puller",
    "enable-batcher": "the batcher",
    "log-store-path": "blob storage",
    "log-marshaller-url": "the marshaller",
}
_UNUSED = (
    *("log-store-format", "log-batch-size", "log-batch-interval", "log-marshaller-port", "config-dir", "model-dir"),
    *("max-batchsize", "max-latency", "probe-period"),
)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> LoggerSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), [_double_dashed(token) for token in argv], environ, ENVIRONMENT)
    _refuse_other_duties(arguments)
    if arguments.log_url:
        check_event_url(arguments.log_url)
    _check_numbers(arguments)
    settings = LoggerSettings(
        listen=Listen(arguments.host, arguments.port, arguments.admin_host, arguments.admin_port),
        upstream=Upstream(arguments.component_host, arguments.component_port),
        capture=_capture(arguments),
        identity=_identity(arguments),
        delivery=_delivery(arguments),
        grace_s=arguments.grace,
        quiet_s=arguments.quiet_period,
    )
    return replace(settings, readiness_probe=environ.get("SERVING_READINESS_PROBE", ""))


def _check_numbers(arguments: argparse.Namespace) -> None:
    if min(arguments.workers, arguments.queue_events, arguments.queue_bytes) < 1:
        raise ConfigurationError("--workers, --queue-events and --queue-bytes must be above 0")
    if not 0.01 <= arguments.send_timeout <= 900:  # what Kafka's client takes; no number lies between nan's bounds
        raise ConfigurationError("--send-timeout must be 0.01 to 900 seconds")
    if not (0 <= arguments.grace <= _GRACE_LIMIT_S and 0 <= arguments.quiet_period <= _GRACE_LIMIT_S):
        raise ConfigurationError(f"--grace and --quiet-period must be 0 to {_GRACE_LIMIT_S} seconds")


def _capture(arguments: argparse.Namespace) -> Capture:
    names = frozenset(name.strip().lower() for name in arguments.metadata_headers.split(",") if name.strip())
    return Capture(
        LogMode(arguments.log_mode or "all"), arguments.capture_limit, arguments.capture_total, metadata_headers=names
    )


def _identity(arguments: argparse.Namespace) -> Identity:
    service = ServiceKey(arguments.namespace, arguments.inference_service, arguments.component, arguments.endpoint)
    source = arguments.source_uri or f"http://localhost:{arguments.port}/"
    return Identity(source, service, _annotations(arguments.metadata_annotations))


def _delivery(arguments: argparse.Namespace) -> Delivery:
    return Delivery(
        url=arguments.log_url,
        workers=arguments.workers,
        timeout_s=arguments.send_timeout,
        queue_events=arguments.queue_events,
        queue_bytes=arguments.queue_bytes,
        ca_file=CA_FOLDER / arguments.logger_ca_cert_file,
        tls_skip_verify=arguments.logger_tls_skip_verify,
        kafka_config=arguments.kafka_config,
        spool=_spool(arguments),
    )


def _spool(arguments: argparse.Namespace) -> SpoolSettings | None:
    if not arguments.spool:
        return None
    if not arguments.log_url:
        raise ConfigurationError("--spool needs a --log-url: without one nothing is captured")
    if arguments.spool_limit < 1 << 20:
        raise ConfigurationError("--spool-limit must be 1Mi or more")
    return SpoolSettings(Path(arguments.spool), arguments.spool_limit, SpoolWhenFull(arguments.spool_when_full))


def _annotations(text: str) -> Mapping[str, str]:
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    bad = [pair[0] for pair in pairs if len(pair) != 2]
    if bad:
        raise ConfigurationError(f"--metadata-annotations: {bad[0]!r} is not key=value")
    return {key: value for key, value in pairs}


def _refuse_other_duties(arguments: argparse.Namespace) -> None:
    for flag, duty in _REFUSED.items():
        if flag == "log-marshaller-url" and arguments.log_url:
            continue  # the injector passes it wherever a ConfigMap sets one; with an http log url it does nothing
        if getattr(arguments, flag.replace("-", "_")) not in ("", False):
            raise ConfigurationError(f"--{flag}: {duty} is not part of Wayside's logger; run KServe's agent for it")


def _double_dashed(token: str) -> str:
    """Go takes `-port` for `--port`."""
    return f"-{token}" if _SINGLE_DASH.fullmatch(token) else token


def _parser() -> argparse.ArgumentParser:
    words = "A proxy before a model server that captures on the side."
    parser = Parser(prog="wayside logger", description=words, allow_abbrev=False)
    _add_kserve(parser)
    ours = parser.add_argument_group("Wayside's own")
    add = ours.add_argument
    add("--host", default="0.0.0.0", help="where clients connect (default: every interface, as a sidecar must)")
    add("--component-host", default="127.0.0.1", help="the model server's host (default: 127.0.0.1)")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=9082, help="default: 9082")
    add("--queue-events", type=int, default=100_000, help="events that may wait to be sent (default: 100000)")
    add("--queue-bytes", type=parse_size, default="64Mi", help="bytes that may wait to be sent (default: 64Mi)")
    add("--capture-limit", type=parse_size, default="10Mi", help="the largest body that is captured (default: 10Mi)")
    add("--capture-total", type=parse_size, default="128Mi", help="bytes of unfinished copies (default: 128Mi)")
    add("--send-timeout", type=float, default=10.0, help="seconds that one post may take (default: 10)")
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS) for a kafka:// log url")
    add("--spool", default="", metavar="DIR", help="a folder where events wait that cannot be sent (default: none)")
    add("--spool-limit", type=parse_size, default="1Gi", help="bytes that may wait in the spool (default: 1Gi)")
    policies = [policy.value for policy in SpoolWhenFull]
    add("--spool-when-full", choices=policies, default=policies[0], help=f"default: {policies[0]}")
    add("--quiet-period", type=float, default=5.0, help="seconds of the grace that it still takes connections (5)")
    add("--grace", type=float, default=25.0, help="seconds from SIGTERM to the end (default: 25)")
    return parser


def _add_kserve(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("as KServe's agent")
    add = group.add_argument
    add("--port", type=parse_port, default=9081, help="where clients connect (default: 9081)")
    add("--component-port", type=parse_port, default=8080, help="the model server's port (default: 8080)")
    add("--log-url", default="", help="http(s)://…, or kafka://host:9092/topic; empty: nothing is captured")
    add("--workers", type=int, default=16, help="connections to the log url (default: 16)")
    add("--source-uri", default="", help="the events' source (default: http://localhost:PORT/)")
    add("--log-mode", default="all", choices=["", "all", "request", "response"], help="what is captured (default: all)")
    for name in ("inference-service", "namespace", "endpoint", "component"):
        add(f"--{name}", default="", help=f"the events' {name.replace('-', ' ')}")
    add("--metadata-headers", default="", help="request headers that travel as metadata, with commas")
    add("--metadata-annotations", default="", help="key=value pairs that travel as annotations, with commas")
    add("--logger-ca-cert-file", default="service-ca.crt", help=f"a CA file in {CA_FOLDER} for an https log url")
    add("--logger-tls-skip-verify", type=parse_bool, nargs="?", const=True, default=False, help="true or false")
    for name in ("enable-puller", "enable-batcher"):
        add(f"--{name}", type=parse_bool, nargs="?", const=True, default=False, help=argparse.SUPPRESS)
    for name in ("log-store-path", "log-marshaller-url", *_UNUSED):
        add(f"--{name}", default="", help=argparse.SUPPRESS)


async def serve(settings: LoggerSettings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    return await run_until_signalled([PayloadLogger(settings)])


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside logger", parse, serve, argv, environ)
