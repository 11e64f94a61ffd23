"""While events flow: members come and go, poison comes along, records that are no CloudEvents."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Producer
from foreign_producer import send_with_header
from prometheus_client import CollectorRegistry

from wayside.eventing.kafka.declarations import parse_declarations
from wayside.eventing.kafka.groups import GroupReader
from wayside.eventing.kafka.holding import SourceLimits
from wayside.eventing.kafka.sink import KafkaEventSink, TopicWriter
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.sink import EventRefused, MemorySink
from wayside.eventing.vocabulary import INFERENCE_SERVICE, REQUEST

LIMITS = SourceLimits(events=64, span_events=1000)


class SlowSink(MemorySink):
    """Takes a few milliseconds for each event, so that some are in flight whenever partitions go."""

    async def send(self, event: Any) -> None:
        await asyncio.sleep(0.001 * (int(event.id) % 8))
        await super().send(event)


class Stream:
    """Sends numbered events until it is ended, as fast as Kafka takes 16 at a time."""

    def __init__(self, sink: KafkaEventSink, make_event: Callable[..., Any]) -> None:
        self._sink = sink
        self._make_event = make_event
        self._ended = False
        self.sent = 0

    async def run(self) -> None:
        while not self._ended:
            batch = range(self.sent, self.sent + 16)
            await asyncio.gather(*(self._sink.send(self._make_event(n, service=f"s{n % 31}")) for n in batch))
            self.sent += 16
            await asyncio.sleep(0.01)

    def end(self) -> None:
        self._ended = True


@asynccontextmanager
async def flowing(names: Any, make_event: Any) -> AsyncIterator[Stream]:
    sink = KafkaEventSink(names.address, {}, 10.0)
    await sink.start()
    stream = Stream(sink, make_event)
    running = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        stream.end()
        await running
        await sink.stop()


def committed(names: Any) -> int:
    return sum(at.committed or 0 for at in GroupReader(names.servers, {}).read(names.group, [names.topic]))


@pytest.mark.parametrize("instances", [(None, None), ("one", "two")], ids=["dynamic", "static"])
async def test_members_come_and_go_in_mid_stream(
    names: Any, make_event: Any, wait_until: Any, instances: tuple[str | None, str | None]
) -> None:
    """A member that leaves, or gives partitions up, commits what it accepted of them before another has them.

    The bound of duplicates for each partition that goes: what its sink does not accept within the five seconds that a
    member has. These sinks take milliseconds, so that nothing comes twice.
    """
    names.create(6)
    sinks = [SlowSink(), SlowSink()]

    def member(number: int) -> KafkaSource:
        instance = instances[number]
        config = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "300"}
        config |= {"group.instance.id": instance} if instance else {}
        return KafkaSource(names.subscription, sinks[number], config, CollectorRegistry(), limits=LIMITS)

    def counts() -> Counter[str]:
        return Counter(event.id for sink in sinks for event in sink.events)

    first, second = member(0), member(1)
    async with flowing(names, make_event) as stream:
        await first.start()
        await wait_until(lambda: len(sinks[0].events) > 200)
        await second.start()
        await wait_until(lambda: len(second.view()["partitions"]) == len(first.view()["partitions"]) == 3)
        shared = len(sinks[1].events)
        await wait_until(lambda: len(sinks[1].events) > shared + 200)
        await second.stop()
        await wait_until(lambda: len(first.view()["partitions"]) == 6)
        alone = len(sinks[0].events)
        await wait_until(lambda: len(sinks[0].events) > alone + 200)
    await wait_until(lambda: len(counts()) == stream.sent)
    await first.stop()
    assert committed(names) == stream.sent
    assert {number for number, times in counts().items() if times > 1} == set()


async def test_poison_goes_to_the_dead_letters_while_the_rest_flows(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    class Refusing(MemorySink):
        async def send(self, event: Any) -> None:
            if int(event.id) % 10 == 3:
                raise EventRefused("ends in 3")
            await super().send(event)

    names.create(3)
    sink, registry = Refusing(), CollectorRegistry()
    source = KafkaSource(names.subscription, sink, {}, registry)
    topic, writer = KafkaEventSink(names.address, {}, 10.0), TopicWriter(names.servers, names.topic, {}, 10.0)
    for part in (source, topic, writer):
        await part.start()
    poison = [[("ce_specversion", b"1.0")], [("ce_id", b"\xff")], []]
    await asyncio.gather(
        *(topic.send(make_event(n, service=f"s{n}")) for n in range(200)),
        *(writer.write(b"%d" % n, b"poison", poison[n % 3]) for n in range(30)),
    )
    await wait_until(lambda: committed(names) == 230)
    for part in (topic, writer, source):
        await part.stop()
    assert {event.id for event in sink.events} == {str(n) for n in range(200) if n % 10 != 3}
    assert registry.get_sample_value("wayside_source_events_total", {"outcome": "dead_lettered"}) == 50
    letters = GroupReader(names.servers, {}).read("look", [names.subscription.dead_letters])
    assert sum(at.end for at in letters) == 50


async def test_records_that_no_client_of_ours_writes_are_dead_letters_while_the_rest_flows(
    names: Any, wait_until: Any
) -> None:
    """A header's name that is not UTF-8, and a timestamp far beyond the year 9999, which is a record without a time."""
    names.create(1)
    sink = MemorySink()
    plain = parse_declarations([f"{names.topic}=request:json:default/digits"])
    source = KafkaSource(Subscription(names.address, names.group, 10.0, plain), sink, {}, CollectorRegistry())
    await source.start()
    await asyncio.to_thread(send_at, names, [b"[[0]]"] * 100, 1)  # so that the interpreter has specialised its calls
    await wait_until(lambda: len(sink.events) == 100)
    await asyncio.to_thread(send_with_header, names.servers, names.topic, b"[[1]]", b"\xff\xfe\x80")
    await asyncio.to_thread(send_at, names, [b"[[2]]"], 1 << 60)
    await wait_until(lambda: committed(names) == 102)
    await source.stop()
    assert [(event.data, event.time) for event in sink.events[100:]] == [(b"[[2]]", None)]
    (letter,) = GroupReader(names.servers, {}).read("look", [names.subscription.dead_letters])
    assert letter.end == 1


