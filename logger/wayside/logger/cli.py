"""`wayside logger`, and `python -m wayside.logger` in the place of KServe's agent: the same flags, and ours.

Source: kserve/kserve cmd/agent/main.go and the injector's arguments.
Invariant: every flag of the agent is accepted, or handed to KServe's own agent; none is ignored that would change what
happens.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence

from wayside.eventing.command import EXIT_CONFIGURATION, run_command
from wayside.eventing.errors import ConfigurationError, MissingExtra
from wayside.logger.config import options
from wayside.logger.config.configuration import CAPTURE_OFF, Configuration, configuration_of
from wayside.logger.config.kserve_agent import AgentCommand, agent_command
from wayside.logger.settings import LoggerSettings

log = logging.getLogger("wayside.logger")
NAME = "wayside logger"


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> LoggerSettings:
    """The settings alone. Raises `ConfigurationError`."""
    return configuration_of(argv, environ).settings


def _parser() -> argparse.ArgumentParser:
    return options.parser()


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command; returns its exit status, unless KServe's agent takes this process over."""
    command = agent_command(argv, environ)
    if command is not None:
        return _run_agent(command, environ)

    async def run(configuration: Configuration) -> int:
        _tell(configuration)
        return await _serve(configuration)

    return run_command(NAME, configuration_of, run, argv, environ)


async def _serve(configuration: Configuration) -> int:
    try:
        from wayside.logger.serving import serve  # what it brings, KServe's agent and `parse` do without
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("wayside."):
            raise
        raise MissingExtra(f"the module {exc.name!r}", "logger") from exc
    return await serve(configuration)


def _run_agent(command: AgentCommand, environ: Mapping[str, str]) -> int:
    for note in command.notes:
        print(f"{NAME}: {note}", file=sys.stderr, flush=True)
    try:
        command.replace_process(environ)
    except ConfigurationError as exc:
        print(f"{NAME}: {exc}", file=sys.stderr)
        return EXIT_CONFIGURATION


def _tell(configuration: Configuration) -> None:
    if configuration.place is None:
        for note in configuration.notes:
            log.warning("%s", note)
        for fault in configuration.faults:
            log.error("%s; %s", fault, CAPTURE_OFF)
