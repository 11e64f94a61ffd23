"""`wayside up`: the single-machine composition before a model server of the user's own.

Invariant: nothing here knows the demo; the demo is this composition with a model and traffic around it.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from wayside.eventing.command import Parser, parse_arguments, run_command, run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.options import parse_wait_s
from wayside.local.composition import Composition, compose, load_composition
from wayside.local.console import Steps
from wayside.local.processes import Process, processes
from wayside.local.services import Services, elasticsearch_settings
from wayside.local.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What to run, and what of it is not ours to start."""

    composition: Composition
    services: Services
    wait_s: float


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> UpSettings:
    """The composition of a file, with what the flags change. Raises `ConfigurationError`."""
    arguments = parse_arguments(_parser(), argv, environ, "WAYSIDE_UP")
    if arguments.file is None and arguments.upstream is None:
        raise ConfigurationError("name your model server, --upstream http://127.0.0.1:8080, or a file, -f wayside.yaml")
    composition = load_composition(arguments.file) if arguments.file else compose({}, Path(), "wayside up")
    composition = _changed(composition, arguments)
    return UpSettings(composition, _services(composition, environ), arguments.wait)


def _services(composition: Composition, environ: Mapping[str, str]) -> Services:
    kafka, elsewhere = composition.kafka, composition.elasticsearch
    elasticsearch = elasticsearch_settings(elsewhere.url, elsewhere.index_prefix, environ) if elsewhere else None
    return Services(kafka.servers, kafka.config, elasticsearch) if kafka else Services(elasticsearch=elasticsearch)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="wayside up", description="Run the whole loop on this machine, before your model server.")
    parser.add_argument("-f", "--file", type=Path, help="the composition; see examples/wayside.yaml")
    parser.add_argument("--upstream", help="your model server, such as http://127.0.0.1:8080")
    parser.add_argument("--service", help="the name of your inference service (default: model)")
    parser.add_argument("--state", type=Path, help="the folder of stores and logs (default: .state/up)")
    parser.add_argument("--wait", type=parse_wait_s, default="60s", help="for Kafka and Elasticsearch (default: 60s)")
    return parser


def _changed(composition: Composition, arguments: argparse.Namespace) -> Composition:
    given = {name: getattr(arguments, name) for name in ("upstream", "service", "state")}
    changes = {name: value for name, value in given.items() if value is not None}
    return compose({**composition.model_dump(), **changes}, Path(), "wayside up") if changes else composition


async def serve(settings: UpSettings) -> int:
    """Run until SIGINT or SIGTERM; returns the exit status."""
    await settings.services.wait(settings.wait_s)
    console = Console()
    children = processes(settings.composition)
    steps = Steps(console, "starting", len(children))

    def told(process: Process) -> None:
        steps.done(process.name)

    supervisor = Supervisor(children, settings.composition.state / "logs", told)
    return await run_until_signalled([_Shown(supervisor, steps, console, children)])


class _Shown:
    """A supervisor whose start is shown, with the addresses after it."""

    def __init__(self, supervisor: Supervisor, steps: Steps, console: Console, children: list[Process]) -> None:
        self._supervisor = supervisor
        self._steps = steps
        self._console = console
        self._children = children

    async def start(self) -> None:
        with self._steps.showing():
            await self._supervisor.start()
        for process in self._children:
            self._console.print(f"  {process.name:<12} {process.serves}", markup=False, highlight=False)
        self._console.print("Send your requests to the logger's address; Ctrl-C stops everything.")

    async def stop(self) -> None:
        await self._supervisor.stop()


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status."""
    return run_command("wayside up", parse, serve, argv, environ)
