"""An HTTP/1.1 server of whole messages, for the broker's ingress, the sinks and the admin port.

Invariant: what its connections hold together is bounded, in number and in bytes. `stop` ends within its grace and a
second more: by then every connection is closed and every handler's task has been told to end.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.server_connection import Connection, Handler, Load
from wayside.eventing.http.server_limits import ServerLimits

__all__ = ["Handler", "HttpServer", "ServerLimits", "listen"]

_CANCEL_S = 1.0


class HttpServer:
    """Listens on one address and answers with `handler`. `port` is the port in use once `start` has returned.

    A handler returns its `Response`, at once or, as a coroutine or future, later. What needs not wait is best answered
    at once, and what waits for others' doing (a group commit) by a future: neither costs a task.
    """

    def __init__(self, handler: Handler, host: str, port: int, limits: ServerLimits | None = None) -> None:
        self.handler = handler
        self.host = host
        self.port = port
        self.limits = limits or ServerLimits()
        self._server: asyncio.Server | None = None
        self._load = Load()

    @property
    def listening(self) -> bool:
        """Whether it takes connections now."""
        return self._server is not None and self._server.is_serving()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._load.connections)

    @property
    def refused_connections(self) -> int:
        """How many connections were turned away since the server was made, for there were too many."""
        return self._load.refused_connections

    @property
    def body_bytes(self) -> int:
        """Bytes of bodies that are read now, or whose requests are not yet answered."""
        return self._load.held.body_bytes

    async def start(self) -> None:
        """Bind and listen. Raises `ConfigurationError` where the address is in use or not ours."""
        self._server = await listen(lambda: Connection(self.handler, self.limits, self._load), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no new connection, let requests in hand finish for `grace_s` seconds, then close what is left."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for connection in list(self._load.connections):
            connection.drain()
        await self._wait_ended(grace_s)
        for connection in list(self._load.connections):
            connection.abort()
        await self._wait_ended(_CANCEL_S)

    async def _wait_ended(self, timeout_s: float) -> None:
        """Wait until every connection is lost and what it has in hand done, or the time is over."""
        open_now = self._load.connections
        in_hand = [connection.in_hand for connection in open_now if connection.in_hand is not None]
        ends: list[asyncio.Future[Any]] = [*(connection.lost for connection in open_now), *in_hand]
        if ends:
            await asyncio.wait(ends, timeout=timeout_s)


async def listen(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, *, reuse_port: bool = False
) -> asyncio.Server:
    """Bind a Protocol factory to an address; with `reuse_port`, beside other processes that do.

    Raises `ConfigurationError` that names the address and the reason.
    """
    shared = True if reuse_port else None
    try:
        return await asyncio.get_running_loop().create_server(factory, host, port, backlog=1024, reuse_port=shared)
    except (OSError, UnicodeError, OverflowError) as exc:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {getattr(exc, 'strerror', None) or exc}") from exc
