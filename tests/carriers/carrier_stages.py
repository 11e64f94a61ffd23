"""Every carrier on a stage: the few calls that the contract's tests make, and the subscribers that they watch.

Invariant: a stage runs the real carrier; a subscriber behaves the same on each of them.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.everything import Everything
from wayside.eventing.filters.exact import exact
from wayside.eventing.memory_carrier import MemoryCarrier, MemoryLimits
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.vocabulary import ERROR_DATA

_PATIENCE_S = 30.0


class Subscriber(MemorySink):
    """Keeps what it is sent; `away` for now, refusing some ids for good, or hanging on some until it is let go."""

    def __init__(self, name: str, event_type: str | None = None, ordered: bool = False) -> None:
        """Subscribes to one type of events, or to all of them; `ordered` asks for events of one key in their order."""
        super().__init__()
        self.name = name
        self.event_type = event_type
        self.ordered = ordered
        self.away = False
        self.attempts = 0
        self.refused_ids: set[str] = set()
        self.malformed_ids: set[str] = set()
        self.hanging_ids: set[str] = set()
        self.failing_ids: set[str] = set()
        self.let_go = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]

    async def send(self, event: CloudEvent) -> None:
        self.attempts += 1
        if event.id in self.hanging_ids:
            await self.let_go.wait()
        if self.away:
            raise SinkUnavailable("away for now")
        if event.id in self.failing_ids:
            self.failing_ids.remove(event.id)
            raise SinkUnavailable("not at the first attempt")
        if event.id in self.refused_ids:
            raise EventRefused("never wanted")
        if event.id in self.malformed_ids:
            raise MalformedEvent("no event that it can read")
        await super().send(event)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as every carrier can show it."""

    subscriber: str
    event_id: str
    reason: str


class CarrierUnderTest(Protocol):
    """One carrier with its subscribers. `send` returns once the event is accepted."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None:
        """Stop for good."""

    async def send(self, event: CloudEvent) -> None: ...

    async def dead_letters(self) -> Sequence[Letter]: ...


async def wait_until(reached: Callable[[], bool | Awaitable[bool]]) -> None:
    """Poll until it holds, for half a minute at most."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            held = reached()
            if held if isinstance(held, bool) else await held:
                return
            await asyncio.sleep(0.01)


class MemoryStage:
    """The fake that ships, retrying without delay that anybody would notice."""

    def __init__(self, subscribers: Sequence[Subscriber]) -> None:
        self._carrier = MemoryCarrier(MemoryLimits(attempts=100_000), pause=lambda delay_s: asyncio.sleep(0.001))
        for one in subscribers:
            passes = exact({"type": one.event_type}) if one.event_type else Everything()
            self._carrier.subscribe(one.name, one, passes, one.ordered)
        self.start, self.stop, self.send = self._carrier.start, self._carrier.stop, self._carrier.send
        self.close = self._carrier.stop

    async def dead_letters(self) -> Sequence[Letter]:
        return [Letter(one.subscriber, one.event.id, one.reason) for one in self._carrier.dead_letters]


class EmbeddedStage:
    """The embedded broker, with events in and out over HTTP."""

    def __init__(self, subscribers: Sequence[Subscriber], folder: Path) -> None:
        self._subscribers = subscribers
        self._folder = folder
        self._running = AsyncExitStack()
        self._receivers = AsyncExitStack()
        self._urls: dict[str, Any] = {}

    async def start(self) -> None:
        from wayside.eventing.broker.service import BrokerService, BrokerSettings
        from wayside.eventing.http.event_sink import HttpEventSink

        if not self._urls:
            await self._listen()
        manifest = self._folder / "triggers.yaml"
        manifest.write_text("---\n".join((_BROKER, *map(_trigger, self._subscribers))))
        settings = BrokerSettings(self._folder / "data", (manifest,), self._urls, port=0, admin_port=0)
        self._broker = BrokerService(settings)
        await self._broker.start()
        self._running.push_async_callback(self._broker.stop)
        self._sink = HttpEventSink(f"http://127.0.0.1:{self._broker.port}/default/default", 10.0)
        await self._sink.start()
        self._running.push_async_callback(self._sink.stop)

    async def _listen(self) -> None:
        from wayside.eventing.http.server import ServerLimits
        from wayside.eventing.http.url import Url
        from wayside.sinks.receiver import Receiver

        for one in self._subscribers:
            receiver = Receiver(one, "127.0.0.1", 0, ServerLimits())
            await receiver.start()
            self._receivers.push_async_callback(receiver.stop)
            self._urls[one.name] = Url.parse(f"http://127.0.0.1:{receiver.port}/")

    async def stop(self) -> None:
        await self._running.aclose()

    async def close(self) -> None:
        await self.stop()
        await self._receivers.aclose()

    async def send(self, event: CloudEvent) -> None:
        await self._sink.send(event)

    async def dead_letters(self) -> Sequence[Letter]:
        from wayside.eventing.http.client import HttpClient
        from wayside.eventing.http.url import Url

        client = HttpClient()
        url = Url.parse(f"http://127.0.0.1:{self._broker.admin_port}/dead-letters")
        body = (await client.send(b"GET", url, [], timeout_s=10)).body
        await client.close()
        return [
            Letter(letter["trigger"]["name"], letter["event"]["id"], letter["reason"])
            for letter in json.loads(body)["dead_letters"]
        ]


_BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"


def _trigger(subscriber: Subscriber) -> str:
    attributes = {"type": subscriber.event_type} if subscriber.event_type else {}
    order = "ordered" if subscriber.ordered else "unordered"
    return (
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n"
        f"  name: {subscriber.name}\n  annotations: {{kafka.eventing.knative.dev/delivery.order: {order}}}\nspec:\n"
        f"  broker: default\n  filter: {{attributes: {json.dumps(attributes)}}}\n"
        f"  subscriber: {{ref: {{apiVersion: v1, kind: Service, name: {subscriber.name}}}}}\n"
        "  delivery: {retry: 1000, backoffDelay: PT0.05S, backoffPolicy: linear, timeout: PT30S}\n"
    )


class KafkaStage:
    """KafkaEventSink into a topic, and one KafkaSource, with a group of its own, for each subscriber."""

    def __init__(self, subscribers: Sequence[Subscriber], servers: str) -> None:
        from wayside.eventing.kafka.address import KafkaAddress

        self._subscribers = subscribers
        self._address = KafkaAddress(servers, (f"contract-{uuid.uuid4().hex}",))
        self._running = AsyncExitStack()

    def _group(self, subscriber: Subscriber) -> str:
        return f"{self._address.topics[0]}-{subscriber.name}"

    async def start(self) -> None:
        from prometheus_client import CollectorRegistry

        from wayside.eventing.kafka.sink import KafkaEventSink
        from wayside.eventing.kafka.source import KafkaSource
        from wayside.eventing.kafka.subscription import Subscription

        for one in self._subscribers:
            subscription = Subscription(self._address, self._group(one), 10.0)
            passes = exact({"type": one.event_type}) if one.event_type else Everything()
            source = KafkaSource(subscription, one, {}, CollectorRegistry(), passes.passes, ordered=one.ordered)
            await source.start()
            self._running.push_async_callback(source.stop)
        self._sink = KafkaEventSink(self._address, {}, 10.0)
        await self._sink.start()
        self._running.push_async_callback(self._sink.stop)

    async def stop(self) -> None:
        await self._running.aclose()

    async def close(self) -> None:
        """Deletes the topics too."""
        from confluent_kafka.admin import AdminClient

        await self.stop()
        admin = AdminClient({"bootstrap.servers": self._address.servers, "log_level": "0"})
        letters = [f"{self._group(one)}.dead-letters" for one in self._subscribers]
        for future in admin.delete_topics([*self._address.topics, *letters]).values():
            future.exception()

    async def send(self, event: CloudEvent) -> None:
        await self._sink.send(event)

    async def dead_letters(self) -> Sequence[Letter]:
        found = await asyncio.gather(*(asyncio.to_thread(self._letters, one) for one in self._subscribers))
        return [letter for letters in found for letter in letters]

    def _letters(self, subscriber: Subscriber) -> list[Letter]:
        from confluent_kafka import Consumer, TopicPartition

        from wayside.eventing.kafka.binding import decode

        at = TopicPartition(f"{self._group(subscriber)}.dead-letters", 0, 0)
        config = {"bootstrap.servers": self._address.servers, "group.id": "look", "log_level": "0"}
        with Consumer(config) as consumer:
            _, end = consumer.get_watermark_offsets(at, timeout=10)
            consumer.assign([at])
            messages = consumer.consume(end, timeout=10) if end else []
            consumer.unassign()
        events = [decode(message.headers(), message.value()) for message in messages]
        return [
            Letter(subscriber.name, one.id, base64.b64decode(one.extensions[ERROR_DATA]).decode()) for one in events
        ]
