"""`wayside events`: what a broker keeps: listed, followed, replayed to a Trigger, redelivered as dead letters.

Invariant: events and summaries go to stdout, all else to stderr: JSON lines off a terminal, columns and words on one.
Exit status 0; 1 where the broker cannot be asked or not all was shown; 2 where what is asked is wrong.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wayside.eventing.broker.events import commands
from wayside.eventing.broker.events.instants import parse_instant
from wayside.eventing.broker.events.source import Wanted
from wayside.eventing.command import EXIT_FAILED, Parser, parse_arguments, run_command
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.url import Url

ENVIRONMENT = "WAYSIDE_EVENTS"
DEFAULT_ADMIN = "http://127.0.0.1:8611"
EXIT_INTERRUPTED = 130
_TAIL_LIMIT = 1_000
_OVERVIEW = """\
usage: wayside events list|tail|replay|redeliver [flags]

  list       the events that a broker keeps, or its dead letters
  tail       the newest events, then those that come
  replay     deliver events that are kept to a Trigger once more, by its filter of now
  redeliver  deliver dead letters once more

Of a broker that runs: --admin URL, or WAYSIDE_EVENTS_ADMIN (default: http://127.0.0.1:8611). list also reads a data
folder (--data DIR). Events are kept until they are settled and --retain of `wayside broker` is over.
'wayside events COMMAND --help' tells a command's flags."""
_TIMES = """
TIME is RFC 3339 (2026-11-21T17:00:00Z) or an age (90s, 30m, 2h, 7d): so long ago. It is when the broker received an
event, not the event's own `time`: the log is in the order of arrival, and every event has arrived."""
_TRIGGER = "NAME, NAMESPACE/NAME or NAMESPACE/BROKER/NAME"


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """What is asked, and of whom. `positions`: of dead letters, None for all."""

    action: str
    admin: str
    wanted: Wanted = field(default_factory=Wanted)
    data: Path | None = None
    full: bool = False
    limit: int | None = None
    newest_first: bool = False
    after: int | None = None
    dry_run: bool = False
    positions: tuple[int, ...] | None = None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> EventsSettings:
    """Raises `ConfigurationError`."""
    action = argv[0] if argv else ""
    if action not in _FLAGS:
        raise ConfigurationError(f"say which: {', '.join(_FLAGS)}, not {action!r} (see 'wayside events --help')")
    parser = Parser(prog=f"wayside events {action}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admin", default=DEFAULT_ADMIN, type=_url, metavar="URL",
                        help=f"the broker's admin port (default: {DEFAULT_ADMIN})")  # fmt: skip
    _FLAGS[action](parser)
    given = vars(parse_arguments(parser, argv[1:], environ, ENVIRONMENT))
    names = ("since", "until", "trigger", "type", "source", "dead_letters")
    wanted = Wanted(with_data=given.get("full", False), **{name: given.pop(name) for name in names if name in given})
    positions = given.pop("positions", None)
    return EventsSettings(action, wanted=wanted, positions=positions and tuple(positions), **given)


def _add_span(parser: argparse.ArgumentParser, required: bool = False) -> None:
    parser.epilog = _TIMES
    add = parser.add_argument
    add("--from", dest="since", required=required, type=_instant, metavar="TIME", help="received at TIME or later")
    add("--to", dest="until", type=_instant, metavar="TIME", help="received before TIME")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--trigger", metavar="T", help=f"events that matched this Trigger, or were replayed to it: {_TRIGGER}")
    add("--type", metavar="TYPE", help="events of this type")
    add("--source", metavar="SOURCE", help="events of this source")
    add("--full", action="store_true", help="whole events in CloudEvents JSON, one a line, on a terminal too")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.description = "The events that a broker keeps, oldest first, and how each stands with its Triggers."
    _add_span(parser)
    _add_choice(parser)
    add = parser.add_argument
    add("--dead-letters", action="store_true", help="events that are dead letters, with the reason")
    add("--newest-first", action="store_true", help="in the other order")
    add("-n", "--limit", type=_positive, metavar="N", help="so many at most (default: all)")
    add("--data", type=Path, metavar="DIR", help="read a broker's data folder, whether it runs or not, and not --admin")


def _add_tail(parser: argparse.ArgumentParser) -> None:
    parser.description = "The newest events, then those that come, until SIGINT, SIGTERM, or nobody reads any more."
    _add_choice(parser)
    parser.add_argument("-n", "--limit", type=_some, default=20, metavar="N",
                        help=f"so many to begin with, {_TAIL_LIMIT} at most (default: 20)")  # fmt: skip


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Deliver events that are kept to a Trigger once more: those that its filter passes now, whether it was there"
        " when they came or not. Left alone is what waits for it anyway, and its dead letters."
    )
    _add_span(parser, required=True)
    add = parser.add_argument
    add("--trigger", required=True, metavar="T", help=f"the Trigger: {_TRIGGER}")
    add("--after", type=_whole, metavar="N", help="past this position alone, as a replay that was cut short tells it")
    add("--dry-run", action="store_true", help="count, and deliver nothing")


def _add_redeliver(parser: argparse.ArgumentParser) -> None:
    parser.description = "Deliver dead letters once more, with new attempts. What fails again is a dead letter again."
    add = parser.add_argument
    add("--trigger", metavar="T", help=f"those of this Trigger alone: {_TRIGGER} (default: of all)")
    add("--position", dest="positions", type=_whole, nargs="+", action="extend", metavar="N",
        help="those at these positions alone, as `list --dead-letters` tells them")  # fmt: skip


_FLAGS: Mapping[str, Callable[[argparse.ArgumentParser], None]] = {
    "list": _add_list,
    "tail": _add_tail,
    "replay": _add_replay,
    "redeliver": _add_redeliver,
}


def _url(text: str) -> str:
    try:
        return Url.parse(text).text
    except ConfigurationError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _instant(text: str) -> str:
    """Checked here, and read by whoever has the events, by one clock."""
    try:
        parse_instant(text, 0)
    except ConfigurationError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return text


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text[:64]!r} is not a whole number")
    return int(text)


def _some(text: str) -> int:
    if _whole(text) > _TAIL_LIMIT:
        raise argparse.ArgumentTypeError(f"{text} is more than {_TAIL_LIMIT}: `wayside events list` shows all")
    return _whole(text)


def _positive(text: str) -> int:
    if _whole(text) == 0:
        raise argparse.ArgumentTypeError("0 is not a number from 1")
    return _whole(text)


def serve(settings: EventsSettings) -> Awaitable[int]:
    """Do what is asked; gives the exit status."""
    wanted, limit = settings.wanted, settings.limit
    if settings.action == "tail":
        return commands.follow(settings.admin, wanted, settings.full, limit or 0)
    if settings.action == "list":
        place = settings.admin if settings.data is None else settings.data
        return commands.show_list(place, wanted, commands.Form(settings.full, settings.newest_first, limit))
    if settings.action == "replay":
        return commands.replay(settings.admin, wanted, settings.after, settings.dry_run)
    return commands.redeliver(settings.admin, wanted.trigger, settings.positions)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    if argv and argv[0] in ("-h", "--help"):
        print(_OVERVIEW)
        return 0
    try:
        return run_command("wayside events", parse, serve, argv, environ)
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the interpreter's last flush fail
        return 0 if argv[0] == "tail" else EXIT_FAILED
    except KeyboardInterrupt:
        print("wayside events: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
