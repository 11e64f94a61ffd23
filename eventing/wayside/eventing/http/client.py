"""An HTTP/1.1 client for whole messages, with a bounded pool of kept-alive connections an origin.

Invariant: a request is written at most once; `send` returns its response or raises `Unreachable`, never hangs past
`timeout_s`, and never follows a redirect.
"""

import asyncio
import select
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import httptools

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.message import Headers, Response, find, head
from wayside.eventing.http.resolving import Lookup, Resolver, Unresolved, look_up
from wayside.eventing.http.url import Origin, Url

_RESPONSE_LIMIT = 16 << 20
_HEAD_LIMIT = 256 << 10


class Unreachable(WaysideError):
    """No response came: the host was not found, the connection not made, or it broke, timed out or spoke no HTTP."""


@dataclass(slots=True)
class _Pool:
    """Idle connections to one origin, the most recently used last."""

    idle: "list[_Connection]" = field(default_factory=list)


class HttpClient:
    """A pool of connections; made once by a service, closed by that service.

    `idle_limit` bounds idle connections an origin; `idle_s` is how long one may lie idle, shorter than servers'
    usual keep-alive, so that a request seldom meets a connection that is just being closed. `lookup` finds the
    addresses of a host, as `Resolver` says: a host whose lookup hangs holds up no request to another.
    """

    def __init__(
        self,
        idle_limit: int = 64,
        idle_s: float = 4.0,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = look_up,
    ) -> None:
        self._resolver = Resolver(lookup)
        self._idle_limit = idle_limit
        self._idle_s = idle_s
        self._tls = tls
        self._pools: dict[Origin, _Pool] = {}

    async def send(self, method: bytes, url: Url, headers: Headers, body: bytes = b"", *, timeout_s: float) -> Response:
        """One request and its whole response. Raises `Unreachable`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        pool = self._pool(url.origin)
        request = _request(method, url, headers, body)
        try:
            connection = self._idle(pool, loop.time()) or await self._connect(url.origin, deadline)
            try:
                return await connection.exchange(request, method == b"HEAD", deadline)
            finally:
                self._give_back(pool, connection, loop.time())
        except Unresolved as exc:
            raise Unreachable(f"{url.text}: {exc}") from exc
        except TimeoutError as exc:
            raise Unreachable(f"{url.text}: no answer within {timeout_s:g} s") from exc
        except OSError as exc:
            raise Unreachable(f"{url.text}: {exc.strerror or exc}") from exc

    async def close(self) -> None:
        """Close every idle connection, and keep none from now on. Requests in hand end on their own."""
        self._idle_limit = 0
        for pool in self._pools.values():
            for connection in pool.idle:
                connection.close()
        self._pools.clear()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def _pool(self, origin: Origin) -> _Pool:
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool()
        return pool

    def _idle(self, pool: _Pool, now: float) -> "_Connection | None":
        """The connection that was used last, where it can be used again."""
        while pool.idle:
            connection = pool.idle.pop()
            if connection.idle_since > now - self._idle_s and connection.reusable and not connection.has_input():
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin, deadline: float) -> "_Connection":
        """Try the host's addresses one after another: each has its share of the time that is left."""
        *others, last = await self._resolver.resolve(origin.host, deadline)
        loop = asyncio.get_running_loop()
        for untried, address in zip(range(len(others), 0, -1), others, strict=True):
            share_s = (deadline - loop.time()) / (untried + 1)
            with suppress(OSError):  # the next one may do
                return await self._connect_to(address, origin, loop.time() + share_s)
        try:
            return await self._connect_to(last, origin, deadline)
        except OSError:
            self._resolver.forget(origin.host)
            raise

    async def _connect_to(self, address: str, origin: Origin, deadline: float) -> "_Connection":
        if origin.tls and self._tls is None:
            self._tls = ssl.create_default_context()
        tls, name = (self._tls, origin.host) if origin.tls else (None, None)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(deadline):
            _, made = await loop.create_connection(_Connection, address, origin.port, ssl=tls, server_hostname=name)
        return made

    def _give_back(self, pool: _Pool, connection: "_Connection", now: float) -> None:
        if connection.reusable and len(pool.idle) < self._idle_limit:
            connection.idle_since = now
            pool.idle.append(connection)
        else:
            connection.close()


def _request(method: bytes, url: Url, headers: Headers, body: bytes) -> bytes:
    own: Headers = [(b"host", url.host), (b"content-length", b"%d" % len(body))]
    return head(b"%s %s HTTP/1.1\r\n" % (method, url.target), own + headers) + body


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time. httptools calls the `on_…` methods while it is fed.

    One timer serves all of its exchanges: where it fires before the deadline of the one in hand, it is set anew. That
    costs an exchange less than a timer of its own.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._poll = select.poll()
        self._response: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._reusable = False
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        """Whether the last exchange left the stream at a message's end, in both directions."""
        transport = self._transport
        return (
            self._reusable
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def has_input(self) -> bool:
        """Whether something lies unread on an idle connection: its end, which the loop has yet to see, or worse."""
        return bool(self._poll.poll(0))

    def exchange(self, request: bytes, bodiless: bool, deadline: float) -> asyncio.Future[Response]:
        """Write a request; its response is to come, or a `TimeoutError` at the `deadline` of the loop's clock."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("connection closed before the request was sent")
        self._reusable = False
        self._bodiless = bodiless
        self._head_bytes = 0
        self._head_complete = False
        self._response = self._loop.create_future()
        self._set_deadline(deadline)
        self._transport.write(request)
        return self._response

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is None or self._timer_at > deadline:
            self._set_timer(deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._check_deadline)
        self._timer_at = at

    def _check_deadline(self) -> None:
        self._timer = None
        if self._response is None or self._response.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._response.set_exception(TimeoutError())
            self.close()

    def close(self) -> None:
        self._reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._response is None or self._response.done():
            self.close()  # bytes nobody asked for: the stream can no longer be trusted
            return
        if not self._head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(f"the answer is not HTTP/1.1: {exc}")
        if not self._head_complete and self._head_bytes > _HEAD_LIMIT:
            self._fail(f"the answer's head is over {_HEAD_LIMIT} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._until_close():
            self._finish()
        self._fail(f"connection closed before the answer was complete{f': {exc}' if exc else ''}")

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._response is not None and self._response.done():
            self.close()  # a second answer to one request
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._bytes = 0
        self._head_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # a trailer is no header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        self._head_complete = True
        if self._bodiless:
            self._finish()
            self.close()  # the parser would wait for the body that HEAD's answer only announces

    def on_body(self, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > _RESPONSE_LIMIT:
            self._fail(f"the answer is over {_RESPONSE_LIMIT} bytes")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._head_complete:
            self._reusable = self._parser.should_keep_alive()
            self._finish()

    def _until_close(self) -> bool:
        if self._response is None or self._response.done() or not self._head_complete:
            return False
        return all(find(self._headers, name) is None for name in (b"content-length", b"transfer-encoding"))

    def _finish(self) -> None:
        assert self._response is not None
        if not self._response.done():
            status = self._parser.get_status_code()
            self._response.set_result(Response(status, self._headers, b"".join(self._body)))

    def _fail(self, reason: str) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionError(reason))
        self.close()
