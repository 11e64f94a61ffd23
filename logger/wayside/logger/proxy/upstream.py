"""Connections to the model server: a pool of kept-alive ones, each carrying one exchange at a time.

Invariant: a connection is handed to a second exchange only after the first got its whole response and sent its whole
request; whatever was left unclear closes it.
"""

import asyncio
import select
from typing import Protocol, cast

import httptools

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.message import Headers
from wayside.logger.settings import Upstream

_HEAD_LIMIT = 256 << 10
_JOIN_LIMIT = 16 << 10


class UpstreamDown(WaysideError):
    """The model server takes no connection."""


class ResponseReader(Protocol):
    """What a connection tells of the response that comes in. An exchange is one."""

    @property
    def bodiless(self) -> bool:
        """Whether the response has no body whatever its head says, as HEAD's has not."""

    def on_response_head(self, status: int, reason: bytes, headers: Headers) -> None: ...

    def on_response_body(self, data: bytes) -> None: ...

    def on_response_complete(self, reusable: bool, trailers: Headers) -> None: ...

    def on_response_flush(self) -> None:
        """All that came in one read has been told."""

    def on_tunnel(self, data: bytes) -> None:
        """The protocol was switched (101), or goes on so; `data` is no HTTP any more."""

    def on_upstream_lost(self, reason: str, *, clean: bool) -> None:
        """No more will come; `clean` where the model server closed its side in order."""

    def on_upstream_slow(self, slow: bool) -> None:
        """The model server reads slower than we write, or does so no longer."""


def write_all(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Small pieces in one, since each costs a transport more than its bytes do; large ones uncopied."""
    if len(pieces) == 1:
        transport.write(pieces[0])
    elif sum(map(len, pieces)) <= _JOIN_LIMIT:
        transport.write(b"".join(pieces))
    else:
        transport.writelines(pieces)


class UpstreamConnection(asyncio.Protocol):
    """One connection. httptools calls the `on_…` methods while it is fed."""

    def __init__(self) -> None:
        self._reader: ResponseReader | None = None
        self._tunnel = False
        self._headers: Headers = []
        self._trailers: Headers = []
        self._fields = self._headers
        self._bare_bytes = 0  # read since the last piece of a body, or end of a final head
        self._ended: bool | None = None  # once the response is whole: whether the connection can be used again
        self._poll = select.poll()
        self.idle_since = 0.0

    def begin(self, reader: ResponseReader) -> None:
        """Carry an exchange: what comes in from now on is told to `reader`."""
        self._reader = reader
        self._tunnel = False
        self._ended = None
        self._bare_bytes = 0
        self._parser = httptools.HttpResponseParser(self)

    def write(self, pieces: list[bytes]) -> None:
        write_all(self._transport, pieces)

    @property
    def open(self) -> bool:
        return not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing has come of an answer that has no head yet."""
        return not self._bare_bytes

    def has_input(self) -> bool:
        """Whether something lies unread on an idle connection: its end, which the loop has yet to see, or worse."""
        return bool(self._poll.poll(0))

    @property
    def has_unsent(self) -> bool:
        """Whether some of what was written still waits for the model server to read."""
        return self._transport.get_write_buffer_size() > 0

    def pause_reading(self) -> None:
        if self.open:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.open:
            self._transport.resume_reading()

    def release(self) -> None:
        """The exchange is over; tell nobody of what comes."""
        self._reader = None

    def close(self) -> None:
        """Close at once, without telling the exchange."""
        self._reader = None
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            self._transport.abort()  # bytes nobody asked for: the stream can no longer be trusted
        elif self._tunnel:
            reader.on_tunnel(data)
            reader.on_response_flush()
        else:
            self._feed(reader, data)

    def _feed(self, reader: ResponseReader, data: bytes) -> None:
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._tunnel = True
            reader.on_tunnel(data[exc.args[0] :])
        except httptools.HttpParserError as exc:
            self._fail(str(exc))
        if self._bare_bytes > _HEAD_LIMIT and self._ended is None and self._reader is not None:
            self._fail("its head or trailers have no end")
        if self._ended is not None and self._reader is not None:
            # only now, with the parser out of the way, may the connection go on to another exchange
            self._reader = None
            reader.on_response_complete(self._ended, self._trailers)
        reader.on_response_flush()

    def _fail(self, reason: str) -> None:
        if self._ended is not None:
            self._ended = False  # what follows a whole response is no one's; the response stands
        else:
            self._transport.abort()
            self._lost(f"its answer is not HTTP/1.1: {reason}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(str(exc) if exc else "it closed the connection", clean=exc is None)

    def _lost(self, reason: str, *, clean: bool = False) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.on_upstream_lost(reason, clean=clean)

    def pause_writing(self) -> None:
        if self._reader is not None:
            self._reader.on_upstream_slow(True)

    def resume_writing(self) -> None:
        if self._reader is not None:
            self._reader.on_upstream_slow(False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._ended is not None:
            self._ended = False  # a second answer to one request: the stream can no longer be trusted
        self._fields = self._headers = []
        self._trailers = []
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._fields = self._trailers  # what follows the body is no header
        reader, status = self._reader, self._parser.get_status_code()
        if reader is None or self._ended is not None:
            return
        if status < 100:
            return self._fail(f"{status} is no status")
        reader.on_response_head(status, self._reason, self._headers)
        if status >= 200:
            self._bare_bytes = 0  # interim heads are counted together, since there is no end to how many may come
        if (reader.bodiless and status >= 200) or status in (204, 304):
            self._ended = False  # the parser would wait for the body that such an answer only announces

    def on_body(self, data: bytes) -> None:
        self._bare_bytes = 0
        if self._reader is not None and self._ended is None:
            self._reader.on_response_body(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._ended is None and status >= 200:
            # a server that failed may close without having announced it (uvicorn does), and fail the next request too
            self._ended = self._parser.should_keep_alive() and status < 500


class UpstreamPool:
    """Connections to one model server, opened as they are needed and kept for `idle_s`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.authority = f"{upstream.host}:{upstream.port}".encode()  # as a Host field has it
        self._idle: list[UpstreamConnection] = []

    def take(self) -> UpstreamConnection | None:
        """An idle connection that is still good, or None."""
        oldest = asyncio.get_running_loop().time() - self._upstream.idle_s
        while self._idle:
            connection = self._idle.pop()
            if connection.open and connection.idle_since >= oldest and not connection.has_input():
                return connection
            connection.close()
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises `UpstreamDown`."""
        host, port = self._upstream.host, self._upstream.port
        try:
            async with asyncio.timeout(self._upstream.connect_timeout_s):
                made = await asyncio.get_running_loop().create_connection(UpstreamConnection, host, port)
        except TimeoutError as exc:
            raise UpstreamDown(f"the model server at {host}:{port} takes no connection") from exc
        except (OSError, UnicodeError) as exc:  # the latter for a host name that none can be
            words = exc.strerror if isinstance(exc, OSError) else None
            raise UpstreamDown(f"the model server at {host}:{port} is down: {words or exc}") from exc
        return made[1]

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next exchange, or close it where there are enough."""
        connection.release()
        is_good = connection.open and not connection.has_unsent
        if not is_good or len(self._idle) >= self._upstream.idle_limit:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()
