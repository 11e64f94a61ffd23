"""The admin port of a service: `/healthz`, `/readyz`, `/metrics`, and views and actions of its own, apart from traffic.

Invariant: `/healthz` is 200 while the event loop turns; `/readyz` is 200 only while every named check passes. Only a
POST to an action changes anything, and none that a web page makes a browser send does.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from prometheus_client import CollectorRegistry, exposition

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.sink import SinkUnavailable

Check = Callable[[], bool]
View = Callable[[], Mapping[str, Any]]
Query = Callable[[Mapping[str, str]], Awaitable[bytes]]
Action = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
_BODY_BYTES = 64 << 10
_QUERY_FIELDS = 32
_READS = (b"GET", b"HEAD")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")


class BadRequest(WaysideError):
    """What was asked for cannot be done as it was asked; the answer is a 400 with this reason."""


class AdminServer:
    """Serves a registry's metrics and the readiness `checks` (name → passes now), and JSON by path.

    `views` take nothing; `queries` take the URL's query and return JSON as it is sent, and may hold payloads: on
    loopback they answer to a Host that says so, alone. `actions` take the JSON object of a POST. A query or an action
    may raise `BadRequest` (answered 400) and `SinkUnavailable` (503).
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        checks: Mapping[str, Check] | None = None,
        views: Mapping[str, View] | None = None,
        queries: Mapping[str, Query] | None = None,
        actions: Mapping[str, Action] | None = None,
    ) -> None:
        self._registry = registry
        self._checks = checks or {}
        self._views = views or {}
        self._queries = queries or {}
        self._actions = actions or {}
        self._is_local = host in _LOCAL_NAMES
        self._server = HttpServer(self._handle, host, port, ServerLimits(body_bytes=_BODY_BYTES))

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def _handle(self, request: Request) -> Response:
        try:
            action = self._actions.get(request.path)
            return await (self._read(request) if action is None else _act(action, request))
        except BadRequest as exc:
            return Response.text(400, str(exc))
        except SinkUnavailable as exc:
            return Response.text(503, str(exc), [(b"retry-after", b"%d" % max(1, round(exc.retry_after_s or 1)))])

    async def _read(self, request: Request) -> Response:
        if request.method not in _READS:
            return Response.text(405, "use GET", [(b"allow", b"GET, HEAD")])
        if request.path == "/healthz":
            return Response.text(200, "ok")
        if request.path == "/readyz":
            return self._ready()
        if request.path == "/metrics":
            return self._metrics(request)
        query, view = self._queries.get(request.path), self._views.get(request.path)
        if query is not None:
            if self._is_local and _name(request) not in _LOCAL_NAMES:  # a page whose name was pointed at this machine
                return Response.text(421, "this answers to localhost")
            return Response(200, [JSON], await query(_query_of(request)))
        if view is not None:
            return Response(200, [JSON], json.dumps(view()).encode())
        return self._not_found()

    def _not_found(self) -> Response:
        known = ["/healthz", "/readyz", "/metrics", *self._views, *self._queries]
        return Response.text(404, " ".join(["try", *known, *(f"POST {path}" for path in self._actions)]))

    def _ready(self) -> Response:
        failing = [name for name, passes in self._checks.items() if not passes()]
        return Response.text(503, "not ready: " + ", ".join(failing)) if failing else Response.text(200, "ready")

    def _metrics(self, request: Request) -> Response:
        accept = (request.header(b"accept") or b"").decode("latin-1")
        encode, content_type = exposition.choose_encoder(accept)
        return Response(200, [(b"content-type", content_type.encode())], encode(self._registry))


def _name(request: Request) -> str:
    """The name in the Host header, without its port."""
    host = (request.header(b"host") or b"").decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


async def _act(action: Action, request: Request) -> Response:
    if request.method != b"POST":
        return Response.text(405, "use POST", [(b"allow", b"POST")])
    if request.header(b"origin") is not None:  # browsers send it with every POST, also of a page on this very name
        return Response.text(403, "this is not for web pages")
    content_type = (request.header(b"content-type") or b"").split(b";", 1)[0].strip().lower()
    if content_type != b"application/json":  # which no form of a page elsewhere can send
        return Response.text(415, "send content-type: application/json")
    return Response(200, [JSON], json.dumps(await action(_object_of(request.body))).encode())


def _object_of(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body cannot be read as JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def _query_of(request: Request) -> Mapping[str, str]:
    _, _, text = request.target.partition(b"?")
    try:
        pairs = parse_qsl(
            text.decode("ascii"), True, strict_parsing=bool(text), errors="strict", max_num_fields=_QUERY_FIELDS
        )
    except ValueError as exc:
        raise BadRequest(f"the query cannot be read: {exc}") from exc
    query = dict(pairs)
    if len(query) < len(pairs):
        raise BadRequest("the query names a field twice")
    return query
