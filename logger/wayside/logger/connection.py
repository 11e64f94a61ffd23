"""A client's connection: requests in, exchanges in order, responses out.

Invariant: exchanges of one connection are answered in the order of their requests; what is read ahead of the exchange
in hand is bounded by one read.
"""

import asyncio
from collections import deque
from typing import cast

import httptools

from wayside.eventing.http.message import Headers, Response, find, head, status_line
from wayside.logger.exchange import Exchange, Proxy
from wayside.logger.headers import Framing, RequestHead, is_forwardable, request_framing

_HEAD_LIMIT = 64 << 10
_LINGER_S = 1.0


class _Refused(Exception):
    """A request that goes no further; carries the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class ClientConnection(asyncio.Protocol):
    """httptools calls the `on_…` methods while it is fed. `connections` holds those that are open."""

    def __init__(self, proxy: Proxy, connections: "set[ClientConnection]") -> None:
        self._proxy = proxy
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._holds: set[str] = set()
        self._out: list[bytes] = []
        self._refusal: Response | None = None
        self._switched = False
        self._retold = False
        self._closing = False
        self._deaf = False
        self.slow = False
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
        if self._deaf:
            return
        if not self._switched:
            self._feed(data)
        elif self._exchanges:
            self._exchanges[0].on_tunnel_data(data)
        if self._exchanges:
            self._exchanges[0].on_request_flush()

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._go_on_behind_upgrade(data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            reason = exc.__context__
            self._refuse(reason.response if isinstance(reason, _Refused) else Response.text(400, "bad request"))
        except httptools.HttpParserError as exc:
            self._refuse(Response.text(400, f"not HTTP/1.1: {exc}"))

    def _go_on_behind_upgrade(self, rest: bytes) -> None:
        """The parser stops behind the head of a request that asks for another protocol.

        Where the wish is passed over, another parser takes up the body; it is told the head again, without the wish.
        """
        exchange = self._exchanges[-1]
        self._switched = exchange.switches
        if self._switched:
            if rest:
                exchange.on_tunnel_data(rest)
            return
        framing = [pair for pair in self._headers if pair[0] in (b"content-length", b"transfer-encoding")]
        kept = (b"connection", b"keep-alive" if self._parser.should_keep_alive() else b"close")
        self._parser, self._retold = httptools.HttpRequestParser(self), True
        self._feed(head(b"POST / HTTP/1.1\r\n", [*framing, kept]) + rest)

    def pause_writing(self) -> None:
        self.slow = True
        if self._exchanges:
            self._exchanges[0].on_client_slow(True)

    def resume_writing(self) -> None:
        self.slow = False
        if self._exchanges:
            self._exchanges[0].on_client_slow(False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._retold:
            return
        self._target = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._head_complete = False

    def on_url(self, url: bytes) -> None:
        if not self._retold:
            self._target += url
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if not (self._head_complete or self._retold):  # a trailer is no header
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._retold:
            self._retold = False
            return
        self._head_complete = True
        request = self._request()
        exchange = Exchange(self._proxy, self, request, http_1_0=self._parser.get_http_version() == "1.0")
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin()
        else:
            self.hold("pipelined")

    def _request(self) -> RequestHead:
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise _Refused(Response.text(405, "CONNECT is for forward proxies; this port serves one model"))
        if not is_forwardable(self._headers):
            raise _Refused(Response.text(501, "the only transfer coding served here is 'chunked'"))
        return RequestHead(method, self._target, self._headers, upgrade=self._asks_to_switch())

    def _asks_to_switch(self) -> bool:
        """Whether the request is to become a tunnel.

        An offer of HTTP/2 (h2c), as Java's client makes it by default, is passed over, for HTTP/1.1 can be captured; so
        is any wish on a request with a body, which no protocol of today makes.
        """
        wish = (find(self._headers, b"upgrade") or b"").strip().lower()
        bodiless = request_framing(self._headers) is Framing.NONE
        return bool(self._parser.should_upgrade()) and wish != b"h2c" and bodiless

    def on_body(self, data: bytes) -> None:
        self._exchanges[-1].on_request_body(data)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() and not self._exchanges[-1].switches:
            return  # of the head alone; the body is yet to come
        self._exchanges[-1].on_request_complete(self._parser.should_keep_alive() and not self._closing)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _HEAD_LIMIT:
            raise _Refused(Response.text(431, f"head is over {_HEAD_LIMIT} bytes"))

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
        exchange = self._exchanges.popleft()
        if close or self._switched:
            self._close(heard_out=exchange.request_complete)
        elif self._exchanges:
            if len(self._exchanges) == 1:
                self.let_go("pipelined")
            self._exchanges[0].begin()
            self._exchanges[0].on_request_flush()
        elif self._refusal is not None:
            self._say_refusal(self._refusal)
        elif self._closing:
            self._transport.close()

    # the end

    def _refuse(self, response: Response) -> None:
        """No request: read no further, and say so once what was asked before is answered."""
        self._closing = self._deaf = True
        if self._exchanges and not self._exchanges[-1].request_complete:
            self._transport.abort()  # a body that goes wrong: its exchange cannot be answered for
        elif self._exchanges:
            self._refusal = response
        else:
            self._say_refusal(response)

    def _say_refusal(self, response: Response) -> None:
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body)), (b"connection", b"close")]
        self.write(head(status_line(response.status), headers) + response.body)
        self.flush()
        self._close(heard_out=False)

    def _close(self, *, heard_out: bool) -> None:
        """Close; first hear out a client that may still be sending, since a reset could take the answer from it."""
        if heard_out or self._transport.is_closing():
            self._transport.close()
            return
        self._deaf = True
        if self._holds:
            self._holds.clear()
            self._transport.resume_reading()
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)
