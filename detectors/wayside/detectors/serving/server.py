"""uvicorn as a service of ours: it listens on a socket that we bound, and leaves signals to the command.

Invariant: when `start` returns, connections are accepted on `port`; when `stop` returns, requests in hand were answered
or `grace_s` seconds had passed, and no connection is open.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn

from wayside.detectors.serving.connection import Connection, ConnectionLimits
from wayside.eventing.errors import ConfigurationError

Application = Callable[[Any, Any, Any], Awaitable[None]]
_KEEP_ALIVE_S = 75
_BACKLOG = 1024
_TICK_S = 1.0  # how often the date that answers bear is set


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, with a word when it has started, and with an end that is not
    waited for in tenths of a second."""

    def __init__(self, config: uvicorn.Config, grace_s: float) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.ending = asyncio.Event()
        self._grace_s = grace_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        while not self.ending.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # after the answer that it is at, if it is at one
        await self._wait_drained()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _wait_drained(self) -> None:
        """Until every connection is lost and what was in hand is done, or the time is over."""
        lost = [each.lost for each in self.server_state.connections if isinstance(each, Connection)]
        ends: list[asyncio.Future[Any]] = [*lost, *self.server_state.tasks]
        if ends:
            await asyncio.wait(ends, timeout=self._grace_s)


class AppServer:
    """Serves an ASGI application. `port` is the port in use once `start` has returned."""

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        grace_s: float = 5.0,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.host = host
        self.port = port
        protocol: Any = partial(Connection, limits=limits or ConnectionLimits())  # what makes one, where a class may be
        self._server = _Server(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody asks where a client is
                timeout_keep_alive=_KEEP_ALIVE_S,
                log_level="warning",
            ),
            grace_s,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Bind and listen. Raises `ConfigurationError` that names the address and the reason."""
        bound = _bind(self.host, self.port)
        self.port = bound.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve([bound]), name="uvicorn")
        await self._server.listening.wait()

    async def stop(self) -> None:
        """May be called twice or before `start`."""
        if self._task is None:
            return
        task, self._task = self._task, None
        self._server.ending.set()
        await task


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}") from exc
