"""`wayside trigger test`: which Triggers let which events pass, and why: as JSON lines.

Source: Knative Eventing v1; what decides is the code that the broker and the Kafka source run.
Invariant: one line on stdout for each Trigger and each event that can be read; exit status 2 where a manifest is wrong,
or any event could not be read. Nothing is sent and no address is resolved.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.command import EXIT_CONFIGURATION, EXIT_FAILED, Parser, parse_arguments
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import Refusal
from wayside.eventing.stdout_lines import print_lines
from wayside.eventing.triggers.destinations import RefHosts, Resolver
from wayside.eventing.triggers.documents import read_documents
from wayside.eventing.triggers.event_lines import read_event_file
from wayside.eventing.triggers.firing import Firing
from wayside.eventing.triggers.manifests import Trigger, manifests_of
from wayside.eventing.triggers.names import BrokerName
from wayside.eventing.triggers.trigger_choice import choose_trigger

ENVIRONMENT = "WAYSIDE_TRIGGER"
_EPILOG = """\
Each line says whether one Trigger lets one event pass, and because of what:
  {"trigger": "...", "event": "<its id>", "passes": false, "because": "filters[0]: exact: type is 'a', not 'b'"}
The name of the Trigger has its namespace before it where the files hold several. Where the files hold no Broker, every
Trigger's is taken to be there; where they hold some, a Trigger of another one gets nothing. Subscribers are not
called, and refs need not resolve.

Exit status: 0; 2 where a manifest is wrong (with file, line and column) or an event cannot be read (with its line)."""


@dataclass(frozen=True, slots=True)
class TriggerTestSettings:
    """The files of manifests, the files of events ("-" is stdin), and which Trigger and broker it is about, if one."""

    manifests: tuple[Path, ...]
    events: tuple[str, ...]
    trigger: str | None = None
    broker: BrokerName | None = None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> TriggerTestSettings:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, ENVIRONMENT)
    return TriggerTestSettings(
        tuple(path for paths in arguments.file for path in paths),
        tuple(arguments.events),
        arguments.trigger,
        arguments.broker,
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="wayside trigger",
        description="Why does my Trigger not fire? Asks Broker and Trigger YAML about events, and sends nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("action", choices=["test"], help="what to do")
    add("-f", "--file", required=True, action="append", type=_paths, metavar="PATH[,PATH...]",
        help="Trigger (and Broker) YAML, a file or a folder; may be repeated")  # fmt: skip
    add("-e", "--events", required=True, action="append", metavar="FILE",
        help="events in CloudEvents JSON, one a line, or logged events; - is stdin; may be repeated")  # fmt: skip
    add("--trigger", metavar="T", help="look at this Trigger alone: NAME, NAMESPACE/NAME or NAMESPACE/BROKER/NAME")
    add("--broker", type=_broker, metavar="[NAMESPACE/]NAME", help="the broker that the events are posted to")
    return parser


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(","))


def _broker(text: str) -> BrokerName:
    namespace, _, name = text.rpartition("/")
    if not name or "/" in namespace:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME")
    return BrokerName(namespace or "default", name)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    try:
        settings = parse(argv, environ)
        manifests = manifests_of(list(read_documents(settings.manifests)), Resolver(RefHosts()), orphans=True)
        firing = Firing(manifests, settings.broker)
        shown = _chosen(firing, settings)
        return max(_report(name, firing, shown) for name in settings.events)
    except ConfigurationError as exc:
        return _complain(str(exc))
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the interpreter's last flush fail
        return EXIT_FAILED


def _chosen(firing: Firing, settings: TriggerTestSettings) -> Sequence[Trigger]:
    """The Triggers to look at. Raises `ConfigurationError` where none is meant, or several may be."""
    if not firing.triggers:
        raise ConfigurationError(f"no Trigger in {', '.join(map(str, settings.manifests))}")
    if settings.trigger is None:
        return firing.triggers
    chosen = choose_trigger(settings.trigger, [one.name for one in firing.triggers])
    return [one for one in firing.triggers if one.name == chosen]


def _report(name: str, firing: Firing, triggers: Sequence[Trigger]) -> int:
    """Print the lines of one file of events; returns the exit status. An event that cannot be read loses no other."""
    status = 0
    for event in read_event_file(name):
        if isinstance(event, Refusal):
            status = _complain(f"{name}: {event.reason}")
            continue
        for trigger in triggers:
            _print_line(firing, trigger, event)
    return status


def _print_line(firing: Firing, trigger: Trigger, event: CloudEvent) -> None:
    passes, because = firing.ask(trigger, event)
    line = {"trigger": firing.label(trigger), "event": event.id, "passes": passes, "because": because}
    print_lines([json.dumps(line, ensure_ascii=False)])


def _complain(reason: str) -> int:
    print(f"wayside trigger: {reason}", file=sys.stderr)
    return EXIT_CONFIGURATION
