"""The `wayside` command: one word chooses a service, the rest is that service's own command line.

Invariant: a service is imported only when it is asked for, so each runs with its own extra and no other.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from io import TextIOWrapper

from wayside.eventing.command import EXIT_CONFIGURATION
from wayside.eventing.errors import MissingExtra


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives, which extra it needs, and what it does in one line."""

    module: str
    extra: str
    summary: str


COMMANDS: Mapping[str, Command] = {
    "demo": Command("wayside.local.demo.cli", "local", "run the whole loop on this machine, with a model and traffic"),
    "up": Command("wayside.local.up", "local", "run the whole loop on this machine, before your model"),
    "logger": Command("wayside.logger.cli", "logger", "the payload logger: a proxy before a model server"),
    "broker": Command("wayside.eventing.broker.cli", "broker", "the embedded broker: Knative Triggers on one machine"),
    "trigger": Command(
        "wayside.eventing.triggers.cli", "broker", "tell why a Trigger does or does not fire for events"
    ),
    "events": Command(
        "wayside.eventing.broker.events.cli", "broker", "list, follow, replay and redeliver what a broker keeps"
    ),
    "fit": Command(
        "wayside.detectors.fitting.cli", "detectors", "fit and calibrate a detector on rows or logged events"
    ),
    "score": Command(
        "wayside.detectors.scoring.score_cli", "detectors", "judge the rows of a file by a fitted detector"
    ),
    "replay": Command("wayside.local.replay.cli", "local", "run a stored stretch of events through a fitted detector"),
    "detect": Command("wayside.detectors.serving.cli", "detectors", "serve a fitted detector"),
    "sink": Command("wayside.sinks.cli", "sinks", "keep records, or show verdicts to Prometheus"),
    "decode": Command("wayside.eventing.payloads.cli", "", "show what is in payloads or logged events, as JSON lines"),
    "cesql": Command(
        "wayside.eventing.cesql.cli", "", "evaluate an expression of Trigger filters, for an event or many"
    ),
    "page": Command("wayside.local.page.cli", "local", "the page on which people see it all"),
}


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command to its end; returns its exit status."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"wayside {metadata.version('wayside')}")
        return 0
    command = COMMANDS.get(name)
    if command is None:
        print(f"wayside: no command {name!r}; 'wayside --help' lists them", file=sys.stderr)
        return EXIT_CONFIGURATION
    return _run(name, command, argv[1:], environ)


def _run(name: str, command: Command, argv: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        module = import_module(command.module)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("wayside."):
            raise
        print(f"wayside {name}: {MissingExtra(f'the module {exc.name!r}', command.extra)}", file=sys.stderr)
        return EXIT_CONFIGURATION
    status: int = module.main(argv, environ)
    return status


def _help() -> str:
    lines = [f"  {name:8} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: wayside COMMAND …", "", *lines, "", "'wayside COMMAND --help' tells a command's flags."])


def entry() -> None:
    """The console script. What a terminal's encoding lacks is escaped, not a crash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:], os.environ))
