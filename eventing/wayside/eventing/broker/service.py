"""The broker as one service: store, retention, deliveries, door and admin port, built from settings.

Invariant: parts start from the store outwards and stop in the other order, so that no event is taken that could not
be kept, and none is settled in a store that is closed.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from wayside.eventing.broker.dispatcher import Dispatcher
from wayside.eventing.broker.events.actions import EventActions
from wayside.eventing.broker.ingress import Ingress
from wayside.eventing.broker.lane import Surroundings
from wayside.eventing.broker.metrics import ArrivalCounters, BrokerMetrics
from wayside.eventing.broker.retention import Retention, RetentionSettings
from wayside.eventing.broker.routing import Router
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.subscribers import Subscribers
from wayside.eventing.broker.views import Counts, counts, dead_letters
from wayside.eventing.clock import Clock, SystemClock
from wayside.eventing.errors import WaysideError
from wayside.eventing.http.admin import AdminServer
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.open_files import allow_open_files
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.http.url import Url
from wayside.eventing.sink import Sink, SinkUnavailable
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.manifests import Manifests, load_manifests
from wayside.eventing.triggers.watch import ManifestWatch

log = logging.getLogger("wayside.broker")
STORE_FILE = "journal.db"
_TRY_AGAIN_S = 1.0
_OWN_FILES = 256


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
    connections: int = 1024
    in_flight_bytes: int = 256 << 20
    reload_s: float = 2.0


class BrokerService:
    """A broker that runs in this process. Raises `ConfigurationError` where the manifests are wrong.

    `sinks` are subscribers in this process, by the URL that a Trigger's subscriber resolves to; whoever gives them
    starts and stops them.
    """

    def __init__(
        self, settings: BrokerSettings, clock: Clock | None = None, sinks: Mapping[Url, Sink] | None = None
    ) -> None:
        clock = clock or SystemClock()
        self._settings = settings
        resolver = Resolver(settings.resolve)
        self._watch = ManifestWatch(settings.manifests, resolver, settings.reload_s)  # before they are loaded
        self._manifests = load_manifests(settings.manifests, resolver)
        self._router = Router(self._manifests)
        self.store = BrokerStore(settings.data / STORE_FILE, settings.store_limit_bytes, clock)
        self._client = HttpClient(idle_limit=settings.in_flight)
        subscribers = Subscribers(self._client, sinks or {})
        around = Surroundings(
            self.store, self._router, subscribers, clock, settings.in_flight, settings.in_flight_bytes
        )
        self._dispatcher = Dispatcher(around)
        self.store.feed = self._dispatcher.feed
        arrivals = ArrivalCounters()
        door = Ingress(self._router, self.store, arrivals)
        limits = ServerLimits(body_bytes=settings.body_limit_bytes, connections=settings.connections)
        self._server = HttpServer(door.answer, settings.host, settings.port, limits)
        self._retention = Retention(self.store, RetentionSettings(settings.retain_s), clock)
        self._metrics = BrokerMetrics(self.store, self._dispatcher, self._server, arrivals, clock)
        self._admin = self._make_admin(settings, EventActions(self.store, self._dispatcher, clock))
        self._reloading: asyncio.Task[None] | None = None
        self._started = AsyncExitStack()

    def _make_admin(self, settings: BrokerSettings, events: EventActions) -> AdminServer:
        registry = CollectorRegistry()
        registry.register(self._metrics)
        checks = {
            "store": lambda: self.store.running,
            "deliveries": lambda: self._dispatcher.running,
            "manifests": lambda: self._reloading is not None and not self._reloading.done(),
        }
        views = {"/triggers": lambda: self.counts().view(), "/dead-letters": lambda: dead_letters(self.store.view)}
        return AdminServer(
            *(registry, settings.admin_host, settings.admin_port, checks, views), events.queries, events.actions
        )

    @property
    def port(self) -> int:
        """Where events are posted, once `start` has returned."""
        return self._server.port

    @property
    def admin_port(self) -> int:
        """Where health, metrics and views are, once `start` has returned."""
        return self._admin.port

    def counts(self) -> Counts:
        """What was counted, as of the last committed state."""
        return counts(self.store.view, self._dispatcher.lanes.keys())

    async def start(self) -> None:
        """Raises `ConfigurationError` for a store that cannot be opened or an address that is in use."""
        self._ask_for_files()
        self._started.push_async_callback(self._client.close)
        for part in (self.store, self._retention):
            self._started.push_async_callback(part.stop)
            await part.start()
        self._started.push_async_callback(self._dispatcher.stop)
        await self._dispatcher.apply(self._manifests)
        for server in (self._server, self._admin):
            self._started.push_async_callback(server.stop)
            await server.start()
        self._started.push_async_callback(self._stop_reloading)
        self._reloading = asyncio.create_task(self._reload())
        self._reloading.add_done_callback(_log_failure)
        self._tell(self._manifests)

    def _ask_for_files(self) -> None:
        """So that senders' connections leave room for the deliveries."""
        wanted = self._settings.connections + self._settings.in_flight * len(self._manifests.triggers) + _OWN_FILES
        allowed = allow_open_files(wanted)
        if allowed < wanted:
            log.warning("%d files may be open, %d are wanted: raise the limit (ulimit -n)", allowed, wanted)

    async def stop(self) -> None:
        """Take no more events, let deliveries in flight end, close the store. May be called twice."""
        await self._started.aclose()

    async def wait_failed(self) -> None:
        """Raises `WaysideError` once the broker cannot go on: its process should end, and be started again."""
        await self.store.damaged.wait()
        raise WaysideError(f"the store {self.store.path} is damaged: start again, which saves what can be read")

    async def _reload(self) -> None:
        """Go by the manifests as they change."""
        while True:
            manifests = await self._watch.wait_changed()
            await self._put_in_force(manifests)
            log.info("the manifests have changed, and are in force")
            self._tell(manifests)

    async def _put_in_force(self, manifests: Manifests) -> None:
        """For as long as it takes. A new Trigger is known to the store before events are matched to it."""
        while True:
            try:
                await self._dispatcher.apply(manifests)
            except SinkUnavailable as exc:
                log.error("the changed manifests are not in force yet: %s", exc)
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                return self._router.replace(manifests)

    async def _stop_reloading(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)

    def _tell(self, manifests: Manifests) -> None:
        log.info("events: port %d at /<namespace>/<broker>; admin: port %d", self.port, self.admin_port)
        for trigger in manifests.triggers:
            log.info("trigger %s delivers to %s", trigger.name, trigger.subscriber.text)
        for gone in self.counts().triggers:
            if not gone.active and gone.waiting:
                log.warning(
                    "trigger %s/%s/%s is in no manifest: its %d waiting events are kept and not delivered",
                    *(gone.namespace, gone.broker, gone.name, gone.waiting),
                )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("manifests are not read again; restart the broker", exc_info=failure)
