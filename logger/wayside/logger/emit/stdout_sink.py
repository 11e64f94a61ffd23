"""Events as JSON lines on standard output, for whatever collects a container's output. The log goes to standard error.

Invariant: a reader that is slow or stuck blocks a thread of the sink's own, which does not outlive the process, and
never the loop; at most one batch is being written. A line that could not be written whole is ended before the next.
"""

import asyncio
import os
import select
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
        output = _Output(self._descriptor)
        while (write := writes.get()) is not None:
            lines, written = write
            error: SinkUnavailable | None = None
            try:
                output.write(lines)
            except OSError as exc:
                error = SinkUnavailable(f"standard output cannot be written: {exc.strerror}")
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_resolve, written, error)


class _Output:
    """Writes whole lines to a descriptor, which may be one that does not block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_torn = False

    def write(self, lines: bytes) -> None:
        """Raises `OSError`; what follows then begins with a line of its own."""
        rest = memoryview(b"\n" + lines if self._is_torn else lines)
        while rest:
            count = self._write_some(rest)
            rest = rest[count:]
            self._is_torn = bool(rest) and (self._is_torn or count > 0)

    def _write_some(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()


def _resolve(written: "asyncio.Future[None]", error: SinkUnavailable | None) -> None:
    if written.done():
        return  # whoever waited was cancelled
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
