"""What `wayside detect` is told: its flags, or the environment, as one checked value.

Invariant: settings are whole and make sense before anything is read or opened; what only the artifacts can tell (their
kinds, widths, names) is checked when they are opened.
"""

import argparse
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wayside.detectors.artifacts.artifact import Artifact, check_name
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.serving.answering import PLAIN, Wanted
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.reply_terms import OWN_TERMS, ReplyTerms
from wayside.detectors.serving.request_body import RouteLimits
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.command import Parser, parse_arguments, parse_port, parse_size
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.options import Pull, add_source_arguments, pull_of
from wayside.eventing.outbound import check_event_url
from wayside.eventing.pairs.join import JoinSettings

ENVIRONMENT = "WAYSIDE_DETECT"
_NAMED = re.compile(r"([a-z0-9][-a-z0-9]*)=(.+)", re.ASCII | re.DOTALL)
_MOST_ARTIFACTS = 64
_MOST_ROWS = 1 << 20
_MOST_THREADS = 64
_LEAST_RELOAD_S = 1.0


@dataclass(frozen=True, slots=True)
class ArtifactAt:
    """Where an artifact lies, and the name that its detector has here; None leaves it the one it was fitted under."""

    uri: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What only adserver's command line and environment can ask for: what replies say, and that they are posted to
    `sink_url` too; what is wanted of every verdict; the types of the requests, None for those of `side`; the protocol
    that is told; and a check of the artifact once it is known, which raises `ConfigurationError`."""

    reply: ReplyTerms = OWN_TERMS
    posts_replies: bool = False
    wanted: Wanted = PLAIN
    request_types: Container[str] | None = None
    protocol: str | None = None
    check: Callable[[Artifact], None] | None = None


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """What to serve and where. `data` is for detectors that keep state; others keep nothing.

    `default` names the detector that `POST /` is for where there are several. `side` says which events' rows are
    judged; `join` is for pairs, of a request with its response. `pull` says what is read from Kafka, and then no event
    port is opened. `sink_url` takes the verdicts that are no reply to a post: all of a window detector's, and with
    `pull` a row detector's too. `kafka_config` is for it, too. `windows` and `remember_s` bound what a window detector
    holds. `reload_every_s` None looks for no new artifact.
    """

    artifacts: tuple[ArtifactAt, ...]
    default: str | None
    host: str
    port: int
    admin_host: str
    admin_port: int
    data: Path | None
    sink_url: str | None
    pull: Pull | None
    kafka_config: Path | None
    windows: WindowLimits
    remember_s: float
    batch: BatchLimits
    route: RouteLimits
    side: Side
    join: JoinSettings
    execution: Execution
    reload_every_s: float | None
    terms: Terms = field(default_factory=Terms)

    @property
    def types(self) -> Container[str]:
        """Of the events that are judged."""
        told = self.terms.request_types if self.side is Side.REQUEST else None
        return self.side.types if told is None else told


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DetectSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(make_parser(), argv, environ, ENVIRONMENT)
    _check_numbers(arguments)
    artifacts = _artifacts(arguments)
    return DetectSettings(
        artifacts=artifacts,
        default=check_name(arguments.default) if arguments.default else None,
        host=arguments.host,
        port=arguments.port,
        admin_host=arguments.admin_host,
        admin_port=arguments.admin_port,
        data=arguments.data,
        sink_url=check_event_url(arguments.sink_url) if arguments.sink_url else None,
        pull=_pull(arguments, artifacts),
        kafka_config=arguments.kafka_config,
        windows=_window_limits(arguments),
        remember_s=arguments.remember,
        batch=BatchLimits(max_batch_rows=arguments.max_batch_rows, max_wait_ms=arguments.max_wait_ms),
        route=RouteLimits(
            body_bytes=arguments.body_limit, inflated_bytes=arguments.body_limit, rows=arguments.max_rows
        ),
        side=Side(arguments.on),
        join=JoinSettings(timeout_s=arguments.pair_timeout, limit_bytes=arguments.pair_bytes),
        execution=_execution(arguments),
        reload_every_s=arguments.reload_every,
    )


def _check_numbers(arguments: argparse.Namespace) -> None:
    for flag, value, least, most in (
        ("--max-batch-rows", arguments.max_batch_rows, 1, _MOST_ROWS),
        ("--max-wait-ms", arguments.max_wait_ms, 0, 1000),
        ("--key-rows", arguments.key_rows, 2, 1 << 30),
        ("--keys", arguments.keys, 1, 1 << 16),
        ("--idle-after", arguments.idle_after, 1, 366 * 86400),
        ("--remember", arguments.remember, 1, 366 * 86400),
        ("--threads", arguments.threads, 1, _MOST_THREADS),
        ("--body-limit", arguments.body_limit, 1, 1 << 30),
        ("--max-rows", arguments.max_rows, 1, _MOST_ROWS),
        ("--reload-every", arguments.reload_every, _LEAST_RELOAD_S, 86400),
    ):
        if value is not None and not least <= value <= most:  # NaN is in no range
            raise ConfigurationError(f"{flag} is {least:g} to {most:g}, not {value:g}")


def _artifacts(arguments: argparse.Namespace) -> tuple[ArtifactAt, ...]:
    found = [_artifact(text) for text in arguments.artifact]
    if len(found) > _MOST_ARTIFACTS:
        raise ConfigurationError(f"{len(found)} detectors are more than the {_MOST_ARTIFACTS} that one process serves")
    names = [artifact.name for artifact in found]
    if len(found) > 1 and None in names:
        raise ConfigurationError("several artifacts need names, by which events are posted: --artifact NAME=URI")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two artifacts have one name: {', '.join(map(str, names))}")
    if arguments.name:
        if len(found) > 1 or names[0] is not None:
            raise ConfigurationError("--name is for a single --artifact URI: several are named as --artifact NAME=URI")
        found = [ArtifactAt(found[0].uri, check_name(arguments.name))]
    return tuple(found)


def _artifact(text: str) -> ArtifactAt:
    named = _NAMED.fullmatch(text)
    if named is not None:
        return ArtifactAt(named[2], check_name(named[1]))
    if not text:
        raise ConfigurationError("--artifact is empty: name a folder or a URI")
    return ArtifactAt(text)


def _pull(arguments: argparse.Namespace, artifacts: Sequence[ArtifactAt]) -> Pull | None:
    name = artifacts[0].name
    if arguments.source and len(artifacts) > 1:
        raise ConfigurationError("--source feeds one detector: run a process, with a group of its own, for each")
    if arguments.source and not arguments.group and not name:
        raise ConfigurationError("--source needs --name or --group: the replicas of a detector share its group")
    arguments.group = arguments.group or f"wayside-{name}"
    pull = pull_of(arguments)
    if pull is not None and not arguments.sink_url:
        raise ConfigurationError("--source needs --sink-url, where verdicts go, such as kafka://host:9092/topic")
    return pull


def _execution(arguments: argparse.Namespace) -> Execution:
    return Execution(Device(arguments.device), arguments.threads, arguments.trust_pickle, arguments.alibi_python)


def _window_limits(arguments: argparse.Namespace) -> WindowLimits:
    return WindowLimits(
        key_rows=arguments.key_rows,
        key_bytes=arguments.key_bytes,
        all_bytes=arguments.all_bytes,
        keys=arguments.keys,
        idle_s=arguments.idle_after,
    )


def make_parser() -> argparse.ArgumentParser:
    """The flags of `wayside detect`."""
    parser = Parser(prog="wayside detect", description="Serve detectors that 'wayside fit' made.")
    add = parser.add_argument
    add("--artifact", required=True, action="append", metavar="[NAME=]URI",
        help="a folder that 'wayside fit --out' wrote, or file://, s3://, gs://, pvc://, hf://, http(s)://; repeat it"
        " as NAME=URI for several detectors, which take events at /detectors/NAME")  # fmt: skip
    add("--name", help="the detector's name in its verdicts (default: the one it was fitted under)")
    add("--default", metavar="NAME", help="which of several detectors takes what is posted to /")
    add(
        "--on",
        choices=[side.value for side in Side],
        default=Side.REQUEST.value,
        help="judge inputs (default) or predictions; or, by a window detector, inputs beside predictions, the p-values"
        " of a row detector's verdicts, or the errors that feedback tells",
    )
    _add_listening(parser)
    _add_execution(parser)
    _add_state(parser)
    add_source_arguments(parser, None, "wayside-NAME")
    return parser


def _add_listening(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where events are posted (default: 127.0.0.1)")
    add("--port", type=parse_port, default=8620, help="default: 8620")
    add("--admin-host", default="127.0.0.1", help="of health, readiness and metrics (default: 127.0.0.1)")
    add("--admin-port", type=parse_port, default=8621, help="default: 8621")
    add("--body-limit", type=parse_size, default="16Mi", help="bytes of one event, inflated, at most (default: 16Mi)")
    add("--max-rows", type=int, default=RouteLimits().rows, help="rows of one event at most (default: 100000)")


def _add_execution(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    devices = [device.value for device in Device]
    add("--max-batch-rows", type=int, default=2048, help="rows scored in one call at most (default: 2048)")
    add("--max-wait-ms", type=float, default=1.0, help="a shared batch waits so long for company (default: 1)")
    add("--device", choices=devices, default=Device.CPU.value, help="what scores networks (default: cpu)")
    add("--threads", type=int, default=1, help="of one scoring call (default: 1)")
    add("--trust-pickle", action="store_true", help="load detectors of alibi-detect's, whose files can run code")
    add("--alibi-python", metavar="FILE", help="the interpreter that has alibi-detect (default: this one)")
    add("--reload-every", type=float, metavar="S", help="look for a new artifact so often (default: on SIGHUP alone)")


def _add_state(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="the folder of a detector that keeps state: its rows and windows")
    add(
        "--sink-url",
        metavar="URL",
        help="where a window detector's verdicts go, and with --source all: a broker, or kafka://host:9092/topic",
    )
    _add_window_limits(parser)
    add("--pair-timeout", type=float, default=60.0, metavar="S", help="a part of a pair waits so long (default: 60)")
    add("--pair-bytes", type=parse_size, default="256Mi", help="room for parts that wait (default: 256Mi)")


def _add_window_limits(parser: argparse.ArgumentParser) -> None:
    add, limits = parser.add_argument, WindowLimits()
    add("--key-rows", type=int, default=limits.key_rows, help="rows of a key in open windows (default: 1048576)")
    add("--key-bytes", type=parse_size, default=limits.key_bytes, help="bytes of such rows of a key (default: 256Mi)")
    add("--all-bytes", type=parse_size, default=limits.all_bytes, help="bytes of such rows of all keys (default: 1Gi)")
    add("--keys", type=int, default=limits.keys, help="keys that have windows at once (default: 1024)")
    add("--idle-after", type=float, default=limits.idle_s, metavar="S",
        help="a key without events for so long, by event time, is given up (default: 604800, a week)")  # fmt: skip
    add("--remember", type=float, default=limits.idle_s, metavar="S",
        help="an event is known again for so long, by event time (default: 604800, a week)")  # fmt: skip
