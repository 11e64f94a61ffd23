"""Message heads as a proxy passes them on: hop-by-hop fields out, framing and forwarding fields in.

Source: RFC 9110 section 7.6.1 (connection), RFC 9112 section 6 (framing), RFC 7239 (`Forwarded`).
Invariant: pure; a head goes out with exactly one framing, whatever came in.
"""

from dataclasses import dataclass
from enum import Enum, auto

from wayside.eventing.http.message import Headers, find

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate te trailer transfer-encoding upgrade".split()
)
# what a peer cannot have taken out by naming it in `connection`: the framing, the route, and who forwarded for whom
_NEVER_NAMED = frozenset(b"content-length host forwarded x-forwarded-for x-forwarded-host x-forwarded-proto".split())
_UPGRADE_ONLY = frozenset((b"connection", b"upgrade"))


class Framing(Enum):
    """How the end of a body is told."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head as it was parsed; header names are lower case."""

    method: bytes
    target: bytes
    headers: Headers
    upgrade: bool = False

    def header(self, name: bytes) -> bytes | None:
        return find(self.headers, name)


def is_forwardable(headers: Headers) -> bool:
    """Whether a request's transfer coding, if any, is one that a proxy can take off and put on again: chunks alone."""
    return all(value.strip().lower() == b"chunked" for name, value in headers if name == b"transfer-encoding")


def request_framing(headers: Headers) -> Framing:
    """A request's framing; the parser has refused one with both a length and chunks."""
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names:
        return Framing.CHUNKED
    return Framing.LENGTH if b"content-length" in names else Framing.NONE


def response_framing(method: bytes, status: int, headers: Headers) -> Framing:
    """A response's framing, by RFC 9112 section 6.3."""
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names:
        return Framing.CHUNKED
    return Framing.LENGTH if b"content-length" in names else Framing.CLOSE


def end_to_end(headers: Headers, keep: frozenset[bytes] = frozenset()) -> Headers:
    """The fields that are for the other end: without hop-by-hop ones, and without those that `connection` names.

    Without its length a body would be the other end's next message; so the length stays, whoever names it.
    """
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    out = (_HOP_BY_HOP | (named - _NEVER_NAMED)) - keep
    return [(name, value) for name, value in headers if name not in out]


def upstream_headers(head: RequestHead, client_ip: str) -> Headers:
    """What the model server is sent: the client's fields, one framing, and who forwarded for whom."""
    headers = end_to_end(head.headers, _UPGRADE_ONLY if head.upgrade else frozenset())
    if request_framing(head.headers) is Framing.CHUNKED:
        headers = [pair for pair in headers if pair[0] != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    if find(headers, b"forwarded") is None and (forwarded := _forwarded(headers)):
        headers.append((b"forwarded", forwarded))
    return _with_forwarded_for(headers, client_ip.encode())


def _with_forwarded_for(headers: Headers, client_ip: bytes) -> Headers:
    seen = [value for name, value in headers if name == b"x-forwarded-for"]
    rest = [pair for pair in headers if pair[0] != b"x-forwarded-for"]
    return [*rest, (b"x-forwarded-for", b", ".join([*seen, client_ip]))]


def _forwarded(headers: Headers) -> bytes:
    """`Forwarded` from the X-Forwarded fields of a proxy before us; empty where there are none."""
    hops = [hop.strip() for hop in (find(headers, b"x-forwarded-for") or b"").split(b",") if hop.strip()]
    first = [b"for=" + _node(hops[0])] if hops else []
    for name, field in ((b"x-forwarded-host", b"host"), (b"x-forwarded-proto", b"proto")):
        value = find(headers, name)
        if value:
            first.append(field + b"=" + _quoted(value.strip()))
    elements = [b";".join(first)] if first else []
    return b", ".join([*elements, *(b"for=" + _node(hop) for hop in hops[1:])])


def _node(address: bytes) -> bytes:
    return b'"[%s]"' % address.strip(b"[]") if address.count(b":") > 1 else _quoted(address)


def _quoted(value: bytes) -> bytes:
    plain = value.replace(b"-", b"").replace(b".", b"").replace(b"_", b"")
    return value if plain.isalnum() else b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def client_headers(headers: Headers, framing: Framing, *, keep_alive: bool, http_1_0: bool) -> tuple[Headers, Framing]:
    """What the client is sent, and how the body must be framed for it.

    A client of HTTP/1.0 knows no chunks, so its body ends with the connection; any other is sent chunks rather than a
    body told by the close, so that it can see whether it got all.
    """
    out = end_to_end(headers)
    if framing in (Framing.CHUNKED, Framing.CLOSE):
        framing = Framing.CLOSE if http_1_0 else Framing.CHUNKED
    if framing is Framing.CHUNKED:
        out = [pair for pair in out if pair[0] != b"content-length"]
        out.append((b"transfer-encoding", b"chunked"))
    if not keep_alive or framing is Framing.CLOSE:
        out.append((b"connection", b"close"))
    elif http_1_0:
        out.append((b"connection", b"keep-alive"))
    return out, framing


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
