"""A connection of the event port: uvicorn's HTTP/1.1 protocol on httptools, with what a service in the open needs.

Source: RFC 9110 §7.8 (a server may ignore an offer to upgrade), RFC 9113 §3.1 (`h2c`, which every default Java client
offers with its first request); llhttp, which takes what follows an offer for another protocol, and so loses the body.
Invariant: a request is read whole within its time, and an answer is taken within as long, or the connection ends; what
is read before it is asked for is bounded. An answer is to the request whose turn it is, a refusal too. What an offer to
upgrade came with is read as if there had been no offer. Whoever is at work for a client hears at once when it has gone.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wayside.detectors.serving.whole_response import RESPOND, respond

GONE = "wayside.gone"
# So small an answer fits into the socket's own buffer, unless others fill it; what is left beyond that has its time.
_TAKEN_AT_ONCE_BYTES = 2048
_OFFER = frozenset((b"upgrade", b"http2-settings"))


class ClientWatch:
    """Cancels the task that works for a client when its connection is lost, and knows what the client has not taken."""

    __slots__ = ("_connection", "_task", "is_gone")

    def __init__(self, connection: "Connection | None" = None) -> None:
        self._connection = connection
        self.is_gone = False
        self._task: asyncio.Task[Any] | None = None

    def cancels(self, task: "asyncio.Task[Any] | None") -> None:
        """Cancel this task, or none any more."""
        self._task = task

    @property
    def unsent_bytes(self) -> int:
        """Of answers that were given and did not go out yet."""
        return 0 if self._connection is None else self._connection.unsent_bytes

    async def taken(self) -> None:
        """Return when nothing is unsent, or the client has gone."""
        if self._connection is not None:
            await self._connection.flow.drain()

    def lost(self) -> None:
        self.is_gone = True
        self._connection = None
        if self._task is not None:
            self._task.cancel()


class _Refused(Exception):
    """What is read is no request that is taken: the parser stops at it."""

    def __init__(self, status: bytes, reason: bytes) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


_NO_REQUEST = _Refused(b"400 Bad Request", b"this is no HTTP/1.1 request")


def watch_of(scope: Mapping[str, Any]) -> ClientWatch:
    """The watch of a request's connection; on a server that has none nobody is ever known to have gone."""
    watch = scope.get("extensions", {}).get(GONE)
    return watch if isinstance(watch, ClientWatch) else ClientWatch()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of a connection, and of all of them: bytes of a request's headers, and of whatever else of it is no body;
    the number of its headers; seconds from its first byte to its last, and from an answer's first to its last; requests
    that wait behind the one in hand; connections at once."""

    head_bytes: int = 64 << 10
    headers: int = 256
    request_s: float = 75.0
    pipelined: int = 16
    connections: int = 1024


class _Flow(FlowControl):
    """Nothing is read while requests wait behind the one in hand."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """uvicorn makes one for each connection, and hands it what it hands its own protocols; `limits` are ours."""

    def __init__(self, *given: Any, limits: ConnectionLimits, **named: Any) -> None:
        super().__init__(*given, **named)
        self.limits = limits
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self._watch = ClientWatch(self)
        self._idle_bytes = 0
        self._in_head = self._in_message = self._is_offered = self._is_told = False
        self._refusal: bytes | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_TAKEN_AT_ONCE_BYTES)
        self.flow = _Flow(transport, self.pipeline)
        self._deadline = self.loop.call_later(self.limits.request_s, self._end_slow)
        if len(self.connections) > self.limits.connections:
            self._refuse(_Refused(b"503 Service Unavailable", b"%d connections are open" % self.limits.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self.resume_writing()
        super().connection_lost(exc)
        self._watch.lost()
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refusal is not None or self.transport.is_closing():
            return
        self._is_told = False
        try:
            self._feed(data)
            self._bound_idle(len(data))
        except _Refused as exc:
            self._refuse(exc)
        except httptools.HttpParserError as exc:
            known = exc.__context__  # what a callback raised
            self._refuse(known if isinstance(known, _Refused) else _NO_REQUEST)
        if self._in_message and self._deadline is None and self._refusal is None:
            self._deadline = self.loop.call_later(self.limits.request_s, self._end_slow)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as exc:
                data = self._without_offer(data[exc.args[0] :])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer may not add to what was read before it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_offered = self.parser.should_upgrade()
        if self._is_offered:
            return
        if len(self.headers) > self.limits.headers:
            _refuse_head(b"more than %d headers" % self.limits.headers)
        self._bound_head(len(self.url) + sum(map(len, chain.from_iterable(self.headers))))
        if len(self.pipeline) >= self.limits.pipelined:
            raise _Refused(b"429 Too Many Requests", b"%d requests are waiting already" % len(self.pipeline))
        self._is_told = True
        super().on_headers_complete()
        self._in_head = False
        extensions = {GONE: self._watch, RESPOND: partial(respond, self.cycle)}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # of ours

    def on_body(self, body: bytes) -> None:
        self._is_told = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_offered:
            return
        self._in_message = False
        self._is_told = True
        self._clear_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._refusal is not None:
            self._tell_refusal()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self.limits.request_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _without_offer(self, rest: bytes) -> bytes:
        """The request again without its offer, and what follows it, for a parser that has read neither."""
        method = self.parser.get_method()
        if method == b"CONNECT":  # that is no offer, but what its client insists on
            raise _Refused(b"405 Method Not Allowed", b"this is no proxy")
        kept = [b"%b: %b\r\n" % header for header in _without_offer(self.headers)]
        line = b"%b %b HTTP/%b\r\n" % (method, self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self._is_offered = False
        return line + b"".join(kept) + b"\r\n" + rest

    def _bound_idle(self, size: int) -> None:
        """Bound what was read since the parser last told of something: of a head, a chunk's line, a trailer."""
        self._idle_bytes = 0 if self._is_told else self._idle_bytes + size
        self._bound_head(self._idle_bytes)

    def _bound_head(self, size: int) -> None:
        if size > self.limits.head_bytes:
            _refuse_head(b"headers are over %d bytes" % self.limits.head_bytes)

    def _end_slow(self) -> None:
        """The request's time is over. Whoever reads its body hears that the client has gone."""
        if self._in_head:
            self._refuse(_Refused(b"408 Request Timeout", b"the request took too long to arrive"))
        else:
            self.transport.close()

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refused: _Refused) -> None:
        """Answer what no application hears of when its turn has come, and close. Nothing more is read."""
        head = b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % (
            refused.status,
            len(refused.reason) + 1,
        )
        self._refusal = head + b"connection: close\r\n\r\n" + refused.reason + b"\n"
        self._clear_deadline()
        if self._is_its_turn():
            self._tell_refusal()

    def _is_its_turn(self) -> bool:
        """Whether every request before the one that is refused was answered."""
        if self.cycle is None:
            return True
        if self._in_head or not self._in_message:  # the last one that an application hears of came before it
            return self.cycle.response_complete
        if self.pipeline:
            self.pipeline.popleft()  # the refused one itself, of which an application would have heard later
            return False
        if self.cycle.response_started:
            self._refusal = b""  # it has its answer, and cannot be given another
        return True

    def _tell_refusal(self) -> None:
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self.transport.close()


def _refuse_head(reason: bytes) -> NoReturn:
    raise _Refused(b"431 Request Header Fields Too Large", reason)


def _without_offer(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            options = [option for option in value.split(b",") if option.strip().lower() not in _OFFER]
            yield name, b",".join(options)
        elif name not in _OFFER:
            yield name, value
