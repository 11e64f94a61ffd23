"""What is run for a configuration: one logger, one of several that share a port, or the supervisor of those.

Invariant: where a namespace's or a service's own settings stop a logger from starting, it starts without capture.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path

from wayside.eventing.command import run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.logger.config.configuration import CAPTURE_OFF, Configuration, without_capture
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.log_sink import emitter_of
from wayside.logger.emit.spool import FILE_NAME
from wayside.logger.processes.leftovers import Leftovers
from wayside.logger.processes.link import SupervisorLine
from wayside.logger.processes.share import left_over, share_of
from wayside.logger.processes.supervisor import Supervisor
from wayside.logger.service import PayloadLogger
from wayside.logger.settings import LoggerSettings

log = logging.getLogger("wayside.logger")
_LEFTOVER_BYTES = 8 << 20


async def serve(configuration: Configuration) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Raises `ConfigurationError` where a flag is wrong."""
    try:
        return await _run(configuration)
    except ConfigurationError as exc:
        if not configuration.is_layered or not configuration.settings.delivery.url:
            raise
        log.error("%s; %s", exc, CAPTURE_OFF)
    bare = replace(configuration, settings=without_capture(configuration.settings))
    return await _run(bare)


async def _run(configuration: Configuration) -> int:
    settings = configuration.settings
    if configuration.place is not None:
        return await _run_one_of_several(share_of(settings, configuration.place))
    if settings.processes == 1:
        return await run_until_signalled([PayloadLogger(settings), _leftovers(settings)])

    def command_for(place: int, port: int) -> list[str]:
        mine = f"--process={place}/{settings.processes}"
        return [sys.executable, "-m", "wayside.logger", *configuration.flags, f"--port={port}", mine]

    return await run_until_signalled([Supervisor(settings, command_for), _leftovers(settings)])


async def _run_one_of_several(settings: LoggerSettings) -> int:
    payload_logger = PayloadLogger(settings)
    line = SupervisorLine(lambda: payload_logger.admin_port)
    return await run_until_signalled([payload_logger, line], line.wait_end)


def _leftovers(settings: LoggerSettings) -> Leftovers:
    """What former processes left in the spool's folder, sent with little memory."""
    delivery = settings.delivery
    spool = delivery.spool

    def emitter_for(folder: Path) -> Emitter:
        assert spool is not None
        alone = replace(delivery, spool=replace(spool, folder=folder), queue_bytes=_LEFTOVER_BYTES)
        return emitter_of(alone, LoggerCounts())

    return Leftovers(left_over(spool.folder, settings.processes, FILE_NAME) if spool else [], emitter_for)
