"""`wayside demo`, which `scripts/demo` calls once the environments are made.

Invariant: exit status 0 means that every phase was seen for what it is and every count balances.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from wayside.eventing.command import Parser, parse_arguments, parse_port, run_command
from wayside.eventing.http.url import Url
from wayside.eventing.kafka.address import parse_servers
from wayside.eventing.kafka.options import parse_wait_s
from wayside.local.demo.alone import prepare_alone, send_for_ever
from wayside.local.demo.faults import NotRecovered
from wayside.local.demo.prepare import WELL_KNOWN_PORTS, DemoSettings
from wayside.local.demo.run import repository, run_demo
from wayside.local.demo.scenario import SCENARIOS
from wayside.local.readings import NotReadable
from wayside.local.services import elasticsearch_settings
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class DemoCommand:
    """What to run; `once` ends after the summary. `started_s` (epoch) is when the person gave the command.

    `only` names the one part to run: `prepare`, or `traffic` to the logger at `target`; empty for the whole demo, which
    waits `wait_s` at most for services that it is given.
    """

    demo: DemoSettings
    once: bool
    started_s: float
    only: str = ""
    target: str = ""
    wait_s: float = 15.0


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> DemoCommand:
    """Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, "WAYSIDE_DEMO")
    ports = dict(WELL_KNOWN_PORTS)
    if arguments.base_port:
        ports = {name: arguments.base_port + 2 * number for number, name in enumerate(WELL_KNOWN_PORTS)}
    checkout = Path() if arguments.only else repository()
    state = (arguments.state or checkout / ".state" / "demo").resolve()
    settings = DemoSettings(
        state=state,
        repository=checkout,
        ports=ports,
        model=arguments.model,
        seed=arguments.seed,
        kafka=parse_servers(arguments.kafka) if arguments.kafka else "",
        kafka_config=arguments.kafka_config,
        elasticsearch=_elasticsearch(arguments.elasticsearch, environ),
    )
    started_s = float(environ.get("WAYSIDE_DEMO_STARTED") or time.time())
    target = Url.parse(arguments.target).text
    return DemoCommand(settings, arguments.once, started_s, arguments.only, target, arguments.wait)


def _elasticsearch(url: str, environ: Mapping[str, str]) -> ElasticsearchSettings | None:
    return elasticsearch_settings(url, "wayside", environ) if url else None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="scripts/demo", description="The whole loop on this machine, with a model and traffic.")
    add = parser.add_argument
    add("--once", action="store_true", help="end after the summary: exit 0, or 1 where something was missed")
    add("--state", type=Path, metavar="DIR", help="the folder of stores, artifacts and logs (default: .state/demo)")
    add(
        "--base-port", type=parse_port, default=0, metavar="PORT", help="use the ports from here on, not the usual ones"
    )
    add("--kafka", default="", metavar="HOST:PORT", help="let events travel over this Kafka, not the embedded broker")
    add("--kafka-config", type=Path, metavar="FILE", help="librdkafka's settings (SASL, TLS), as key=value lines")
    add("--elasticsearch", default="", metavar="URL", help="keep records here too, and compare them at the end")
    add("--wait", type=parse_wait_s, default="15s", help="how long to wait for these two (default: 15s)")
    add(
        "--only", default="", choices=["prepare", "traffic"], help="one part alone: fit the detectors, or send for ever"
    )
    add("--target", default="http://127.0.0.1:9081", metavar="URL", help="the logger that --only traffic sends to")
    add(
        "--model",
        choices=list(SCENARIOS),
        default="digits",
        help="pictures, or a table of named columns (default: digits)",
    )
    add("--seed", type=int, default=20261121, help="of every random draw (default: 20261121)")
    return parser


async def serve(command: DemoCommand) -> int:
    """Run to the end, or until SIGINT or SIGTERM; returns the exit status."""
    run = asyncio.ensure_future(_run(command))
    for number in (signal.SIGINT, signal.SIGTERM):
        # the first alone: a second would cut short the stop of every process
        asyncio.get_running_loop().add_signal_handler(number, lambda: run.cancelling() or run.cancel())
    try:
        return await run
    except asyncio.CancelledError:
        return INTERRUPTED


async def _run(command: DemoCommand) -> int:
    if command.only == "prepare":
        return await prepare_alone(command.demo, Console())
    if command.only == "traffic":
        return await send_for_ever(command.demo, command.target, Console())
    await command.demo.services.wait(command.wait_s)
    logging.getLogger("wayside").setLevel(logging.ERROR)  # the processes have logs of their own
    failure: BaseException
    try:
        return await run_demo(command.demo, command.once, command.started_s)
    except* (NotRecovered, NotReadable) as group:  # the traffic and the faults run side by side
        failure = _first(group)
    print(f"wayside demo: {failure}", file=sys.stderr)
    return 1


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside demo", parse, serve, argv, environ)
