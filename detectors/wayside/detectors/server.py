"""uvicorn as a service of ours: it listens on a socket that we bound, and leaves signals to the command.

Invariant: when `start` returns, connections are accepted on `port`; when `stop` returns, requests in hand were answered
or `grace_s` seconds had passed.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from wayside.eventing.errors import ConfigurationError

_KEEP_ALIVE_S = 75
_BACKLOG = 1024


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, and with a word when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class AppServer:
    """Serves an ASGI application. `port` is the port in use once `start` has returned."""

    def __init__(self, app: FastAPI, host: str, port: int, grace_s: int = 5) -> None:
        self.host = host
        self.port = port
        self._server = _Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=grace_s,
                log_level="warning",
            )
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
        self._server.should_exit = True
        await task


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        raise ConfigurationError(f"cannot listen on {host}:{port}: {reason}") from exc
