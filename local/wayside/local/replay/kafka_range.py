"""A range of a topic's offsets as a source, read without a consumer group. Needs the extra `kafka`.

Invariant: nothing is committed and no group is joined. A partition's events come in its order; of several partitions
the one that is earliest by Kafka's own timestamps goes on, so that event time rises over all of them.
"""

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.declarations import Declarations
from wayside.local.replay.stored import Stored

_RANGE = re.compile(r"(\d{1,9})(?::(\d{1,18})?-(\d{1,18})?)?", re.ASCII)
_AT_ONCE = 500
_TIMEOUT_S = 10.0
_OWN = {
    "group.id": "wayside-replay",  # librdkafka asks for one; it is neither joined nor committed to
    "enable.auto.commit": "false",
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": "true",
    "queued.max.messages.kbytes": "8192",
}


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Of a partition the offsets from `first` up to but without `end`; where they are None, all that there are."""

    partition: int
    first: int | None = None
    end: int | None = None


def parse_offsets(text: str) -> tuple[OffsetRange, ...]:
    """`0:100-2000,1:50-,2` as ranges. Raises `ConfigurationError`."""
    ranges = tuple(map(_range, text.split(",")))
    if len({each.partition for each in ranges}) < len(ranges):
        raise ConfigurationError(f"--offsets {text!r} names a partition twice")
    return ranges


def _range(text: str) -> OffsetRange:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"--offsets {text[:64]!r}: write PARTITION:FIRST-END, such as 0:1000-2000 or 1:50-")
    partition, first, end = (None if part is None else int(part) for part in match.groups())
    assert partition is not None, "the pattern has one"
    if first is not None and end is not None and first >= end:
        raise ConfigurationError(f"--offsets {text[:64]!r}: {first} is not before {end}")
    return OffsetRange(partition, first, end)


@dataclass(frozen=True, slots=True)
class KafkaRange:
    """Which offsets of which topics, how the client is set, and what plain records are."""

    address: KafkaAddress
    offsets: tuple[OffsetRange, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    plain: Declarations = field(default_factory=Declarations)

    def __post_init__(self) -> None:
        if self.offsets and len(self.address.topics) > 1:
            raise ConfigurationError("--offsets are of one topic: name one, kafka://host:9092/topic")


def read_kafka(wanted: KafkaRange) -> Iterator[Stored]:
    """The events of the ranges, up to where the partitions end now.

    Raises `ConfigurationError` where Kafka does not answer, a topic or partition is absent, or offsets are no longer
    kept; `MissingExtra` without Kafka's client.
    """
    with closing(_Partitions(wanted)) as partitions:
        merged = heapq.merge(*partitions.streams(), key=lambda record: record.timestamp_ms or 0)
        for record in merged:
            where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
            came_ns = None if record.timestamp_ms is None else record.timestamp_ms * 1_000_000
            yield Stored(where, _event_of(wanted.plain, record), came_ns)


def _event_of(plain: Declarations, record: KafkaRecord) -> CloudEvent | Refusal:
    try:
        return plain.read(record)
    except MalformedEvent as exc:
        return Refusal(0, str(exc))


class _Partitions:
    """A consumer a partition. Whoever has it closes it."""

    def __init__(self, wanted: KafkaRange) -> None:
        from wayside.eventing.kafka import client

        self._client = client
        self._wanted = wanted
        self._consumers: list[Any] = []

    def close(self) -> None:
        for consumer in self._consumers:
            consumer.close()

    def streams(self) -> Sequence[Iterator[KafkaRecord]]:
        chosen = [(topic, each) for topic in self._wanted.address.topics for each in self._ranges(topic)]
        return [self._records(topic, each) for topic, each in chosen]

    def _ranges(self, topic: str) -> Sequence[OffsetRange]:
        there = self._partitions_of(topic)
        for each in self._wanted.offsets:
            if each.partition not in there:
                raise ConfigurationError(f"topic {topic} has no partition {each.partition}: it has {len(there)}")
        return self._wanted.offsets or [OffsetRange(partition) for partition in there]

    def _partitions_of(self, topic: str) -> Sequence[int]:
        with self._translated():
            found = self._consumer().list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if found.error is not None or not found.partitions:
            raise ConfigurationError(f"{self._wanted.address.servers} has no topic {topic}: name one that is there")
        return sorted(found.partitions)

    def _records(self, topic: str, each: OffsetRange) -> Iterator[KafkaRecord]:
        consumer = self._consumer()
        with self._translated():
            partition = self._client.TopicPartition(topic, each.partition)
            low, high = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S)
            first, end = low if each.first is None else each.first, high if each.end is None else min(each.end, high)
            if first < low:
                raise ConfigurationError(
                    f"topic {topic}, partition {each.partition}: offset {first} is no longer kept, {low} is the first"
                )
            if first < end:
                consumer.assign([self._client.TopicPartition(topic, each.partition, first)])
                yield from self._until(consumer, end)

    def _until(self, consumer: Any, end: int) -> Iterator[KafkaRecord]:
        from wayside.eventing.kafka.fetched import record_of

        for message in self._messages(consumer):
            error = message.error()
            if error is not None and error.code() != self._client.KafkaError._PARTITION_EOF:
                raise self._client.KafkaException(error)
            if error is not None or message.offset() >= end:
                return
            yield record_of(message)
            if message.offset() == end - 1:
                return

    def _messages(self, consumer: Any) -> Iterator[Any]:
        """What comes; waits for a first message only, since `consume` waits until there are as many as it may give."""
        while (message := consumer.poll(_TIMEOUT_S)) is not None:
            yield message
            yield from consumer.consume(_AT_ONCE, 0)
        raise ConfigurationError(f"{self._wanted.address} has not gone on for {_TIMEOUT_S:g} s: try again")

    def _consumer(self) -> Any:
        servers, config = self._wanted.address.servers, self._wanted.config
        consumer = self._client.make_client(self._client.Consumer, servers, config, _OWN)
        self._consumers.append(consumer)
        return consumer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._client.KafkaException as exc:
            raise ConfigurationError(f"{self._wanted.address}: {self._client.error_of(exc)}") from exc
