"""One logger process as its supervisor has it.

Invariant: once `start` was called, `stop` leaves no process behind.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from wayside.eventing.command import EXIT_FAILED
from wayside.logger.processes.link import read_admin_port

_KILL_S = 5.0


class Child:
    """`admin_port` is where its metrics are, None until it serves and once it has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None
        self.admin_port: int | None = None

    async def start(self) -> None:
        """Run the program; its standard input is the line to it."""
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=theirs.fileno())

    async def wait_serving(self) -> bool:
        """Whether it serves; False once it has ended instead."""
        assert self._line is not None
        with suppress(ConnectionError):
            self.admin_port = await read_admin_port(self._line)
        return self.admin_port is not None

    async def wait_end(self) -> int:
        """Its exit status; below 0 the signal that ended it. At once where it could not be started."""
        status = await self._process.wait() if self._process is not None else EXIT_FAILED
        self.admin_port = None
        self._hang_up()
        return status

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL where it has not ended by itself after `grace_s`. May be called twice."""
        self.admin_port = None
        if self._process is None or self._process.returncode is not None:
            return self._hang_up()
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await asyncio.wait_for(self._process.wait(), _KILL_S)
        finally:
            self._hang_up()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
