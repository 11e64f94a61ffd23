"""Events as JSON lines on standard output, for whatever collects a container's output. The log goes to standard error.

Invariant: a reader that is slow or stuck blocks a thread of the sink's own, which does not outlive the process, and
never the loop; at most one batch is being written.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.emit.json_events import encode_line, wait_encoded

_Write = tuple[bytes, "asyncio.Future[None]"]


class StdoutSink:
    """Writes to a file descriptor, which stays the caller's to close."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._writes: SimpleQueue[_Write | None] | None = None

    async def start(self) -> None:
        self._writes = SimpleQueue()
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._write_all, args=(self._writes, loop), name="stdout", daemon=True)
        thread.start()

    async def stop(self) -> None:
        """A batch that is being written goes on; nobody waits for it."""
        writes, self._writes = self._writes, None
        if writes is not None:
            writes.put(None)

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        """Returns once all lines are written. Raises `SinkUnavailable` where nobody reads them any more."""
        if self._writes is None:
            raise SinkUnavailable("standard output is not open")
        lines = b"".join(await wait_encoded(events, encode_line))
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writes.put((lines, written))
        await written

    def _write_all(self, writes: "SimpleQueue[_Write | None]", loop: asyncio.AbstractEventLoop) -> None:
        while (write := writes.get()) is not None:
            lines, written = write
            error: SinkUnavailable | None = None
            try:
                _write_whole(self._descriptor, lines)
            except OSError as exc:
                error = SinkUnavailable(f"standard output cannot be written: {exc.strerror}")
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_resolve, written, error)


def _write_whole(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _resolve(written: "asyncio.Future[None]", error: SinkUnavailable | None) -> None:
    if written.done():
        return  # whoever waited was cancelled
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
