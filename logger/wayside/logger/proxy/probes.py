"""Kubernetes' and Knative's probes, answered by the logger for the model behind it.

Source: the KServe agent's probe handling (knative.dev/pkg network handlers): who is a probe, and what it is told.
Invariant: a probe is never proxied to the client's side and never becomes an event.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Origin, Unreachable, Url
from wayside.eventing.http.message import Response
from wayside.logger.capture.request import RequestHead
from wayside.logger.settings import Upstream

_TIMEOUT_S = 1.0
Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where the model is asked whether it is ready: a TCP connection, or a GET of `path` where one is named."""

    host: str
    port: int
    path: str | None = None

    @classmethod
    def of(cls, text: str, upstream: Upstream) -> "ProbeTarget":
        """From `SERVING_READINESS_PROBE`: a Kubernetes probe as JSON, or an array of which the first counts.

        Raises `ConfigurationError` where it is not JSON, or asks for what a proxy cannot do.
        """
        if not text:
            return cls(upstream.host, upstream.port)
        try:
            probe = json.loads(text)
            probe = probe[0] if isinstance(probe, list) else probe
            return cls._from_probe(probe, upstream)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as exc:
            raise ConfigurationError(f"SERVING_READINESS_PROBE is no probe that the logger can make: {exc!r}") from exc

    @classmethod
    def _from_probe(cls, probe: dict[str, Any], upstream: Upstream) -> "ProbeTarget":
        action = probe.get("httpGet") or probe.get("tcpSocket") or {}
        port = action.get("port") or upstream.port
        # Knative writes port 0 for the container's own, and names none for its default
        host, number = str(action.get("host") or upstream.host), int(port)
        return cls(host, number, str(action.get("path") or "/") if probe.get("httpGet") else None)


class Prober:
    """Answers probes. `draining` turns every answer into 503."""

    def __init__(self, target: ProbeTarget) -> None:
        self._target = target
        self._client = HttpClient(idle_limit=1)
        self.draining = False

    async def close(self) -> None:
        await self._client.close()

    async def answer(self, head: RequestHead) -> Response:
        """What a probe is told."""
        kind = head.fields.get(b"k-network-probe")
        if kind == b"probe":
            return self._answer_hash(head)
        if kind != b"queue":
            return Response.text(400, "unexpected probe: send 'K-Network-Probe: queue'")
        if self.draining or not await self.is_ready():
            return Response.text(503, "draining" if self.draining else "the model is not ready")
        return Response(200, [], b"queue")

    def _answer_hash(self, head: RequestHead) -> Response:
        value = head.fields.get(b"k-network-hash")
        if value is None:
            return Response.text(400, "a probe needs 'K-Network-Hash'")
        if self.draining:
            return Response.text(503, "draining")
        return Response(200, [(b"k-network-hash", value)])

    async def is_ready(self) -> bool:
        """Whether the model answers."""
        target = self._target
        if target.path is None:
            return await _connects(target.host, target.port)
        host = f"{target.host}:{target.port}"
        url = Url(Origin(target.host, target.port, False), target.path.encode(), host.encode(), f"http://{host}")
        try:
            response = await self._client.send(b"GET", url, [], timeout_s=_TIMEOUT_S)
        except Unreachable:
            return False
        return 200 <= response.status < 400


async def _connects(host: str, port: int) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return True
    return False
