"""Events as JSON lines in files of a folder, which `wayside.eventing.event_files` reads.

Invariant: an event that was accepted is on disk: every batch is synchronised before `send_batch` returns, in a thread.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.emit.event_folder import EventFolder, Rotation
from wayside.logger.emit.json_events import encode_line, wait_encoded

log = logging.getLogger("wayside.logger")
_TICK_S = 1.0


class FileSink:
    """Files begin with their first event and are closed at the rotation's size or age, and at `stop`."""

    def __init__(self, folder: Path, rotation: Rotation) -> None:
        self._folder = EventFolder(folder, rotation)
        self._lock = threading.Lock()  # a thread outlives whoever was cancelled while it waited for it
        self._rotating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises `ConfigurationError` for a folder that cannot be used."""
        try:
            await asyncio.to_thread(self._locked, self._folder.prepare)
        except OSError as exc:
            path, why = self._folder.path, exc.strerror or exc
            raise ConfigurationError(f"the folder {path} of the log url cannot be used: {why}") from exc
        self._rotating = asyncio.create_task(self._rotate())

    async def stop(self) -> None:
        if self._rotating is not None:
            self._rotating.cancel()
            await asyncio.gather(self._rotating, return_exceptions=True)
        try:
            await self._in_thread(self._folder.close)
        except SinkUnavailable as exc:
            log.warning("%s; the next logger gives its last file the final name", exc)

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        """Returns once all of them are on disk. Raises `SinkUnavailable` where the disk does not take them."""
        lines = b"".join(await wait_encoded(events, encode_line))
        await self._in_thread(lambda: self._folder.append(lines))

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await self._in_thread(self._folder.close_when_due)
            except SinkUnavailable:
                continue  # the next batch meets the same disk, and says so

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(self._locked, work)
        except OSError as exc:
            raise SinkUnavailable(f"the folder {self._folder.path}: {exc.strerror or exc}") from exc

    def _locked(self, work: Callable[[], None]) -> None:
        with self._lock:
            work()
