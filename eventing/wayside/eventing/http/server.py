"""An HTTP/1.1 server of whole messages, for the broker's ingress, the sinks and the admin port.

Invariant: every request that was read whole gets exactly one response, in order, whatever the handler raises.
Bodies and heads are bounded; a connection that goes over a bound, or is no HTTP, gets a 4xx and is closed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import httptools

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Headers, Request, Response, find, head, status_line

Handler = Callable[[Request], Awaitable[Response]]
log = logging.getLogger("wayside.http")
_PIPELINE_LIMIT = 16
_CANCEL_S = 1.0
_LINGER_S = 2.0
_WITHOUT_BODY = (204, 304)
_FAILED = Response.text(500, "internal error; the server's log has the details")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of one connection: bytes of a body, bytes of a head, seconds from one answer to the next whole request.

    `idle_s` bounds a slow sender as well as a silent one, and how long a client may leave its answers unread.
    """

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

    @property
    def listening(self) -> bool:
        """Whether it takes connections now."""
        return self._server is not None and self._server.is_serving()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._connections)

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
        server, self._server = self._server, None
        server.close()
        for connection in list(self._connections):
            connection.drain()
        await self._wait_ended(grace_s)
        for connection in list(self._connections):
            connection.abort()
        await self._wait_ended(_CANCEL_S)

    async def _wait_ended(self, timeout_s: float) -> None:
        """Wait until every connection is lost and its task done, or the time is over."""
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        ends = [*(connection.lost for connection in self._connections), *tasks]
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


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be answered next: a request, or, for one that could not be read, the refusal itself."""

    asked: Request | Response
    keep_alive: bool


class _Connection(asyncio.Protocol):
    """One client connection. httptools calls the `on_…` methods while it is fed.

    Turns are answered one after another by `task`, which lives while there are any; `_closing` says that nothing more
    is read, and that the last turn's answer ends the connection.
    """

    def __init__(self, handler: Handler, limits: ServerLimits, connections: "set[_Connection]") -> None:
        self._handler = handler
        self._limits = limits
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._turns: deque[_Turn] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = self._lingering = False
        self._in_head = False
        self._begin()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def _begin(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_bytes = self._head_bytes = self._unfinished_bytes = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._connections.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._limits.idle_s, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        self._timer.cancel()
        self._writable.set()
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        """A client that shut its sending side still gets the answers to what it sent whole."""
        self._closing = True
        return self.task is not None

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._fresh = not self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._closing = True  # answered as if no upgrade were asked for; what follows is no HTTP
        except httptools.HttpParserCallbackError as exc:
            reason = exc.__context__
            self._refuse(reason.response if isinstance(reason, _TooLarge) else Response.text(400, "bad request"))
        except httptools.HttpParserError as exc:
            self._refuse(Response.text(400, f"not HTTP/1.1: {exc}"))
        else:
            self._bound_unfinished_head(len(data))

    def _bound_unfinished_head(self, size: int) -> None:
        """The parser tells of a header once it is whole; one without an end is counted by what was read for it."""
        if self._in_head and not self._fresh:
            self._unfinished_bytes += size
            if self._unfinished_bytes > self._limits.head_bytes:
                self._refuse(self._head_too_large())

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._begin()
        self._in_head = self._fresh = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if self._in_head:  # a trailer is counted, and is no header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        length = find(self._headers, b"content-length") or b"0"
        if int(length) > self._limits.body_bytes:
            raise self._body_too_large()
        expects = (find(self._headers, b"expect") or b"").lower() == b"100-continue"
        if expects and self.task is None:  # else it would stand before the answers that are still due
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            raise self._body_too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = Request(self._parser.get_method(), self._target, self._headers, b"".join(self._body))
        self._body = []
        self._take_turn(_Turn(request, self._parser.should_keep_alive()))
        if len(self._turns) > _PIPELINE_LIMIT:
            self._transport.pause_reading()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            raise _TooLarge(self._head_too_large())

    def _head_too_large(self) -> Response:
        return Response.text(431, f"head is over {self._limits.head_bytes} bytes")

    def _body_too_large(self) -> _TooLarge:
        return _TooLarge(Response.text(413, f"body is over {self._limits.body_bytes} bytes"))

    # answering

    def _refuse(self, response: Response) -> None:
        """Answer what came whole, then this; read no more."""
        self._closing = True
        self._take_turn(_Turn(response, keep_alive=False))

    def _take_turn(self, turn: _Turn) -> None:
        self._turns.append(turn)
        if self.task is None:
            self._timer.cancel()
            self.task = asyncio.get_running_loop().create_task(self._answer_all())

    async def _answer_all(self) -> None:
        while self._turns and not self._transport.is_closing():
            turn = self._turns.popleft()
            answer = await self._answer(turn.asked)
            last = not turn.keep_alive or (self._closing and not self._turns)
            self._write(answer, last, bodiless=isinstance(turn.asked, Request) and turn.asked.method == b"HEAD")
            await self._wait_written()
            if last:
                self._end(read_whole=isinstance(turn.asked, Request))
            elif len(self._turns) <= _PIPELINE_LIMIT and not self._transport.is_closing():
                self._transport.resume_reading()
        self.task = None
        if self._closing and not self._lingering:
            self._transport.close()
        elif not self._transport.is_closing():
            patience_s = _LINGER_S if self._lingering else self._limits.idle_s
            self._timer = asyncio.get_running_loop().call_later(patience_s, self._close_if_idle)

    async def _answer(self, asked: Request | Response) -> Response:
        if isinstance(asked, Response):
            return asked
        try:
            return await self._handler(asked)
        except asyncio.CancelledError:
            if self.task is None or self.task.cancelling():
                raise
            log.exception("%s waited for what was cancelled", asked.path)
        except Exception:  # the edge of a connection's task: nothing one request does may stop the server
            log.exception("%s %s failed", asked.method.decode("latin-1"), asked.path)
        return _FAILED

    def _write(self, response: Response, last: bool, bodiless: bool) -> None:
        if self._transport.is_closing():
            return
        try:
            message = _encode(response, last, bodiless)
        except Exception:  # the same edge: what a handler returned cannot be sent
            log.exception("a response cannot be sent: %.200r", response)
            message = _encode(_FAILED, last, bodiless)
        self._transport.write(message)

    async def _wait_written(self) -> None:
        """A client that does not read its answers gets no more of them, and is given up after `idle_s`."""
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await self._writable.wait()
        except TimeoutError:
            self._transport.abort()

    def _end(self, read_whole: bool) -> None:
        """Close. Where bytes may still come, only the sending side: a reset would take the answer from the client."""
        self._closing = True
        if read_whole:
            self._transport.close()
        elif not self._transport.is_closing():
            self._lingering = True
            self._transport.write_eof()

    def _close_if_idle(self) -> None:
        if self.task is None:
            self._transport.close()

    def drain(self) -> None:
        """Close at once where nothing is being answered, else after the answers to what came whole."""
        self._closing = True
        self._close_if_idle()

    def abort(self) -> None:
        """Close now, whatever is in hand."""
        if self.task is not None:
            self.task.cancel()
        self._transport.abort()


def _encode(response: Response, last: bool, bodiless: bool) -> bytes:
    headers = list(response.headers)
    if response.status not in _WITHOUT_BODY:
        headers.append((b"content-length", b"%d" % len(response.body)))
    if last:
        headers.append((b"connection", b"close"))
    body = b"" if bodiless or response.status in _WITHOUT_BODY else response.body
    return head(status_line(response.status), headers) + body
