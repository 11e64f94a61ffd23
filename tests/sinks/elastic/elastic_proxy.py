"""A real HTTP server before Elasticsearch, which answers some requests itself, or some items of a bulk request."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.http.url import Url

PRODUCT = [(b"x-elastic-product", b"Elasticsearch"), (b"content-type", b"application/json")]
Answer = Callable[[Request], Response | None]
Spoil = Callable[[dict[str, Any], bytes], int | None]
_HOP = (b"content-length", b"connection", b"transfer-encoding", b"host")


def error(status: int, kind: str = "some_exception") -> Response:
    """An answer in Elasticsearch's form."""
    body = {"error": {"type": kind, "reason": "so the test says", "root_cause": []}, "status": status}
    return Response(status, PRODUCT, json.dumps(body).encode())


class ElasticProxy:
    """Forwards to `target`, but for what `answer` answers (None: forwarded) and for the bulk items that `spoil` spoils.

    `spoil` is given an item's action and its document, and gives the status that it fails with, or None.
    """

    def __init__(self, target: str, answer: Answer = lambda request: None, spoil: Spoil | None = None) -> None:
        self._target = target
        self._answer = answer
        self._spoil = spoil
        self._client = HttpClient()
        self._server = HttpServer(self._handle, "127.0.0.1", 0, ServerLimits(body_bytes=64 << 20))
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def __aenter__(self) -> "ElasticProxy":
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        await self._client.close()

    async def _handle(self, request: Request) -> Response:
        self.requests.append(request)
        answer = self._answer(request)
        if answer is not None:
            return answer
        with suppress(Unreachable):
            if self._spoil is not None and request.path == "/_bulk":
                return await self._spoiled(request, self._spoil)
            return await self._forward(request, request.body)
        return error(502)

    async def _forward(self, request: Request, body: bytes) -> Response:
        headers = [(name, value) for name, value in request.headers if name not in _HOP]
        url = Url.parse(self._target + request.target.decode())
        found = await self._client.send(request.method, url, headers, body, timeout_s=20)
        kept = [(name, value) for name, value in found.headers if name not in _HOP]
        return Response(found.status, kept, found.body)

    async def _spoiled(self, request: Request, spoil: Spoil) -> Response:
        """The sound items are written; the others are reported as failed in their places."""
        lines = request.body.splitlines()
        pairs = [(json.loads(lines[at]), lines[at + 1]) for at in range(0, len(lines), 2)]
        statuses = [spoil(action, document) for action, document in pairs]
        sound = [pair for pair, status in zip(pairs, statuses, strict=True) if status is None]
        body = b"".join(json.dumps(action).encode() + b"\n" + document + b"\n" for action, document in sound)
        answer = await self._forward(request, body) if sound else Response(200, PRODUCT, b'{"items": []}')
        written = iter(json.loads(answer.body)["items"])
        failed = {"type": "some_exception", "reason": "so the test says"}
        items = [
            next(written) if status is None else {next(iter(action)): {"status": status, "error": failed}}
            for (action, _), status in zip(pairs, statuses, strict=True)
        ]
        return Response(200, PRODUCT, json.dumps({"took": 1, "errors": True, "items": items}).encode())
