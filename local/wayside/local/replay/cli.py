"""`wayside replay`: what a fitted detector says of a stored stretch of events, as fast as it goes.

Invariant: exit status 0 means that every event of the stretch had its fate and every verdict its line; 1 that writing
ended early, 2 that nothing was replayed, 130 that it was interrupted, and one line says why. Verdicts go to stdout or a
file, all else to stderr.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from threadpoolctl import threadpool_limits

from wayside.detectors.artifacts.artifact import check_name
from wayside.detectors.artifacts.locations import open_artifact
from wayside.detectors.data.console import EXIT_INTERRUPTED, OutputFailed, leave_stdout
from wayside.detectors.data.event_logs.files import event_files, read_logged
from wayside.detectors.drift.settings import WindowLimits
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.tabular.event_rows import Side
from wayside.eventing.broker.events.instants import parse_instant
from wayside.eventing.clock import SystemClock
from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments, parse_size
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.kafka.address import is_kafka_url, parse_address
from wayside.eventing.kafka.config import load_config
from wayside.eventing.kafka.declarations import Declarations, parse_declarations
from wayside.local.replay.broker_log import is_broker_folder, read_broker_log
from wayside.local.replay.kafka_range import KafkaRange, parse_offsets, read_kafka
from wayside.local.replay.output import STDOUT, check_target, open_events
from wayside.local.replay.record_store import read_records, records_file
from wayside.local.replay.replaying import ReplaySettings, replaying_of
from wayside.local.replay.run import Account, Wanted, replay, summary
from wayside.local.replay.stored import Span, Stored

ENVIRONMENT = "WAYSIDE_REPLAY"
_SIDES = [side.value for side in Side if side is not Side.PAIR]
Source = Path | KafkaRange


@dataclass(frozen=True, slots=True)
class ReplayCommand:
    """Which artifact judges what of which sources, and where its verdicts go."""

    artifact: str
    sources: tuple[Source, ...]
    span: Span
    settings: ReplaySettings
    out: str


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> ReplayCommand:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    sources = _sources(arguments)
    out = check_target(arguments.out, [source for source in sources if isinstance(source, Path)])
    return ReplayCommand(arguments.artifact, sources, _span(arguments), _settings(arguments), out)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside replay", description="Run a stored stretch of events through a fitted detector.")
    add, limits, settings = parser.add_argument, WindowLimits(), ReplaySettings()
    add("artifact", metavar="ARTIFACT", help="a folder, or a URI as 'wayside detect --artifact' takes")
    add("source", nargs="+", metavar="SOURCE",
        help="a broker's --data folder; JSON (lines) of CloudEvents, what the logger's store keeps, or a folder of"
        " these; records.sqlite; kafka://host:9092/topic. Several are read one after the other")  # fmt: skip
    add("--on", choices=_SIDES, default=Side.REQUEST.value, help="which events are judged (default: request)")
    add("--name", help="the detector's name in its verdicts (default: the one it was fitted under)")
    add("--from-time", metavar="TIME", help="take events whose request came then or later: 2026-11-21T17:00:00Z, or 7d")
    add("--to-time", metavar="TIME", help="take events whose request came before: a time, or an age such as 2h")
    add("--out", default=STDOUT, metavar="FILE.jsonl|-", help="where verdicts and alerts go (default: -, stdout)")
    _add_kafka(parser)
    add("--key-rows", type=int, default=limits.key_rows, help="as of the service; so the next five")
    add("--key-bytes", type=parse_size, default=limits.key_bytes)
    add("--all-bytes", type=parse_size, default=limits.all_bytes)
    add("--keys", type=int, default=limits.keys)
    add("--idle-after", type=float, default=limits.idle_s, metavar="S")
    add("--remember", type=float, default=settings.remember_s, metavar="S")
    add("--device", choices=[each.value for each in Device], default=Device.CPU.value,
        help="what scores graphs (default: cpu)")  # fmt: skip
    add("--threads", type=int, default=1, help="of one scoring call (default: 1)")
    add("--trust-pickle", action="store_true", help="for kind alibi: allow loading files that can run code")
    add("--alibi-python", metavar="PATH", help="for kind alibi: the interpreter that has alibi-detect")
    return parser


def _add_kafka(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("events from Kafka").add_argument
    add("--offsets", metavar="PARTITION[:FIRST-END],…",
        help="which offsets, such as 0:1000-2000,1:50- (default: all that the topic holds)")  # fmt: skip
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS), as key=value lines")
    add("--plain", action="append", default=[], metavar="[TOPIC=]WHAT[,…]",
        help="what records that are no CloudEvents are, as 'wayside detect' takes it")  # fmt: skip


def _sources(arguments: argparse.Namespace) -> tuple[Source, ...]:
    plain, config = parse_declarations(arguments.plain), load_config(arguments.kafka_config)
    sources = tuple(_source(text, arguments.offsets, config, plain) for text in arguments.source)
    topics = [source for source in sources if isinstance(source, KafkaRange)]
    if arguments.offsets and len(topics) != 1:
        raise ConfigurationError("--offsets are of one topic: name one SOURCE kafka://host:9092/topic")
    return sources


def _source(text: str, offsets: str | None, config: Mapping[str, str], plain: Declarations) -> Source:
    if is_kafka_url(text):
        return KafkaRange(parse_address(text), parse_offsets(offsets) if offsets else (), config, plain)
    if not Path(text).exists():
        raise ConfigurationError(f"there is no {text}: name a folder or a file of events, or kafka://host:9092/topic")
    return Path(text)


def _span(arguments: argparse.Namespace) -> Span:
    now_ns = SystemClock().time_ns()
    given = (arguments.from_time, arguments.to_time)
    return Span(*(None if text is None else parse_instant(text, now_ns) for text in given))


def _settings(arguments: argparse.Namespace) -> ReplaySettings:
    _check_numbers(arguments)
    return ReplaySettings(
        side=Side(arguments.on),
        name=check_name(arguments.name) if arguments.name else None,
        limits=WindowLimits(
            *(arguments.key_rows, arguments.key_bytes, arguments.all_bytes, arguments.keys, arguments.idle_after)
        ),
        remember_s=arguments.remember,
        execution=Execution(
            Device(arguments.device), arguments.threads, arguments.trust_pickle, arguments.alibi_python
        ),
    )


def _check_numbers(arguments: argparse.Namespace) -> None:
    for flag, value, least in (
        ("--key-rows", arguments.key_rows, 2),
        ("--keys", arguments.keys, 1),
        ("--idle-after", arguments.idle_after, 1),
        ("--remember", arguments.remember, 1),
        ("--threads", arguments.threads, 1),
    ):
        if not least <= value <= 1 << 30:  # NaN is in no range
            raise ConfigurationError(f"{flag} {value:g}: give {least} or more")


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replay, write, and say what came of it; returns the exit status."""
    command = None
    try:
        command = parse(argv, environ)
        _replay(command)
    except BrokenPipeError:  # whoever read the lines has seen enough
        leave_stdout()
        return EXIT_FAILED
    except OutputFailed as exc:
        if command is not None and command.out == STDOUT:
            leave_stdout()
        return _complain(str(exc), EXIT_FAILED)
    except WaysideError as exc:
        return _complain(str(exc), EXIT_CONFIGURATION)
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    return 0


