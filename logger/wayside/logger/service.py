"""The logger as a service: the proxy's port, the emitter, the admin port, and the order in which they stop.

Invariant: on SIGTERM probes fail first, clients are served while word of that spreads, requests in hand finish, then
the queue is flushed, so that no event of an answered request is left out; all of it within the grace.
"""

import asyncio
import logging

from prometheus_client import CollectorRegistry

from wayside.eventing.clock import SystemClock
from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.server import listen
from wayside.logger.capture import CaptureBudget, EventFactory
from wayside.logger.connection import ClientConnection
from wayside.logger.emitter import Emitter, log_sink
from wayside.logger.exchange import Proxy
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.probes import Prober, ProbeTarget
from wayside.logger.settings import Delivery, LoggerSettings
from wayside.logger.spool import Spool
from wayside.logger.upstream import UpstreamPool

log = logging.getLogger("wayside.logger")
_POLL_S = 0.02


def _emitter(delivery: Delivery, metrics: LoggerMetrics) -> Emitter:
    spool = Spool(delivery.spool, limit_in_hand=2 * delivery.in_flight) if delivery.spool is not None else None
    return Emitter(log_sink(delivery), delivery, metrics, spool)


class PayloadLogger:
    """One logger before one model server. `port` and `admin_port` are those in use once `start` has returned."""

    def __init__(self, settings: LoggerSettings) -> None:
        """Raises `ConfigurationError` for a log url, CA file or readiness probe that cannot be used."""
        self._settings = settings
        registry = CollectorRegistry()
        metrics = LoggerMetrics(registry)
        delivery = settings.delivery
        self._emitter = _emitter(delivery, metrics) if delivery.url else None
        self._prober = Prober(ProbeTarget.of(settings.readiness_probe, settings.upstream))
        self._pool = UpstreamPool(settings.upstream)
        self._connections: set[ClientConnection] = set()
        self._proxy = Proxy(
            pool=self._pool,
            prober=self._prober,
            metrics=metrics,
            clock=SystemClock(),
            capture=settings.capture,
            budget=CaptureBudget(settings.capture.total_bytes),
            events=EventFactory(settings.identity, settings.capture.metadata_headers),
            emitter=self._emitter,
        )
        self._server: asyncio.Server | None = None
        checks = {"listening": lambda: self._server is not None and not self._prober.draining}
        self._admin = AdminServer(registry, settings.listen.admin_host, settings.listen.admin_port, checks)
        self.port = settings.listen.port

    @property
    def admin_port(self) -> int:
        return self._admin.port

    async def start(self) -> None:
        """Raises `ConfigurationError` where a port is in use, or the spool cannot be used."""
        await self._admin.start()
        if self._emitter is not None:
            await self._emitter.start()
        listen_at = self._settings.listen
        self._server = await listen(
            lambda: ClientConnection(self._proxy, self._connections), listen_at.host, listen_at.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Drain and flush within the grace; may be called twice or before `start`."""
        deadline = asyncio.get_running_loop().time() + self._settings.grace_s
        self._prober.draining = True
        if self._server is not None:
            # Kubernetes withdraws the endpoint while it stops the pod: until that is known clients still connect
            await asyncio.sleep(min(self._settings.quiet_s, self._settings.grace_s))
            self._server.close()
            self._server = None
            await self._drain(deadline)
        if self._emitter is not None:
            await self._emitter.stop(max(0.0, deadline - asyncio.get_running_loop().time()))
        self._pool.close()
        await self._prober.close()
        await self._admin.stop()

    async def _drain(self, deadline: float) -> None:
        for connection in list(self._connections):
            connection.drain()
        while any(connection.busy for connection in self._connections):
            if asyncio.get_running_loop().time() >= deadline:
                log.warning("stopped with requests in hand; their connections are closed")
                break
            await asyncio.sleep(_POLL_S)
        for connection in list(self._connections):
            connection.break_off()
