"""The logger as a service: the proxy's port, the emitter, the admin port, and the order in which they stop.

Invariant: on SIGTERM probes fail first, clients are served while word of that spreads, requests in hand finish, then
the queue is flushed, so that no event of an answered request is left out; all of it within the grace.
"""

import asyncio

from prometheus_client import CollectorRegistry

from wayside.eventing.clock import SystemClock
from wayside.eventing.http.admin import AdminServer
from wayside.logger.capture.recording import Recorder
from wayside.logger.counts import LoggerCounts
from wayside.logger.delivery import EventDelivery
from wayside.logger.http2.splice import Splices
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.proxy.exchange import Proxy
from wayside.logger.proxy.peer import Peers
from wayside.logger.proxy.probes import Prober, ProbeTarget
from wayside.logger.proxy.server import ProxyServer
from wayside.logger.proxy.upstream import UpstreamPool
from wayside.logger.settings import LoggerSettings

_DELIVERY_S = 5.0  # of the grace that requests in hand cannot use up: what is queued is sent in it, or spooled


class PayloadLogger:
    """One logger before one model server. `port` and `admin_port` are those in use once `start` has returned."""

    def __init__(self, settings: LoggerSettings) -> None:
        """Raises `ConfigurationError` for a log url, CA file or readiness probe that cannot be used."""
        self._settings = settings
        registry = CollectorRegistry()
        self.counts = LoggerCounts()
        self._delivery = EventDelivery(settings, self.counts) if settings.delivery.url else None
        self._prober = Prober(ProbeTarget.of(settings.readiness_probe, settings.upstream))
        self._pool = UpstreamPool(settings.upstream)
        listen_at = settings.listen
        recorder, peers = self._recorder(), Peers()
        splices = Splices(settings.upstream, recorder, peers)
        proxy = Proxy(self._pool, self._prober, self.counts, recorder, splices, peers)
        self._server = ProxyServer(proxy, listen_at.host, listen_at.port, shares_port=settings.processes > 1)
        registry.register(LoggerMetrics(self.counts, self._delivery, splices.counts))
        checks = {"listening": lambda: self._server.listening and not self._prober.draining}
        self._admin = AdminServer(registry, listen_at.admin_host, listen_at.admin_port, checks)

    @property
    def port(self) -> int:
        return self._server.port

    def _recorder(self) -> Recorder | None:
        if self._delivery is None:
            return None
        settings = self._settings
        return Recorder(settings.capture, settings.identity, self.counts, self._delivery, SystemClock())

    @property
    def admin_port(self) -> int:
        return self._admin.port

    async def start(self) -> None:
        """Raises `ConfigurationError` where a port is in use, or the spool cannot be used."""
        await self._admin.start()
        if self._delivery is not None:
            await self._delivery.start()
        await self._server.start()

    async def stop(self) -> None:
        """Drain and flush within the grace; may be called twice or before `start`."""
        loop = asyncio.get_running_loop()
        grace_s = self._settings.grace_s
        serving_s = grace_s - min(_DELIVERY_S, grace_s / 4)
        began_s = loop.time()
        self._prober.draining = True
        if self._server.listening:
            # queued events are sent meanwhile; half of the grace is left for requests in hand and for the rest of them
            quiet_s = min(self._settings.quiet_s, serving_s)
            await self._server.wait_quiet(quiet_s, max(quiet_s, grace_s / 2))
            await self._server.drain(began_s + serving_s)
        if self._delivery is not None:
            await self._delivery.stop(max(0.0, began_s + grace_s - loop.time()))
        self._pool.close()
        await self._prober.close()
        await self._admin.stop()
