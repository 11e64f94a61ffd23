"""An HTTP/1.1 server of whole messages, for the broker's ingress, the sinks and the admin port.

Invariant: every request that was read whole gets exactly one response, in order, whatever the handler raises.
Bodies and heads are bounded; a connection that goes over a bound, or is no HTTP, gets a 4xx and is closed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httptools

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Headers, Request, Response, head, status_line

Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("wayside.http")
_PIPELINE_LIMIT = 16


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of one connection: bytes of a body, bytes of a head, seconds without traffic between requests."""

    body_bytes: int = 16 << 20
    head_bytes: int = 64 << 10
    idle_s: float = 75.0


class _TooLarge(Exception):
    """The request goes over a limit; carries the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class HttpServer:
    """Listens on one address and answers with `handler`. `port` is the port in use once `start` has returned."""

    def __init__(self, handler: Handler, host: str, port: int, limits: ServerLimits | None = None) -> None:
        self.handler = handler
        self.host = host
        self.port = port
        self.limits = limits or ServerLimits()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self) -> None:
        """Bind and listen. Raises `ConfigurationError` where the address is in use or not ours."""
        self._server = await listen(
            lambda: _Connection(self.handler, self.limits, self._connections), self.host, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_s: float = 5.0) -> None:
        """Take no new connection, let requests in hand finish for `grace_s` seconds, then close what is left."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.drain()
        busy = [connection.task for connection in self._connections if connection.task is not None]
        if busy:
            await asyncio.wait(busy, timeout=grace_s)
        for connection in list(self._connections):
            connection.abort()
        self._server = None


async def listen(factory: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
    """Bind a Protocol factory to an address. Raises `ConfigurationError` that names the address and the reason."""
    try:
        return await asyncio.get_running_loop().create_server(factory, host, port, backlog=1024)
    except OSError as exc:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc


class _Connection(asyncio.Protocol):
    """One client connection. httptools calls the `on_…` methods while it is fed."""

    def __init__(self, handler: Handler, limits: ServerLimits, connections: "set[_Connection]") -> None:
        self._handler = handler
        self._limits = limits
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._closing = False
        self._begin()
        self.task: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_bytes = self._head_bytes = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        self._idle = asyncio.get_running_loop().call_later(self._limits.idle_s, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Response.text(400, "this port speaks HTTP/1.1 only"))
        except httptools.HttpParserCallbackError as exc:
            reason = exc.__context__
            self._refuse(reason.response if isinstance(reason, _TooLarge) else Response.text(400, "bad request"))
        except httptools.HttpParserError as exc:
            self._refuse(Response.text(400, f"not HTTP/1.1: {exc}"))
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(Response.text(431, f"head is over {self._limits.head_bytes} bytes"))

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers)
        if expects and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            raise _TooLarge(Response.text(413, f"body is over {self._limits.body_bytes} bytes"))
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = Request(self._parser.get_method(), self._target, self._headers, b"".join(self._body))
        self._head_bytes = 0
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._answer_all())
        elif len(self._waiting) > _PIPELINE_LIMIT:
            self._transport.pause_reading()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            raise _TooLarge(Response.text(431, f"head is over {self._limits.head_bytes} bytes"))

    # answering

    async def _answer_all(self) -> None:
        self._idle.cancel()
        while self._waiting and not self._transport.is_closing():
            request, keep_alive = self._waiting.popleft()
            response = await self._answer(request)
            self._write(response, keep_alive and not self._closing, bodiless=request.method == b"HEAD")
            self._transport.resume_reading()
        self.task = None
        if not self._transport.is_closing():
            self._idle = asyncio.get_running_loop().call_later(self._limits.idle_s, self._close_if_idle)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except Exception:  # the edge of a connection's task: nothing one request does may stop the server
            log.exception("%s %s failed", request.method.decode("latin-1"), request.path)
            return Response.text(500, "internal error; the server's log has the details")

    def _write(self, response: Response, keep_alive: bool, bodiless: bool = False) -> None:
        if self._transport.is_closing():
            return
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        if not keep_alive:
            headers.append((b"connection", b"close"))
        body = b"" if bodiless else response.body
        self._transport.write(head(status_line(response.status), headers) + body)
        if not keep_alive:
            self._transport.close()

    def _refuse(self, response: Response) -> None:
        self._waiting.clear()
        if self.task is None:
            self._write(response, keep_alive=False)
        self._closing = True

    def _close_if_idle(self) -> None:
        if self.task is None:
            self._transport.close()

    def drain(self) -> None:
        """Close at once where nothing is being answered, else after the answer in hand."""
        self._closing = True
        self._close_if_idle()

    def abort(self) -> None:
        """Close now, whatever is in hand."""
        if self.task is not None:
            self.task.cancel()
        self._transport.abort()