def _replay(command: ReplayCommand) -> None:
    artifact, settings = open_artifact(command.artifact), command.settings
    started_s = time.monotonic()
    with open_events(command.out) as emit, closing(replaying_of(artifact, settings, emit)) as detector:
        stored = chain.from_iterable(read_source(source, settings.side) for source in command.sources)
        with threadpool_limits(settings.execution.threads, "blas"):  # as a service: last digits depend on it
            account = replay(stored, Wanted(settings.side.types, command.span), detector, time.monotonic, _say)
        _check_some(account, detector.rows)
    for line in summary(account, detector, time.monotonic() - started_s):
        _say(line)


def read_source(source: Source, side: Side) -> Iterator[Stored]:
    """The events of one source, in its order. Raises `ConfigurationError` where it cannot be read."""
    if isinstance(source, KafkaRange):
        yield from read_kafka(source)
    elif is_broker_folder(source):
        yield from read_broker_log(source)
    elif (records := records_file(source)) is not None:
        yield from read_records(records, side.value)
    else:
        for file in event_files(source):
            yield from (Stored(*logged) for logged in read_logged(file))


def _check_some(account: Account, rows: int) -> None:
    if not rows:
        raise ConfigurationError(f"there is nothing to judge: {'; '.join(account.lines())}")


def _say(line: str) -> None:
    print(f"wayside replay: {line}", file=sys.stderr)


def _complain(reason: str, status: int) -> int:
    _say(reason)
    return status
