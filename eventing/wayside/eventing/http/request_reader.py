"""The bytes of one connection in, whole requests out, each within its server's limits.

Source: RFC 9110 sections 5.5 (the blanks round a field's value), 7.8 (an offer of another protocol may be passed over);
RFC 9112 sections 6.1 (transfer codings), 7.1 (chunks, their extensions and trailers).
Invariant: what is held is bounded at every byte, be it of a head, a body or what stands between: no part of a request
has to end for its bound to hold.
"""

from collections import deque
from itertools import chain

import httptools

from wayside.eventing.http.body_parts import BodyParts, Held
from wayside.eventing.http.message import Headers, Request, Response, head
from wayside.eventing.http.server_limits import Refused, ServerLimits
from wayside.eventing.http.transfer_codings import is_chunked_alone

SLICE_BYTES = 16 << 10
_BAD_REQUEST = Response.text(400, "bad request")
_ONLY_CHUNKED = Response.text(501, "the only transfer coding served here is 'chunked'")
_NO_TUNNEL = Response.text(501, "CONNECT is for forward proxies, and this is none")


class RequestReader:
    """Reads requests into `whole`, each with whether its connection may live on. httptools calls the `on_…` methods.

    `asks_to_go_on` says that the client waits for a word (100) before it sends the body of the request that is being
    read. What is held of a body is counted in `held` from its first byte on; whoever takes a request out of `whole`
    takes its body off that count.
    """

    __slots__ = (
        "_body",
        "_headers",
        "_held",
        "_in_head",
        "_limits",
        "_parser",
        "_take_header",
        "_target",
        "_told",
        "_trailer_bytes",
        "_untold_bytes",
        "asks_to_go_on",
        "whole",
    )

    def __init__(self, limits: ServerLimits, held: Held) -> None:
        self.whole: deque[tuple[Request, bool]] = deque()
        self.asks_to_go_on = False
        self._limits = limits
        self._held = held
        self._parser = httptools.HttpRequestParser(self)
        self._headers: Headers = []
        self._body = BodyParts()
        self._in_head = False
        self._untold_bytes = 0  # in slices since the one in which the parser last told of a part

    def read(self, data: bytes) -> None:
        """Take in at most `SLICE_BYTES`. Raises `Refused` where no more can be read; what came whole stays."""
        self._told = False
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError as exc:
            reason = exc.__context__
            raise Refused(reason.response if isinstance(reason, Refused) else _BAD_REQUEST) from exc
        except httptools.HttpParserError as exc:
            raise Refused(Response.text(400, f"not HTTP/1.1: {exc}")) from exc
        if self._in_head or not self._told:
            self._bound_unfinished(len(data))
        else:
            self._untold_bytes = 0

    def drop(self) -> None:
        """Let go of the request that is being read."""
        self._held.body_bytes -= self._body.size
        self._body.take()

    def _parse(self, data: bytes) -> None:
        """The parser stops behind the head of a request that offers another protocol, as Java's client does (h2c)."""
        while data:
            try:
                return self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
            self._read_head_anew()

    def _read_head_anew(self) -> None:
        """By another parser and without the offer, so that it goes on with the body, and then the next request."""
        parser = self._parser
        start = b"%s %s HTTP/%s\r\n" % (parser.get_method(), self._target, parser.get_http_version().encode())
        plain = head(start, [pair for pair in self._headers if pair[0] != b"upgrade"])
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(plain)

    def _bound_unfinished(self, size: int) -> None:
        """The parser tells of a header once it is whole, of a chunk's extension never: their bytes are counted here."""
        limits = self._limits
        if self._told:
            self._untold_bytes = 0
        else:
            self._untold_bytes += size
            if self._untold_bytes > limits.head_bytes:
                raise limits.head_too_large()
        if self._in_head and len(self._headers) > limits.headers:
            raise limits.too_many_headers()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._told = self._in_head = True
        self._target = b""
        self._headers = []
        self._trailer_bytes = 0
        self._take_header = self._headers.append

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._take_header((name.lower(), value.rstrip(b" \t")))

    def _count_trailer(self, trailer: tuple[bytes, bytes]) -> None:
        """A trailer is no header, and bounded as one."""
        self._trailer_bytes += sum(map(len, trailer))
        if self._trailer_bytes > self._limits.head_bytes:
            raise self._limits.head_too_large()

    def on_headers_complete(self) -> None:
        self._told = True
        self._in_head = False
        self._take_header = self._count_trailer
        self._bound_head()
        fields = dict(self._headers)
        if b"content-length" in fields:
            length = int(fields[b"content-length"])
            self._limits.bound_bodies(length, self._held.body_bytes + length)
        elif b"transfer-encoding" in fields and not is_chunked_alone(self._headers):
            raise Refused(_ONLY_CHUNKED)
        self.asks_to_go_on = b"expect" in fields and fields[b"expect"].lower() == b"100-continue"

    def _bound_head(self) -> None:
        """The sum is taken where it can be too large: the slices that the head began and ended in are not counted."""
        limits = self._limits
        if len(self._headers) > limits.headers:
            raise limits.too_many_headers()
        if self._untold_bytes + 2 * SLICE_BYTES > limits.head_bytes and self._head_bytes() > limits.head_bytes:
            raise limits.head_too_large()

    def _head_bytes(self) -> int:
        return len(self._target) + sum(map(len, chain.from_iterable(self._headers)))

    def on_body(self, part: bytes) -> None:
        self._told = True
        self._body.add(part)
        self._held.body_bytes += len(part)
        self._limits.bound_bodies(self._body.size, self._held.body_bytes)

    def on_message_complete(self) -> None:
        parser = self._parser
        method = parser.get_method()
        if parser.should_upgrade():
            if method == b"CONNECT":
                raise Refused(_NO_TUNNEL)
            return  # its head is read anew, and then its body
        self._told = True
        self.asks_to_go_on = False
        request = Request(method, self._target, self._headers, self._body.take())
        self.whole.append((request, parser.should_keep_alive()))
