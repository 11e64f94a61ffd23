"""What is run for a configuration: one logger, one of several that share a port, or the supervisor of those.

Invariant: where a namespace's or a service's own settings stop a logger from starting, it starts without capture.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from wayside.eventing.command import run_until_signalled
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.sink import Lifecycle
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
        status = await _run(configuration)
    except ConfigurationError as exc:
        if not configuration.is_layered or not configuration.settings.delivery.url:
            raise
        fault = str(exc)
    else:
        _tell_at_stop(configuration)
        return status
    log.error("%s; %s", fault, CAPTURE_OFF)
    bare = replace(configuration, settings=without_capture(configuration.settings), faults=(fault,))
    status = await _run(bare)
    _tell_at_stop(bare)
    return status


def _tell_at_stop(configuration: Configuration) -> None:
    if configuration.faults:
        log.error("stopped; nothing was captured: %s", "; ".join(configuration.faults))


@contextmanager
def _starting() -> Iterator[None]:
    """What the system has against a setting's value, such as a path with a null byte, is that setting's mistake."""
    try:
        yield
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"cannot start: {exc}") from exc


class _Starting:
    """A service whose start raises no error of the system's, but `ConfigurationError`."""

    def __init__(self, service: Lifecycle) -> None:
        self._service = service

    async def start(self) -> None:
        with _starting():
            await self._service.start()

    async def stop(self) -> None:
        await self._service.stop()


async def _run(configuration: Configuration) -> int:
    settings = configuration.settings
    if configuration.place is not None:
        return await _run_one_of_several(share_of(settings, configuration.place))
    if settings.processes == 1:
        with _starting():
            services = [_Starting(PayloadLogger(settings)), _Starting(_leftovers(settings))]
        return await run_until_signalled(services)

    def command_for(place: int, port: int) -> list[str]:
        mine = f"--process={place}/{settings.processes}"
        return [sys.executable, "-m", "wayside.logger", *configuration.flags, f"--port={port}", mine]

    with _starting():
        services = [_Starting(Supervisor(settings, command_for)), _Starting(_leftovers(settings))]
    return await run_until_signalled(services)


async def _run_one_of_several(settings: LoggerSettings) -> int:
    with _starting():
        payload_logger = PayloadLogger(settings)
    line = SupervisorLine(lambda: payload_logger.admin_port)
    return await run_until_signalled([_Starting(payload_logger), line], line.wait_end)


def _leftovers(settings: LoggerSettings) -> Leftovers:
    """What former processes left in the spool's folder, sent with little memory."""
    delivery = settings.delivery
    spool = delivery.spool

    def emitter_for(folder: Path) -> Emitter:
        assert spool is not None
        alone = replace(delivery, spool=replace(spool, folder=folder), queue_bytes=_LEFTOVER_BYTES)
        return emitter_of(alone, LoggerCounts())

    return Leftovers(left_over(spool.folder, settings.processes, FILE_NAME) if spool else [], emitter_for)
