"""`wayside replay` of a topic: ranges of offsets, partitions by time, and nothing left behind in Kafka.

librdkafka's own mock of a cluster speaks Kafka's protocol over TCP; one test reads a real Kafka.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import Producer

from wayside.eventing.clock import parse_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import encode, message_key
from wayside.eventing.kafka.cluster import ensure_topics
from wayside.local.replay.kafka_range import KafkaRange, parse_offsets, read_kafka

from .conftest import at, request_event
from .test_replay import replayed, traffic, write

EVENTS = [request_event([[n, 0, 0, 0]], f"e{n}", at(n)) for n in range(10)]


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """Servers of a cluster that lives as long as this."""
    producer = Producer({"test.mock.num.brokers": "1", "bootstrap.servers": "unused", "log_level": "0"})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush(1)  # until here the cluster lives


def produce(servers: str, events: Sequence[CloudEvent], partitions: int = 2) -> str:
    """A topic of its own with these events, one partition after the other."""
    topic = f"replay-{uuid4().hex}"
    producer = Producer({"bootstrap.servers": servers})
    for number, event in enumerate(events):
        headers, value = encode(event)
        assert event.time is not None
        stamp = parse_time(event.time) // 10**6
        producer.produce(topic, value, message_key(event), number % partitions, headers=headers, timestamp=stamp)
    assert producer.flush(10) == 0
    return topic


def ids(wanted: KafkaRange) -> list[str]:
    return [stored.event.id if isinstance(stored.event, CloudEvent) else "" for stored in read_kafka(wanted)]


@pytest.mark.parametrize(
    ("offsets", "chosen"),
    [
        pytest.param("0,1", range(10), id="all, by time"),
        pytest.param("1", range(1, 10, 2), id="a partition"),
        pytest.param("0:1-3", [2, 4], id="a range"),
        pytest.param("0:3-,1:-2", [1, 3, 6, 8], id="open ends"),
        pytest.param("0:4-99", [8], id="past the end"),
    ],
)
def test_offsets_choose(mock: str, offsets: str, chosen: Sequence[int]) -> None:
    topic = produce(mock, EVENTS)
    assert ids(KafkaRange(KafkaAddress(mock, (topic,)), parse_offsets(offsets))) == [f"e{n}" for n in chosen]


def test_events_say_when_they_came(mock: str) -> None:
    topic = produce(mock, EVENTS[:1])
    (stored,) = read_kafka(KafkaRange(KafkaAddress(mock, (topic,))))
    assert stored.came_ns == parse_time(at(0))
    assert stored.where == f"{topic}, partition 0, offset 0"


def test_what_is_not_there_is_refused(mock: str) -> None:
    topic = produce(mock, EVENTS)
    with pytest.raises(ConfigurationError, match="no partition 77"):
        ids(KafkaRange(KafkaAddress(mock, (topic,)), parse_offsets("77")))


def test_a_topic_replays_as_a_file_does(
    mock: str, ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = sorted(traffic(), key=lambda event: event.time or "")
    topic = produce(mock, events)
    lines, _ = replayed(ks_folder, write(tmp_path / "a.jsonl", events), capsys=capsys)
    assert replayed(ks_folder, f"kafka://{mock}/{topic}", capsys=capsys)[0] == lines


@pytest.mark.services
async def test_a_real_topic_is_read_up_to_its_end(service: "object") -> None:
    servers = service("KAFKA")  # type: ignore[operator]
    topic = f"replay-{uuid4().hex}"
    await ensure_topics(servers, [topic], {}, partitions=2)
    producer = Producer({"bootstrap.servers": servers})
    for number, event in enumerate(EVENTS):
        headers, value = encode(event)
        stamp = parse_time(event.time or "") // 10**6
        producer.produce(topic, value, message_key(event), number % 2, headers=headers, timestamp=stamp)
    assert producer.flush(30) == 0
    assert ids(KafkaRange(KafkaAddress(servers, (topic,)))) == [event.id for event in EVENTS]
    assert ids(KafkaRange(KafkaAddress(servers, (topic,)), parse_offsets("1:1-3"))) == ["e3", "e5"]
