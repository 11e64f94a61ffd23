"""A client's connection: requests in, exchanges in order, responses out.

Invariant: exchanges of one connection are answered in the order of their requests; what is read ahead of the exchange
in hand is bounded by one read.
"""

import asyncio
from collections import deque
from typing import cast

import httptools

from wayside.eventing.http.message import Headers, Response, head, status_line
from wayside.logger.exchange import Exchange, Proxy
from wayside.logger.headers import RequestHead

_HEAD_LIMIT = 64 << 10


class _HeadTooLarge(Exception):
    """The head of a request goes over the limit."""


class ClientConnection(asyncio.Protocol):
    """httptools calls the `on_…` methods while it is fed. `connections` holds those that are open."""

    def __init__(self, proxy: Proxy, connections: "set[ClientConnection]") -> None:
        self._proxy = proxy
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._holds: set[str] = set()
        self._out: list[bytes] = []
        self._switched = False
        self._closing = False
        self.address = ""

    @property
    def busy(self) -> bool:
        """Whether a request is in hand."""
        return bool(self._exchanges)

    def drain(self) -> None:
        """Take no further request; close once the one in hand is answered."""
        self._closing = True
        if not self._exchanges:
            self._transport.close()

    def break_off(self) -> None:
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._closing = True
        while self._exchanges:
            self._exchanges.popleft().abort()

    def eof_received(self) -> bool:
        """A client that ends its side is taken as gone, as Go's server does, so that the model is not kept at work."""
        return False

    def data_received(self, data: bytes) -> None:
        if self._switched:
            if self._exchanges:
                self._exchanges[0].on_tunnel_data(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._switched = True
            if rest := data[exc.args[0] :]:
                self._exchanges[-1].on_tunnel_data(rest)
        except httptools.HttpParserCallbackError as exc:
            too_large = isinstance(exc.__context__, _HeadTooLarge)
            self._refuse(
                Response.text(431, f"head is over {_HEAD_LIMIT} bytes")
                if too_large
                else Response.text(400, "bad request")
            )
        except httptools.HttpParserError as exc:
            self._refuse(Response.text(400, f"not HTTP/1.1: {exc}"))
        if self._exchanges:
            self._exchanges[0].on_request_flush()

    def pause_writing(self) -> None:
        if self._exchanges:
            self._exchanges[0].on_client_slow(True)

    def resume_writing(self) -> None:
        if self._exchanges:
            self._exchanges[0].on_client_slow(False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        request = RequestHead(parser.get_method(), self._target, self._headers, upgrade=parser.should_upgrade())
        exchange = Exchange(self._proxy, self, request, http_1_0=parser.get_http_version() == "1.0")
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin()
        else:
            self.hold("pipelined")

    def on_body(self, data: bytes) -> None:
        self._exchanges[-1].on_request_body(data)

    def on_message_complete(self) -> None:
        self._exchanges[-1].on_request_complete(self._parser.should_keep_alive() and not self._closing)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _HEAD_LIMIT:
            raise _HeadTooLarge

    # the client's side of an exchange

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.writelines(self._out)
        self._out = []

    def hold(self, reason: str) -> None:
        if not self._holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holds.add(reason)

    def let_go(self, reason: str) -> None:
        if reason in self._holds:
            self._holds.discard(reason)
            if not self._holds and not self._transport.is_closing():
                self._transport.resume_reading()

    def exchange_done(self, close: bool) -> None:
        self._exchanges.popleft()
        if close or self._switched or (self._closing and not self._exchanges):
            self._transport.close()
        elif self._exchanges:
            if len(self._exchanges) == 1:
                self.let_go("pipelined")
            self._exchanges[0].begin()
            self._exchanges[0].on_request_flush()

    def _refuse(self, response: Response) -> None:
        """No request: say so where nothing else is being answered, and read no further."""
        self._closing = True
        if self._exchanges:
            self._transport.abort()
            return
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body)), (b"connection", b"close")]
        self.write(head(status_line(response.status), headers) + response.body)
        self.flush()
        self._transport.close()
