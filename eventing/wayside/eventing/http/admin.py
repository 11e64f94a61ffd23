"""The admin port of a service: `/healthz`, `/readyz`, `/metrics`, and views of its own, apart from its traffic.

Invariant: `/healthz` is 200 while the event loop turns; `/readyz` is 200 only while every named check passes.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, exposition

from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer

Check = Callable[[], bool]
View = Callable[[], Mapping[str, Any]]


class AdminServer:
    """Serves a registry's metrics and the readiness `checks` (name → passes now). `views` are JSON pages by path."""

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        checks: Mapping[str, Check] | None = None,
        views: Mapping[str, View] | None = None,
    ) -> None:
        self._registry = registry
        self._checks = checks or {}
        self._views = views or {}
        self._server = HttpServer(self._handle, host, port)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def _handle(self, request: Request) -> Response:
        if request.method not in (b"GET", b"HEAD"):
            return Response.text(405, "use GET", [(b"allow", b"GET, HEAD")])
        if request.path == "/healthz":
            return Response.text(200, "ok")
        if request.path == "/readyz":
            return self._ready()
        if request.path == "/metrics":
            return self._metrics(request)
        view = self._views.get(request.path)
        if view is None:
            return Response.text(404, "try " + " ".join(["/healthz", "/readyz", "/metrics", *self._views]))
        return Response(200, [JSON], json.dumps(view()).encode())

    def _ready(self) -> Response:
        failing = [name for name, passes in self._checks.items() if not passes()]
        return Response.text(503, "not ready: " + ", ".join(failing)) if failing else Response.text(200, "ready")

    def _metrics(self, request: Request) -> Response:
        accept = (request.header(b"accept") or b"").decode("latin-1")
        encode, content_type = exposition.choose_encoder(accept)
        return Response(200, [(b"content-type", content_type.encode())], encode(self._registry))
