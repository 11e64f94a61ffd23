"""Message heads as a proxy passes them on: hop-by-hop fields out, framing and forwarding fields in.

Source: RFC 9110 sections 6.5.1 (trailers) and 7.6.1 (connection), RFC 9112 section 6 (framing), RFC 7239 (`Forwarded`).
Invariant: pure; a head goes out with exactly one framing, whatever came in.
"""

from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache

from wayside.eventing.http.message import Headers, head, status_line
from wayside.logger.capture.request import RequestHead

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate te transfer-encoding upgrade".split()
)
# what a peer cannot have taken out by naming it in `connection`: the framing, the route, and who forwarded for whom
_NEVER_NAMED = frozenset(b"content-length host forwarded x-forwarded-for x-forwarded-host x-forwarded-proto".split())
_UPGRADE_ONLY = frozenset((b"connection", b"upgrade"))
_ROUTE = frozenset(b"host forwarded x-forwarded-for x-forwarded-host x-forwarded-proto".split())
# fields that change how a message is framed, routed, authenticated or read must not come behind its body
_NEVER_TRAILING = (
    _HOP_BY_HOP
    | _NEVER_NAMED
    | frozenset(b"trailer authorization cookie set-cookie content-encoding content-type content-range".split())
    | frozenset(b"expect max-forwards cache-control range age expires date location retry-after vary warning".split())
)


class Framing(Enum):
    """How the end of a body is told."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


def is_chunked_alone(headers: Headers) -> bool:
    """Whether a message's transfer coding is one that a proxy can take off and put on again."""
    return all(value.strip().lower() == b"chunked" for name, value in headers if name == b"transfer-encoding")


def request_framing(fields: Mapping[bytes, bytes]) -> Framing:
    """A request's framing; the parser has refused one with both a length and chunks."""
    if b"transfer-encoding" in fields:
        return Framing.CHUNKED
    return Framing.LENGTH if b"content-length" in fields else Framing.NONE


def response_framing(method: bytes, status: int, fields: Mapping[bytes, bytes]) -> Framing:
    """A response's framing, by RFC 9112 section 6.3."""
    if status in (204, 304) or status < 200 or method == b"HEAD":
        return Framing.NONE
    if b"transfer-encoding" in fields:
        return Framing.CHUNKED
    return Framing.LENGTH if b"content-length" in fields else Framing.CLOSE


@lru_cache(maxsize=64)
def _staying(connection: bytes) -> frozenset[bytes]:
    """The fields that stay behind: hop-by-hop ones, and those that the values of `connection` name.

    Without its length a body would be the other end's next message; so the length goes on, whoever names it.
    """
    named = {token.strip().lower() for token in connection.split(b",")}
    return _HOP_BY_HOP | (named - _NEVER_NAMED)


def _staying_of(headers: Headers, fields: Mapping[bytes, bytes]) -> frozenset[bytes]:
    if b"connection" not in fields:
        return _HOP_BY_HOP
    return _staying(b",".join([value for name, value in headers if name == b"connection"]))


def upstream_head(request: RequestHead, client_ip: bytes) -> bytes:
    """What the model server is sent: the client's fields, one framing, and who forwarded for whom."""
    staying = _staying_of(request.headers, request.fields)
    if request.upgrade:
        staying -= _UPGRADE_ONLY
    if request_framing(request.fields) is Framing.CHUNKED:
        staying |= {b"content-length"}
    headers = [pair for pair in request.headers if pair[0] not in staying]
    if b"transfer-encoding" in request.fields:
        headers.append((b"transfer-encoding", b"chunked"))
    if _ROUTE.isdisjoint(request.fields.keys() - {b"host"}):
        headers.append((b"x-forwarded-for", client_ip))
    else:
        headers = _with_route(headers, request.fields, client_ip)
    return head(b"%s %s HTTP/1.1\r\n" % (request.method, request.target), headers)


def _with_route(headers: Headers, fields: Mapping[bytes, bytes], client_ip: bytes) -> Headers:
    """Behind another proxy: `Forwarded` made of its X-Forwarded fields where it has none, and one hop more."""
    if b"forwarded" not in fields and (forwarded := _forwarded(fields)):
        headers.append((b"forwarded", forwarded))
    hops = [value for name, value in headers if name == b"x-forwarded-for"]
    rest = [pair for pair in headers if pair[0] != b"x-forwarded-for"]
    return [*rest, (b"x-forwarded-for", b", ".join([*hops, client_ip]))]


def _forwarded(fields: Mapping[bytes, bytes]) -> bytes:
    """`Forwarded` from the X-Forwarded fields of a proxy before us; empty where there are none."""
    hops = [hop.strip() for hop in fields.get(b"x-forwarded-for", b"").split(b",") if hop.strip()]
    first = [b"for=" + _node(hops[0])] if hops else []
    for name, parameter in ((b"x-forwarded-host", b"host"), (b"x-forwarded-proto", b"proto")):
        value = fields.get(name)
        if value:
            first.append(parameter + b"=" + _quoted(value.strip()))
    elements = [b";".join(first)] if first else []
    return b", ".join([*elements, *(b"for=" + _node(hop) for hop in hops[1:])])


def _node(address: bytes) -> bytes:
    return b'"[%s]"' % address.strip(b"[]") if address.count(b":") > 1 else _quoted(address)


def _quoted(value: bytes) -> bytes:
    plain = value.replace(b"-", b"").replace(b".", b"").replace(b"_", b"")
    return value if plain.isalnum() else b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def client_head(
    status: int, reason: bytes, headers: Headers, framing: Framing, *, keep_alive: bool, http_1_0: bool
) -> tuple[bytes, Framing]:
    """What the client is sent, and how the body must be framed for it; `framing` is how it came.

    A client of HTTP/1.0 knows no chunks, so its body ends with the connection; any other is sent chunks rather than a
    body told by the close, so that it can see whether it got all.
    """
    staying = _staying_of(headers, dict(headers))
    if framing in (Framing.CHUNKED, Framing.CLOSE):
        framing = Framing.CLOSE if http_1_0 else Framing.CHUNKED
    if framing is Framing.CHUNKED:
        staying |= {b"content-length"}
    out = [pair for pair in headers if pair[0] not in staying]
    if framing is Framing.CHUNKED:
        out.append((b"transfer-encoding", b"chunked"))
    if not keep_alive or framing is Framing.CLOSE:
        out.append((b"connection", b"close"))
    elif http_1_0:
        out.append((b"connection", b"keep-alive"))
    return head(status_line(status, reason), out), framing


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with those trailers that may come behind one."""
    if not trailers:
        return b"0\r\n\r\n"
    return head(b"0\r\n", [pair for pair in trailers if pair[0] not in _NEVER_TRAILING])
