"""The line between the supervisor and one logger process: a socket that is the process's standard input.

Invariant: the process says where its metrics are once it serves; when the supervisor is gone, however it went, the line
ends, and the process stops as on SIGTERM.
"""

import asyncio
import os
import socket
from collections.abc import Callable

from wayside.eventing.errors import WaysideError

_LINE_BYTES = 64
_STDIN = 0


class SupervisorGone(WaysideError):
    """Who started this process is not there any more."""


class SupervisorLine:
    """The process's end. `admin_port` is asked for when it starts, after everything else has.

    Made before anything else: the standard input is taken away, so that no process that is started here holds the line.
    """

    def __init__(self, admin_port: Callable[[], int]) -> None:
        self._admin_port = admin_port
        self._socket = socket.socket(fileno=os.dup(_STDIN))
        self._socket.setblocking(False)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), _STDIN)

    async def start(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, f"{self._admin_port()}\n".encode())

    async def wait_end(self) -> None:
        """Raises `SupervisorGone`."""
        loop = asyncio.get_running_loop()
        while await loop.sock_recv(self._socket, 1):
            pass
        raise SupervisorGone("the supervisor is gone; this process stops too")

    async def stop(self) -> None:
        self._socket.close()


async def read_admin_port(line: socket.socket) -> int | None:
    """What the process says, at the supervisor's end; None where it ended before."""
    loop = asyncio.get_running_loop()
    said = b""
    while not said.endswith(b"\n") and len(said) < _LINE_BYTES:
        data = await loop.sock_recv(line, _LINE_BYTES)
        if not data:
            return None
        said += data
    return int(said)
