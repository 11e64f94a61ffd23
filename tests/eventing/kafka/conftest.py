"""What the tests of the Kafka carrier share: topics of their own on the real Kafka, events, and patience."""

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.vocabulary import INFERENCE_SERVICE, NAMESPACE, REQUEST

sys.path.insert(0, str(Path(__file__).parent))  # for what tests share that is no fixture

Wait = Callable[[Callable[[], bool]], Awaitable[None]]
MakeEvent = Callable[..., CloudEvent]


@dataclass(slots=True)
class Names:
    """A topic and a consumer group that no other test has."""

    servers: str
    topic: str = field(default_factory=lambda: f"test-{uuid.uuid4().hex}")

    @property
    def group(self) -> str:
        return f"{self.topic}-group"

    def create(self, partitions: int = 1, **config: str) -> None:
        """Make the topic, with settings whose dots are written as underscores."""
        from confluent_kafka.admin import AdminClient, NewTopic

        settings = {name.replace("_", "."): value for name, value in config.items()}
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": "0"})
        admin.create_topics([NewTopic(self.topic, partitions, config=settings)])[self.topic].result(10)

    @property
    def address(self) -> KafkaAddress:
        return KafkaAddress(self.servers, (self.topic,))

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.address, self.group, 10.0)


@pytest.fixture
def names(service: Callable[[str], str]) -> Iterator[Names]:
    """Deletes the topics in the end."""
    from confluent_kafka.admin import AdminClient

    names = Names(service("KAFKA"))
    yield names
    admin = AdminClient({"bootstrap.servers": names.servers, "log_level": "0"})
    for future in admin.delete_topics([names.topic, f"{names.group}.dead-letters"]).values():
        future.exception()


@pytest.fixture
def wait_until() -> Wait:
    """Polls a condition for at most thirty seconds."""

    async def wait(reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not reached():
            assert time.monotonic() < deadline, "not reached in time"
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def make_event() -> MakeEvent:
    def make(number: int, service: str = "digits", data: bytes = b"{}", kind: str = REQUEST) -> CloudEvent:
        extensions = {NAMESPACE: "default", INFERENCE_SERVICE: service, "metadata": '{"a b":["ü%"]}', "endpoint": ""}
        return CloudEvent(
            str(number), "test", kind, data, "2026-01-01T00:00:00Z", "application/json", None, "sübject", extensions
        )

    return make
