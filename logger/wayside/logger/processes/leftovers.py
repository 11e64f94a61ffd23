"""Sends what another number of processes left in a spool's folders, so that a changed `--processes` strands nothing.

Invariant: one folder at a time, beside the serving path; what cannot be sent before the end stays where it is. No
metric shows these events: the log has their numbers, for each folder at its end.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.logger.emit.emitter import Emitter

log = logging.getLogger("wayside.logger")


@dataclass(frozen=True, slots=True)
class Rounds:
    """How long one flush of a folder may take, and the pause before an outage that is longer begins another."""

    patience_s: float = 86_400.0
    pause_s: float = 60.0


class Leftovers:
    """`emitter_for` makes an emitter whose spool is in a folder, with counts of its own."""

    def __init__(
        self, folders: Sequence[Path], emitter_for: Callable[[Path], Emitter], rounds: Rounds | None = None
    ) -> None:
        self._rounds = rounds or Rounds()
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
        sent, dropped, is_left = 0, Counter[str](), True
        try:
            while is_left:
                emitter = self._emitter_for(folder)
                try:
                    is_left = await self._flush(emitter)
                finally:
                    await emitter.stop()
                    sent += sum(emitter.counts.sent.values())
                    for (_, reason), count in emitter.counts.dropped.items():
                        dropped[reason] += count
                if is_left:
                    await asyncio.sleep(self._rounds.pause_s)
        finally:
            _tell_end(folder, sent, dropped)

    async def _flush(self, emitter: Emitter) -> bool:
        """Send what waits as long as the patience lasts; True where something is left. A stopped emitter is done."""
        await emitter.start()
        await emitter.stop(self._rounds.patience_s)
        return emitter.spool is not None and emitter.spool.waiting > 0


def _tell_end(folder: Path, sent: int, dropped: Counter[str]) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()) if count)
    log.info("of what was left over in %s, %d events were sent, and %s dropped", folder, sent, reasons or "none")
