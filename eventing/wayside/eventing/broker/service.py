"""The broker as one service: store, retention, deliveries, door and admin port, built from settings.

Invariant: parts start from the store outwards and stop in the other order, so that no event is taken that could not
be kept, and none is settled in a store that is closed.
"""

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from wayside.eventing.broker.destinations import Resolver
from wayside.eventing.broker.dispatcher import Dispatcher
from wayside.eventing.broker.ingress import Ingress
from wayside.eventing.broker.manifests import load_manifests
from wayside.eventing.broker.metrics import ArrivalCounters, BrokerMetrics
from wayside.eventing.broker.retention import Retention, RetentionSettings
from wayside.eventing.broker.routing import Router
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.http.url import Url

log = logging.getLogger("wayside.broker")
STORE_FILE = "broker.sqlite"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker keeps events, what it delivers where, its addresses and its bounds."""

    data: Path
    manifests: tuple[Path, ...]
    resolve: Mapping[str, Url]
    host: str = "127.0.0.1"
    port: int = 8610
    admin_host: str = "127.0.0.1"
    admin_port: int = 8611
    in_flight: int = 32
    retain_s: float = 86_400.0
    store_limit_bytes: int = 1 << 30
    body_limit_bytes: int = 16 << 20


class BrokerService:
    """A broker that runs in this process. Raises `ConfigurationError` where the manifests are wrong."""

    def __init__(self, settings: BrokerSettings, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self._manifests = load_manifests(settings.manifests, Resolver(settings.resolve))
        triggers, router, arrivals = self._manifests.triggers, Router(self._manifests), ArrivalCounters()
        names = [trigger.name for trigger in triggers]
        self.store = BrokerStore(settings.data / STORE_FILE, names, settings.store_limit_bytes, clock)
        self._dispatcher = Dispatcher(triggers, self.store, router, clock, settings.in_flight)
        door = Ingress(router, self.store, self._dispatcher.wake, arrivals)
        limits = ServerLimits(body_bytes=settings.body_limit_bytes)
        self._server = HttpServer(door.answer, settings.host, settings.port, limits)
        self._retention = Retention(self.store, RetentionSettings(settings.retain_s), clock)
        self._admin = self._make_admin(settings, arrivals)
        self._started = AsyncExitStack()

    def _make_admin(self, settings: BrokerSettings, arrivals: ArrivalCounters) -> AdminServer:
        registry = CollectorRegistry()
        registry.register(BrokerMetrics(self.store, arrivals))
        checks = {"store": lambda: self.store.running, "deliveries": lambda: self._dispatcher.running}
        views = {"/triggers": lambda: self.store.counts().view(), "/dead-letters": self.store.dead_letters}
        return AdminServer(registry, settings.admin_host, settings.admin_port, checks, views)

    @property
    def port(self) -> int:
        """Where events are posted, once `start` has returned."""
        return self._server.port

    @property
    def admin_port(self) -> int:
        """Where health, metrics and views are, once `start` has returned."""
        return self._admin.port

    async def start(self) -> None:
        """Raises `ConfigurationError` for a store that cannot be opened or an address that is in use."""
        for part in (self.store, self._retention, self._dispatcher, self._server, self._admin):
            self._started.push_async_callback(part.stop)
            await part.start()
        self._tell()

    async def stop(self) -> None:
        """Take no more events, let deliveries in flight end, close the store. May be called twice."""
        await self._started.aclose()

    def _tell(self) -> None:
        log.info("events: port %d at /<namespace>/<broker>; admin: port %d", self.port, self.admin_port)
        for trigger in self._manifests.triggers:
            log.info("trigger %s delivers to %s", trigger.name, trigger.subscriber.text)
        for counts in self.store.counts().triggers:
            if not counts.active and counts.waiting:
                log.warning(
                    "trigger %s/%s/%s is in no manifest: its %d waiting events are kept and not delivered",
                    *(counts.namespace, counts.broker, counts.name, counts.waiting),
                )
