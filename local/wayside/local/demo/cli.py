"""`wayside demo`, which `scripts/demo` calls once the environments are made.

Invariant: exit status 0 means that every phase was seen for what it is and every count balances.
"""

import argparse
import asyncio
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.command import Parser, parse_arguments, parse_port, run_command
from wayside.local.demo.prepare import WELL_KNOWN_PORTS, DemoSettings
from wayside.local.demo.run import repository, run_demo

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class DemoCommand:
    """What to run; `once` ends after the summary. `started_s` (epoch) is when the person gave the command."""

    demo: DemoSettings
    once: bool
    started_s: float


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DemoCommand:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, "WAYSIDE_DEMO")
    ports = dict(WELL_KNOWN_PORTS)
    if arguments.base_port:
        ports = {name: arguments.base_port + 2 * number for number, name in enumerate(WELL_KNOWN_PORTS)}
    checkout = repository()
    state = arguments.state or checkout / ".state" / "demo"
    settings = DemoSettings(state.resolve(), checkout, ports, seed=arguments.seed)
    return DemoCommand(settings, arguments.once, float(environ.get("WAYSIDE_DEMO_STARTED") or time.time()))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="scripts/demo", description="The whole loop on this machine, with a model and traffic.")
    add = parser.add_argument
    add("--once", action="store_true", help="end after the summary: exit 0, or 1 where something was missed")
    add("--state", type=Path, metavar="DIR", help="the folder of stores, artifacts and logs (default: .state/demo)")
    add(
        "--base-port", type=parse_port, default=0, metavar="PORT", help="use the ports from here on, not the usual ones"
    )
    add("--seed", type=int, default=20261121, help="of every random draw (default: 20261121)")
    return parser


async def serve(command: DemoCommand) -> int:
    """Run to the end, or until SIGINT or SIGTERM; returns the exit status."""
    logging.getLogger("wayside").setLevel(logging.ERROR)  # the processes have logs of their own
    run = asyncio.ensure_future(run_demo(command.demo, command.once, command.started_s))
    for number in (signal.SIGINT, signal.SIGTERM):
        # the first alone: a second would cut short the stop of every process
        asyncio.get_running_loop().add_signal_handler(number, lambda: run.cancelling() or run.cancel())
    try:
        return await run
    except asyncio.CancelledError:
        return INTERRUPTED


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside demo", parse, serve, argv, environ)
