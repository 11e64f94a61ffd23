"""What ASGI's scopes and messages say, in the words of the capture.

Source: the ASGI specification 3.0 (HTTP and websocket message format 2.5; the zero-copy and path-send extensions).
Invariant: pure; a server's or an app's objects are read, never changed.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from wayside.eventing.http.message import Headers
from wayside.logger.capture.request import RequestHead

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# with these an app names a file for the server to send, whose bytes no middleware sees
_UNSEEN_BODIES = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
_PATH_SAFE = "/:@!$&'()*+,;=-._~%"


def request_head(scope: Mapping[str, Any]) -> RequestHead:
    """The request's head, its path as the client wrote it where the server tells."""
    path = scope.get("raw_path") or quote(scope["path"], safe=_PATH_SAFE).encode()
    query = scope.get("query_string") or b""
    target = b"%s?%s" % (path, query) if query else path
    return RequestHead(scope["method"].encode("latin-1"), target, _lower(scope["headers"]))


def response_fields(message: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    """The first value of each header of a response's start."""
    return dict(reversed(_lower(message.get("headers") or ())))


def _lower(pairs: Iterable[Iterable[bytes]]) -> Headers:
    """Names are lower case by the specification, which not every app keeps to."""
    return [(bytes(name).lower(), bytes(value)) for name, value in pairs]


def is_bodiless(scope: Mapping[str, Any], head: RequestHead) -> bool:
    """Whether a request is whole with its head, so that an app need not read a body to have read all.

    Over HTTP/2 and later a body needs no announcement, so there only a method that has none says so.
    """
    length = head.fields.get(b"content-length")
    if length is not None:
        return not length.strip(b"0")
    if b"transfer-encoding" in head.fields:
        return False
    return scope.get("http_version", "1.1").startswith("1") or head.method in (b"GET", b"HEAD")


def with_seen_bodies(scope: Scope) -> Scope:
    """The scope without the extensions that keep a body from being seen; apps then send the bytes themselves.

    It is the same object where the server offers none of them, for what an app writes into it is read by others.
    """
    extensions = scope.get("extensions") or {}
    if _UNSEEN_BODIES.isdisjoint(extensions):
        return scope
    seen = {name: value for name, value in extensions.items() if name not in _UNSEEN_BODIES}
    return {**scope, "extensions": seen}
