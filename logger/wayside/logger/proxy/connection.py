"""A client's connection: requests in, exchanges in order, responses out.

Invariant: exchanges of one connection are answered in the order of their requests; what is read ahead of the exchange
in hand is bounded by one read.
"""

import asyncio
import logging
from collections import deque
from typing import cast

import httptools

from wayside.eventing.http.message import Headers, Response, head, status_line
from wayside.logger.http2.splice import is_preface
from wayside.logger.proxy.acceptance import Refused, accept, asks_to_switch
from wayside.logger.proxy.exchange import Exchange, Proxy
from wayside.logger.proxy.peer import keep_watch
from wayside.logger.proxy.upstream import write_all

log = logging.getLogger("wayside.logger")
_HEAD_LIMIT = 1 << 20  # as Go's server, before whose models this one stands
_LINGER_S = 1.0
_HEAD_S = 60.0  # that a head may take from its first byte to its last
_STALL_S = 120.0  # that a body may stand still while somebody waits for it


class ClientConnection(asyncio.Protocol):
    """httptools calls the `on_…` methods while it is fed. A client that begins as one of HTTP/2 goes on as a splice."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._authority = proxy.pool.authority
        self._first_bytes: bytes | None = b""  # until it is known which protocol they begin
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._holds: set[str] = set()
        self._out: list[bytes] = []
        self._refusal: Response | None = None
        self._switched = False
        self._retold = False
        self._closing = False
        self._deaf = False
        self._headers: Headers = []
        self._trailers: Headers = []
        self._fields = self._trailers  # where the parser's next field goes
        self._bare_bytes = 0  # read since the last piece of a body, or end of a head
        self._head_since_s: float | None = None
        self._read_s = self._moved_s = 0.0
        self.slow = False
        self.address = b""

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

    def sweep(self, now_s: float) -> None:
        """Give up on a head that does not end, and on a body that stands still though it is waited for."""
        if self._head_since_s is not None and now_s - self._head_since_s > _HEAD_S:
            log.info("a client's connection is closed: its request's head took over %g s", _HEAD_S)
            self._give_up_head()
        elif self._is_stalled(now_s):
            log.info("a client's connection is closed: its request's body stood still for %g s", _STALL_S)
            self._transport.abort()

    def _give_up_head(self) -> None:
        """A client that has said nothing yet is told nothing: it may be about to."""
        if self._first_bytes or self._fields is not self._trailers:
            self._refuse(Response.text(408, f"the head took over {_HEAD_S:g} s"))
        else:
            self._transport.close()

    def _is_stalled(self, now_s: float) -> bool:
        """Whether a body stands still, and no answer goes out meanwhile; not while the client waits for a word of the
        model's (`Expect`)."""
        if not self._exchanges or self._holds or self._switched or now_s - self._moved_s <= _STALL_S:
            return False
        asked_last = self._exchanges[-1]
        return not (asked_last.request_complete or asked_last.waits_for_word)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).encode() if isinstance(peer, tuple) else b""
        keep_watch(transport)
        self._head_since_s = self._loop.time()
        self._proxy.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.peers.discard(self)
        self._closing = True
        while self._exchanges:
            self._exchanges.popleft().abort()

    def eof_received(self) -> bool:
        """A client that ends its side is taken as gone, as Go's server does, so that the model is not kept at work."""
        return False

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._read_s = self._moved_s = self._loop.time()
        if self._first_bytes is not None:
            data = self._first_bytes + data
            self._first_bytes = self._undecided(data)
            if self._first_bytes is not None:
                return
        if not self._switched:
            self._feed(data)
        elif self._exchanges:
            self._exchanges[0].on_tunnel_data(data)
        if self._exchanges:
            self._exchanges[0].on_request_flush()

    def _undecided(self, first_bytes: bytes) -> bytes | None:
        """None once these are known to be HTTP/1.1's; where they are HTTP/2's the connection is a splice's from now."""
        preface = is_preface(first_bytes)
        if preface is False:
            return None
        if preface:
            self._proxy.peers.discard(self)
            self._proxy.splices.adopt(self._transport, first_bytes)
        return first_bytes

    def _feed(self, data: bytes) -> None:
        self._bare_bytes += len(data)
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserCallbackError as exc:
            reason = exc.__context__
            self._refuse(reason.response if isinstance(reason, Refused) else Response.text(400, "bad request"))
        except httptools.HttpParserError as exc:
            self._refuse(Response.text(400, f"not HTTP/1.1: {exc}"))
        if self._bare_bytes > _HEAD_LIMIT and not self._deaf:
            self._refuse(Response.text(431, f"it is over {_HEAD_LIMIT} bytes without an end"))

    def _parse(self, data: memoryview) -> None:
        """The parser stops behind the head of a request that asks for another protocol.

        Where the wish is passed over, another parser takes up what follows. Java's client wishes with every request.
        """
        while data:
            try:
                return self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
            exchange = self._exchanges[-1]
            self._switched = exchange.switches
            if not self._switched:
                self._retell_head()
            elif data:
                return exchange.on_tunnel_data(bytes(data))

    def _retell_head(self) -> None:
        """Another parser, which is told of the head what it needs to read the body, without the wish."""
        framing = [pair for pair in self._headers if pair[0] in (b"content-length", b"transfer-encoding")]
        kept = (b"connection", b"keep-alive" if self._parser.should_keep_alive() else b"close")
        self._parser, self._retold = httptools.HttpRequestParser(self), True
        self._parser.feed_data(head(b"POST / HTTP/1.1\r\n", [*framing, kept]))

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
        self._head_since_s = self._read_s
        self._target = b""
        self._fields = self._headers = []
        self._trailers = []

    def on_url(self, url: bytes) -> None:
        if not self._retold:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._retold:
            self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._retold:
            self._retold = False
            return
        self._fields = self._trailers  # what follows the body is no header
        self._head_since_s = None
        self._bare_bytes = 0
        parser, version = self._parser, self._parser.get_http_version()
        request = accept(parser.get_method(), self._target, self._headers, version, self._authority)
        request.upgrade = bool(parser.should_upgrade()) and asks_to_switch(request)
        exchange = Exchange(self._proxy, self, request, http_1_0=version == "1.0")
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin()
        else:
            self.hold("pipelined")

    def on_body(self, data: bytes) -> None:
        self._bare_bytes = 0
        self._exchanges[-1].on_request_body(data)

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() and not self._exchanges[-1].switches:
            return  # of the head alone; the body is yet to come
        keep_alive = self._parser.should_keep_alive() and not self._closing
        self._exchanges[-1].on_request_complete(keep_alive, self._trailers)

    # the client's side of an exchange

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        if self._out and not self._transport.is_closing():
            write_all(self._transport, self._out)
            self._out = []
            self._moved_s = self._loop.time()

    def hold(self, reason: str) -> None:
        if not self._holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holds.add(reason)

    @property
    def held(self) -> bool:
        return bool(self._holds)

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
        self._head_since_s = None
        if self._exchanges and not self._exchanges[-1].request_complete:  # a body that goes wrong
            if len(self._exchanges) == 1:
                return self._exchanges[0].refuse(response)
            self._exchanges.pop().abort()
        if self._exchanges:
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
        self._loop.call_later(_LINGER_S, self._transport.close)
