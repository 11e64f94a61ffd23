"""Sends what another number of processes left in a spool's folders, so that a changed `--processes` strands nothing.

Invariant: one folder at a time, beside the serving path; what cannot be sent before the end stays where it is.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.logger.emit.emitter import Emitter

log = logging.getLogger("wayside.logger")
_PATIENCE_S = 86_400.0  # of one flush; a longer outage begins another


class Leftovers:
    """`emitter_for` makes an emitter whose spool is in a folder."""

    def __init__(self, folders: Sequence[Path], emitter_for: Callable[[Path], Emitter]) -> None:
        self._folders = folders
        self._emitter_for = emitter_for
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._folders:
            self._task = asyncio.create_task(self._send_all())

    async def wait_sent(self) -> None:
        """Wait until nothing is left over."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send_all(self) -> None:
        for folder in self._folders:
            try:
                await self._send(folder)
            except ConfigurationError as exc:
                log.error("what is left over in %s is not sent: %s", folder, exc)

    async def _send(self, folder: Path) -> None:
        log.info("%s was left by another number of processes; what waits there is sent", folder)
        emitter = self._emitter_for(folder)
        try:
            await emitter.start()
            while emitter.spool is not None and emitter.spool.waiting:
                await emitter.stop(_PATIENCE_S)
        finally:
            await emitter.stop()
