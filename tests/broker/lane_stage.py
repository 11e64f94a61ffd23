"""The broker's deliveries without its ports: a store, a dispatcher, and subscribers in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from wayside.eventing.broker.dispatcher import Dispatcher
from wayside.eventing.broker.lane import Lane, Surroundings
from wayside.eventing.broker.routing import Router
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.subscribers import Subscribers
from wayside.eventing.broker.views import TriggerCounts, counts
from wayside.eventing.clock import SystemClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.exact import exact
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.delivery import BackoffPolicy, DeliverySpec
from wayside.eventing.triggers.manifests import Manifests, Trigger
from wayside.eventing.triggers.names import BrokerName, TriggerName

BROKER = BrokerName("default", "default")
QUICK = DeliverySpec(retry=3, policy=BackoffPolicy.LINEAR, delay_s=0.001)
Answer = Callable[[CloudEvent], Awaitable[None] | None]


def name_of(trigger: str) -> TriggerName:
    return TriggerName(BROKER.namespace, BROKER.name, trigger)


def url_of(subscriber: str) -> Url:
    return Url.parse(f"http://{subscriber}.test/")


def trigger(name: str, delivery: DeliverySpec = QUICK, ordered: bool = False, in_flight: int | None = None) -> Trigger:
    """It wants the events whose type is its name."""
    return Trigger(name_of(name), exact({"type": name}), url_of(name), delivery, ordered, in_flight)


class Told:
    """A subscriber in this process: a `Sink` that does as it is told, and knows what it took."""

    def __init__(self, answer: Answer = lambda _: None) -> None:
        self.answer = answer
        self.began: list[str] = []
        self.took: list[str] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, event: CloudEvent) -> None:
        self.began.append(event.id)
        waits = self.answer(event)
        if waits is not None:
            await waits
        self.took.append(event.id)


class Hanging(Told):
    """Answers nothing, until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        super().__init__(lambda _: self._wait())

    async def _wait(self) -> None:
        await self.released.wait()


class Stage:
    """`start` runs lanes for Triggers; whoever made the stage stops it."""

    def __init__(self, folder: Path, new_store: type[BrokerStore] = BrokerStore) -> None:
        self.path = folder / "journal.db"
        self.store = new_store(self.path, 1 << 30, SystemClock())
        self._client = HttpClient()

    async def start(
        self,
        triggers: Mapping[Trigger, Told],
        in_flight: int = 4,
        in_flight_bytes: int = 256 << 20,
        others: Mapping[str, Told] | None = None,
    ) -> None:
        """`others` are subscribers by name that are no Trigger's, such as dead-letter sinks."""
        manifests = Manifests(frozenset((BROKER,)), tuple(triggers))
        sinks = {one.subscriber: sink for one, sink in triggers.items()}
        sinks |= {url_of(name): sink for name, sink in (others or {}).items()}
        self.router = Router(manifests)
        around = Surroundings(
            *(self.store, self.router, Subscribers(self._client, sinks), SystemClock(), in_flight, in_flight_bytes)
        )
        self.dispatcher = Dispatcher(around)
        await self.store.start()
        self.store.feed = self.dispatcher.feed
        await self.dispatcher.apply(manifests)

    async def stop(self) -> None:
        """Whoever hangs is to be released before."""
        await self.dispatcher.stop()
        await self.store.stop()
        await self._client.close()

    async def post(self, *events: CloudEvent) -> None:
        """Keep events, in their order."""
        for event in events:
            await self.store.add(self.router.route(BROKER, event, []))

    def lane(self, name: str) -> Lane:
        return self.dispatcher.lanes[name_of(name)]

    def counts(self, name: str) -> TriggerCounts:
        return next(one for one in counts(self.store.view, self.dispatcher.lanes).triggers if one.name == name)


def with_dead_letters_to(name: str, delivery: DeliverySpec = QUICK) -> DeliverySpec:
    return replace(delivery, dead_letter_sink=url_of(name))
