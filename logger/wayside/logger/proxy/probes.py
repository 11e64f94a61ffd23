"""Kubernetes' and Knative's probes, answered by the logger for the model behind it.

Source: the KServe agent's probe handling (knative.dev/pkg network handlers): who is a probe, and what it is told.
Invariant: a probe is never proxied and never becomes an event; while one question to the model is under way, every
probe waits for its answer, and none asks another.
"""

import asyncio
import ssl

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.logger.capture.request import RequestHead
from wayside.logger.proxy.readiness import ProbeTarget

__all__ = ["ProbeTarget", "Prober"]


def _unverified() -> ssl.SSLContext:
    """As the kubelet's: a readiness probe asks a model in the same pod, whose certificate need not name an address."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls


class Prober:
    """Answers probes; the model is ready where all `targets` pass. `draining` turns every answer into 503."""

    def __init__(self, targets: tuple[ProbeTarget, ...]) -> None:
        self._targets = targets
        self._client = HttpClient(idle_limit=1, tls=_unverified() if any(each.tls for each in targets) else None)
        self._asking: asyncio.Task[bool] | None = None
        self.draining = False

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        await self._client.close()

    async def answer(self, head: RequestHead) -> Response:
        """What a probe is told."""
        if self.draining:
            return Response.text(503, "shutting down")
        if not head.is_health_check:
            return self._answer_hash(head)
        kind = head.fields.get(b"k-network-probe", b"")
        if kind != b"queue":
            given = kind.decode("latin-1")
            return Response.text(400, f"unexpected probe header value: {given!r}; send 'K-Network-Probe: queue'")
        if not await self.is_ready():
            return Response.text(503, "the model is not ready")
        return Response(200, [], b"queue")

    @staticmethod
    def _answer_hash(head: RequestHead) -> Response:
        value = head.fields.get(b"k-network-hash")
        if not value:
            return Response.text(400, 'a probe request must contain a non-empty "K-Network-Hash" header')
        return Response(200, [(b"k-network-hash", value)])

    async def is_ready(self) -> bool:
        """Whether the model answers."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # one probe that gives up takes no answer from the others

    async def _ask(self) -> bool:
        try:
            return all(await asyncio.gather(*(target.passes(self._client) for target in self._targets)))
        finally:
            self._asking = None
