"""The second process as the logger holds it: started, spoken to in pieces that never hold up the loop, and ended.

Invariant: at most `_PIECE_BYTES` are read between two turns of the event loop, and a write that would wait leaves the
loop to others; whoever started a child ends it.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from wayside.logger.redaction.frames import PREFIX_BYTES, Frame, lengths

_COMMAND: Final = (sys.executable, "-P", "-m", "wayside.logger.redaction.worker")
_PIECE_BYTES: Final = 64 << 10
_EXIT_S: Final = 1.0


class Child:
    """One second process and the socket to it."""

    def __init__(self, process: asyncio.subprocess.Process, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._piece = memoryview(b"")
        self._has_ended = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def send(self, frames: Iterable[Frame]) -> None:
        """Write frames, waiting as often as the process does not read. Raises `OSError` where it is gone."""
        with self._noting_end():
            for piece in _pieces(frames):
                await self._loop.sock_sendall(self._connection, piece)

    async def wait_frame(self) -> Frame:
        """The next frame. Raises `ConnectionError` where the process has ended, `MalformedEvent` for no frame."""
        head_bytes, data_bytes = lengths(await self._exactly(PREFIX_BYTES))
        return Frame(await self._exactly(head_bytes), await self._exactly(data_bytes))

    async def _exactly(self, size: int) -> bytes:
        parts = list[memoryview]()
        while size:
            if not self._piece:
                self._piece = await self._wait_piece()
            parts.append(self._piece[:size])
            self._piece = self._piece[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    async def _wait_piece(self) -> memoryview:
        await asyncio.sleep(0)  # where bytes are there already nothing below waits
        with self._noting_end():
            piece = await self._loop.sock_recv(self._connection, _PIECE_BYTES)
            if not piece:
                raise ConnectionError("it ended")
        return memoryview(piece)

    @contextmanager
    def _noting_end(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._has_ended = True
            raise

    def kill(self) -> None:
        """End the process, whatever it is doing. May be called twice."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End the process, unless it is ending by itself, and wait until it is gone."""
        if not self._has_ended:  # else a signal could race with whoever waits for the process
            self.kill()
        try:
            async with asyncio.timeout(_EXIT_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


def _pieces(frames: Iterable[Frame]) -> Iterator[bytes | bytearray]:
    """The bytes of frames: small ones in one piece, large data as it is, not copied."""
    together = bytearray()
    for frame in frames:
        together += frame.prefix + frame.head
        if len(frame.data) < _PIECE_BYTES:
            together += frame.data
        else:
            yield together
            yield frame.data
            together = bytearray()
    yield together


@asynccontextmanager
async def running_child() -> AsyncIterator[Child]:
    """A process that is ended on the way out; it holds nothing that would be worth waiting for.

    Raises `OSError` where none can be started.
    """
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=theirs.fileno(), stdout=asyncio.subprocess.DEVNULL
            )
        child = Child(process, ours)
        try:
            yield child
        finally:
            await child.end()