def send_at(names: Any, values: list[bytes], timestamp_ms: int) -> None:
    producer = Producer({"bootstrap.servers": names.servers, "log_level": "0"})
    for value in values:
        producer.produce(names.topic, value, timestamp=timestamp_ms, headers=[("trace", b"7")])
    assert producer.flush(10) == 0


async def test_declared_records_are_inference_events_and_the_others_stay_dead_letters(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    names.create(1)
    sink, registry = MemorySink(), CollectorRegistry()
    plain = parse_declarations([f"{names.topic}=request:v1:default/digits"])
    source = KafkaSource(Subscription(names.address, names.group, 10.0, plain), sink, {}, registry)
    writer = TopicWriter(names.servers, names.topic, {}, 10.0)
    for part in (source, writer):
        await part.start()
    await writer.write(b"k", b'{"instances": [[1.10, 2]]}', [("content-type", b"application/json"), ("Trace", b"7")])
    await writer.write(None, b"{}", [("ce_specversion", b"1.0"), ("ce_type", b"t"), ("ce_source", b"s")])
    await wait_until(lambda: committed(names) == 2)
    for part in (writer, source):
        await part.stop()
    (event,) = sink.events
    assert (event.type, event.id, event.data) == (REQUEST, "partition:0/offset:0", b'{"instances": [[1.10, 2]]}')
    assert (event.extensions[INFERENCE_SERVICE], event.extensions["kafkaheadertrace"]) == ("digits", "7")
    assert decode(message_of(event)).rows == 1
    assert registry.get_sample_value("wayside_source_events_total", {"outcome": "dead_lettered"}) == 1
