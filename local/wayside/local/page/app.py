"""The page as an ASGI application: static files, one JSON document, one record's document as text.

Invariant: every answer, errors included, carries the security headers, and only a request that names this machine
gets one: a foreign site that points its name at the loopback address (DNS rebinding) gets 421.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import exposition

from wayside.local.page.cards import as_text
from wayside.local.page.sources import Problem
from wayside.local.page.state import LiveState, PageMetrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
STATIC = Path(__file__).with_name("static")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"no-cache")


class Guard:
    """Middleware: checks the Host header, adds the security headers. `hosts` are names without a port, lower case."""

    def __init__(self, app: Asgi, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caching = _REVALIDATE if scope.get("path") == "/" or _is_static(scope.get("path", "")) else _NO_STORE

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS, caching]
            await send(message)

        answer = self._app if _host(scope) in self._hosts else _MISDIRECTED
        await answer(scope, receive, guarded)


_MISDIRECTED = PlainTextResponse("this page answers to localhost; name others with --allow-host\n", 421)


def _is_static(path: str) -> bool:
    return path.rpartition(".")[2] in ("css", "html", "js", "svg")


def _host(scope: Scope) -> str:
    """The name in the Host header, without its port; empty where there is none, or more than one."""
    found: list[str] = [value.decode("latin-1").lower() for name, value in scope.get("headers", ()) if name == b"host"]
    if len(found) != 1:
        return ""
    name, colon, port = found[0].rpartition(":")
    return name if colon and port.isdecimal() else found[0]


def make_app(state: LiveState, metrics: PageMetrics, allowed_hosts: Collection[str] = ()) -> FastAPI:
    """The application. `state` is started and stopped by the caller."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/api/state")
    async def read_state() -> Response:
        return Response(await state.latest(), media_type="application/json")

    @app.get("/api/records/{record_id}")
    async def read_record(record_id: str) -> Response:
        try:
            document = await state.files.document(record_id)
        except Problem as exc:
            return PlainTextResponse(f"{exc}\n", 503)
        if document is None:
            return PlainTextResponse("there is no such record\n", 404)
        return PlainTextResponse(as_text(document).encode(errors="backslashreplace"))

    _add_admin(app, metrics)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    hosts = LOOPBACK_NAMES | {host.lower() for host in allowed_hosts}
    app.add_middleware(Guard, hosts=hosts)
    return app


def _add_admin(app: FastAPI, metrics: PageMetrics) -> None:
    """Health, readiness and metrics: on the page's own port, since there is no model that they could shadow."""

    @app.get("/healthz")
    async def health() -> Response:
        return PlainTextResponse("ok")

    @app.get("/readyz")
    async def ready() -> Response:
        return PlainTextResponse("ready")

    @app.get("/metrics")
    async def read_metrics() -> Response:
        encode, content_type = exposition.choose_encoder("")
        return Response(encode(metrics.registry), headers={"content-type": content_type})
