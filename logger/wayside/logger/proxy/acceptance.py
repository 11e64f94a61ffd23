"""Which requests go on to the model server, and as what: what the parser lets pass, and a proxy must not.

Source: RFC 9112 sections 2.3 (version), 3.2 (target and Host), 6.1 (transfer codings); RFC 9110 section 7.8 (upgrade).
Invariant: pure; a request goes on as it is, goes on in its plain form, or is refused with the reason.
"""

from wayside.eventing.http.message import Headers, Response
from wayside.logger.capture.request import RequestHead
from wayside.logger.proxy.headers import Framing, is_chunked_alone, request_framing

_SCHEMES = (b"http", b"https")


class Refused(Exception):
    """A request that goes no further; carries the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.response = Response.text(status, reason)


def accept(method: bytes, target: bytes, headers: Headers, version: str, authority: bytes) -> RequestHead:
    """The request that these make. Raises `Refused`.

    `authority` is the model server's, for a client of HTTP/1.0, which need not name one.
    """
    request = RequestHead(method, target, headers)
    fields = request.fields
    if len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        raise Refused(400, "it has more than one Host")
    if version != "1.1":
        request = _of_another_version(request, version, authority)
    if target[:1] != b"/" or method == b"CONNECT":
        request = _in_origin_form(request)
    if b"host" not in request.fields:
        raise Refused(400, "it has no Host")
    if b"transfer-encoding" in fields and not is_chunked_alone(request.headers):
        raise Refused(501, "the only transfer coding served here is 'chunked'")
    return request


def _of_another_version(request: RequestHead, version: str, authority: bytes) -> RequestHead:
    if version != "1.0":
        raise Refused(505, f"HTTP/{version} is not served so; this is HTTP/1.1")
    if b"transfer-encoding" in request.fields:
        raise Refused(400, "HTTP/1.0 has no transfer codings")
    if b"host" in request.fields:
        return request
    return RequestHead(request.method, request.target, [*request.headers, (b"host", authority)])


def _in_origin_form(request: RequestHead) -> RequestHead:
    """A target that names a host beats the Host field, and goes on without it, as servers expect it."""
    if request.method == b"CONNECT":
        raise Refused(405, "CONNECT is for forward proxies; this port serves one model")
    if request.target == b"*":
        return request
    scheme, _, rest = request.target.partition(b"://")
    end = next((at for at, char in enumerate(rest) if char in b"/?#"), len(rest))
    if scheme.lower() not in _SCHEMES or not end:
        raise Refused(400, "its target is no path")
    path = rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]
    headers = [(b"host", rest[:end].rpartition(b"@")[2]), *(pair for pair in request.headers if pair[0] != b"host")]
    return RequestHead(request.method, path, headers)


def asks_to_switch(request: RequestHead) -> bool:
    """Whether a request that wishes for another protocol is to become a tunnel.

    An offer of HTTP/2 (h2c), as Java's client makes it by default, is passed over, for HTTP/1.1 can be captured; so is
    any wish on a request with a body, which no protocol of today makes.
    """
    wish = request.fields.get(b"upgrade", b"").strip().lower()
    return wish != b"h2c" and request_framing(request.fields) is Framing.NONE
