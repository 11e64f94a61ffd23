"""From a sink through the real Kafka to a source: bytes, keys, retries, dead letters, back-pressure, rebalancing."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from prometheus_client import CollectorRegistry

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import decode, encode
from wayside.eventing.kafka.groups import GroupReader
from wayside.eventing.kafka.holding import SourceLimits
from wayside.eventing.kafka.sink import KafkaEventSink, TopicWriter
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.sink import EventRefused, MemorySink, Sink, SinkUnavailable
from wayside.eventing.vocabulary import REQUEST, RESPONSE


@asynccontextmanager
async def reading(names: Any, sink: Sink, **more: Any) -> AsyncIterator[KafkaSource]:
    more.setdefault("registry", CollectorRegistry())
    source = KafkaSource(names.subscription, sink, {}, **more)
    try:
        await source.start()
        yield source
    finally:
        await source.stop()


@asynccontextmanager
async def writing(names: Any) -> AsyncIterator[KafkaEventSink]:
    sink = KafkaEventSink(names.address, {}, 10.0)
    await sink.start()
    try:
        yield sink
    finally:
        await sink.stop()


def committed(names: Any) -> int:
    return sum(at.committed or 0 for at in GroupReader(names.servers, {}).read(names.group, [names.topic]))


def messages(servers: str, topic: str, count: int) -> list[Any]:
    """The first messages of a topic."""
    config = {"bootstrap.servers": servers, "group.id": "look", "auto.offset.reset": "earliest", "log_level": "0"}
    with Consumer(config) as consumer:
        consumer.subscribe([topic])
        found = consumer.consume(count, timeout=20)
    assert len(found) == count
    return found


class HangingSink(MemorySink):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.waiting = 0

    async def send(self, event: CloudEvent) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        await super().send(event)


async def test_events_come_out_as_they_went_in_and_are_committed(names: Any, make_event: Any, wait_until: Any) -> None:
    sink, registry = MemorySink(), CollectorRegistry()
    sent = [make_event(n, service=f"s{n % 7}", data=bytes([n]) * n) for n in range(200)]
    sent.append(CloudEvent("bare", "s", "t"))
    async with reading(names, sink, registry=registry) as source, writing(names) as topic:
        await asyncio.gather(*map(topic.send, sent))
        await wait_until(lambda: len(sink.events) == len(sent))
        assert all(check() for check in source.checks.values())
        await wait_until(lambda: committed(names) == len(sent))  # while it runs, not only in the end
    assert sorted(sink.events, key=lambda event: event.key) == sorted(sent, key=lambda event: event.key)
    assert registry.get_sample_value("wayside_source_events_total", {"outcome": "delivered"}) == len(sent)
    assert registry.get_sample_value("wayside_source_in_flight") == 0
    assert not any(check() for check in source.checks.values())


async def test_a_service_keeps_to_one_partition_and_its_order(names: Any, make_event: Any, wait_until: Any) -> None:
    sink = MemorySink()
    async with reading(names, sink), writing(names) as topic:
        await asyncio.gather(*(topic.send(make_event(n, service=f"s{n % 5}")) for n in range(100)))
        await wait_until(lambda: len(sink.events) == 100)
    found = defaultdict(set)
    for message in messages(names.servers, names.topic, 100):
        found[message.key()].add(message.partition())
    assert {key: len(partitions) for key, partitions in found.items()} == {
        f"default/s{n}".encode(): 1 for n in range(5)
    }
    assert len(set.union(*found.values())) > 1
    for n in range(5):
        ids = [int(event.id) for event in sink.events if event.extensions["inferenceservicename"] == f"s{n}"]
        assert ids == sorted(ids)


async def test_only_what_passes_is_sent_and_all_is_committed(names: Any, make_event: Any, wait_until: Any) -> None:
    sink = MemorySink()
    async with reading(names, sink, passes=lambda event: event.type == RESPONSE), writing(names) as topic:
        await asyncio.gather(*(topic.send(make_event(n, kind=(REQUEST, RESPONSE)[n % 2])) for n in range(20)))
        await wait_until(lambda: len(sink.events) == 10)
    assert committed(names) == 20


async def test_refused_events_and_no_events_become_dead_letters(names: Any, make_event: Any, wait_until: Any) -> None:
    sink = MemorySink([EventRefused("I never take this")])
    async with reading(names, sink), writing(names) as topic:
        writer = TopicWriter(names.servers, names.topic, {}, 10.0)
        await writer.start()
        await topic.send(make_event(1))
        await wait_until(lambda: not sink.failures)
        await writer.write(b"k", b"no event", [("x", None), ("y", b"\xff")])
        await topic.send(make_event(2))
        await wait_until(lambda: len(sink.events) == 1)
        await wait_until(lambda: committed(names) == 3)
        await writer.stop()
    refused, no_event = messages(names.servers, names.subscription.dead_letters, 2)
    assert decode(refused.headers(), refused.value()).data == make_event(1).data
    assert (no_event.key(), no_event.value()) == (b"k", b"no event")
    assert no_event.headers()[:2] == [("x", None), ("y", b"\xff")]


async def test_a_dead_letter_too_large_for_its_topic_is_kept_without_its_bytes(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    letters = type(names)(names.servers, names.subscription.dead_letters)
    letters.create(max_message_bytes="20000")
    sink = MemorySink([EventRefused("I never take this")])
    async with reading(names, sink), writing(names) as topic:
        await topic.send(make_event(1, data=b"x" * 100_000))
        await topic.send(make_event(2))
        await wait_until(lambda: committed(names) == 2)
    [letter] = messages(names.servers, letters.topic, 1)
    headers = dict(letter.headers())
    assert letter.value() is None
    assert (headers["wayside-omitted-bytes"], headers["wayside-topic"]) == (b"100000", names.topic.encode())
    assert [event.id for event in sink.events] == ["2"]


async def test_a_dead_letter_whose_headers_are_too_large_is_kept_without_them(
    names: Any, make_event: Any, wait_until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    letters = type(names)(names.servers, names.subscription.dead_letters)
    letters.create(max_message_bytes="20000")
    names.create(max_message_bytes="200000")
    writer = TopicWriter(names.servers, names.topic, {}, 10.0)
    await writer.start()
    async with reading(names, MemorySink()):
        for _ in range(3):
            await writer.write(b"k", b"no event", [("large", bytes(100_000)), ("x", None)])
        await wait_until(lambda: committed(names) == 3)
    await writer.stop()
    for offset, letter in enumerate(messages(names.servers, letters.topic, 3)):
        headers = dict(letter.headers())
        assert (letter.key(), letter.value(), headers["wayside-offset"]) == (None, None, b"%d" % offset)
        assert (headers["wayside-omitted-bytes"], headers["wayside-omitted-headers"]) == (b"8", b"2")
    cut = [record.getMessage() for record in caplog.records if "were cut" in record.getMessage()]
    assert len(cut) == 2  # not one for each
    assert "without its value, key and headers" in cut[0]


async def test_headers_count_against_the_bytes_in_flight(names: Any, wait_until: Any) -> None:
    names.create()
    writer, sink = TopicWriter(names.servers, names.topic, {}, 10.0), HangingSink()
    await writer.start()
    for number in range(20):
        event = CloudEvent(str(number), "s", "t")
        await writer.write(None, None, [*encode(event)[0], ("large", bytes(100_000))])
    await writer.stop()
    async with reading(names, sink, limits=SourceLimits(bytes=400_000)) as source:
        await wait_until(lambda: any(at["paused"] for at in source.view()["partitions"]))
        assert source.view()["in_flight"]["bytes"] < 600_000
        assert 3 <= sink.waiting <= 5
        sink.gate.set()
        await wait_until(lambda: len(sink.events) == 20)


async def test_nothing_waits_where_a_transaction_ends_a_partition(names: Any, wait_until: Any) -> None:
    """Two events, a marker, seven that were aborted, another marker: nobody reads beyond the second."""
    names.create()
    await asyncio.to_thread(write_transactions, names)
    sink, registry = MemorySink(), CollectorRegistry()
    async with reading(names, sink, registry=registry):
        await wait_until(lambda: committed(names) == 11)
        await wait_until(lambda: registry.get_sample_value("wayside_source_lag", {"topic": names.topic}) == 0)
    assert [event.id for event in sink.events] == ["0", "1"]


def write_transactions(names: Any) -> None:
    producer = Producer({"bootstrap.servers": names.servers, "transactional.id": names.topic, "log_level": "0"})
    producer.init_transactions(20)
    for count, end in ((2, producer.commit_transaction), (7, producer.abort_transaction)):
        producer.begin_transaction()
        for number in range(count):
            producer.produce(names.topic, b"x", headers=encode(CloudEvent(str(number), "s", "t"))[0])
        producer.flush(20)
        end(20)


async def test_what_the_sink_did_not_accept_is_not_committed(names: Any, make_event: Any, wait_until: Any) -> None:
    away = MemorySink([SinkUnavailable("away")] * 1_000_000)
    async with writing(names) as topic:
        async with reading(names, away) as source:
            await topic.send(make_event(1))
            await wait_until(lambda: len(away.failures) < 1_000_000 - 2)
            away.failures[:] = [SinkUnavailable("away", retry_after_s=60.0)] * 10  # what stop() does not wait for
            await wait_until(lambda: len(away.failures) == 9)
            stopping = asyncio.create_task(source.stop())
            await stopping
        assert committed(names) == 0
        sink = MemorySink()
        async with reading(names, sink):
            await wait_until(lambda: len(sink.events) == 1)
    assert committed(names) == 1


async def test_a_hanging_sink_holds_up_fetching_and_not_the_membership(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    sink, limits = HangingSink(), SourceLimits(events=10, span_events=100)
    config = {"session.timeout.ms": "6000", "max.poll.interval.ms": "6000", "heartbeat.interval.ms": "500"}
    source = KafkaSource(names.subscription, sink, config, CollectorRegistry(), limits=limits)
    await source.start()
    async with writing(names) as topic:
        await asyncio.gather(*(topic.send(make_event(n, service=f"s{n % 9}")) for n in range(100)))
        await wait_until(lambda: any(at["paused"] for at in source.view()["partitions"]))
        paused_at = asyncio.get_running_loop().time()
        await wait_until(lambda: asyncio.get_running_loop().time() > paused_at + 7)  # longer than it may not poll
        assert 10 <= sink.waiting <= 11
        sink.gate.set()
        await wait_until(lambda: len(sink.events) == 100)
    await source.stop()
    assert len({event.id for event in sink.events}) == len(sink.events) == 100  # no one took its partitions over
    assert committed(names) == 100


async def test_an_event_that_waits_lets_others_pass_only_so_far(names: Any, make_event: Any, wait_until: Any) -> None:
    class OneHangs(HangingSink):
        async def send(self, event: CloudEvent) -> None:
            await (super().send(event) if event.id == "0" else MemorySink.send(self, event))

    sink, limits = OneHangs(), SourceLimits(events=10, span_events=50)
    async with reading(names, sink, limits=limits) as source, writing(names) as topic:
        await asyncio.gather(*(topic.send(make_event(n)) for n in range(200)))
        await wait_until(lambda: any(at["paused"] for at in source.view()["partitions"]))
        assert len(sink.events) < 50
        sink.gate.set()
        await wait_until(lambda: len(sink.events) == 200)
    assert committed(names) == 200


async def test_two_members_share_the_partitions_and_lose_nothing(names: Any, make_event: Any, wait_until: Any) -> None:
    first, second = MemorySink(), MemorySink()
    sent = 0

    def seen() -> set[str]:
        return {event.id for event in first.events + second.events}

    async with writing(names) as topic:

        async def send(count: int) -> None:
            nonlocal sent
            await asyncio.gather(*(topic.send(make_event(sent + n, service=f"s{n}")) for n in range(count)))
            sent += count

        async with reading(names, first):
            await send(50)
            await wait_until(lambda: len(seen()) == 50)
            async with reading(names, second) as joined:
                await wait_until(lambda: len(joined.view()["partitions"]) == 3)
                await send(100)
                await wait_until(lambda: len(seen()) == 150)
                assert second.events
            await send(50)
            await wait_until(lambda: len(seen()) == 200)
    assert committed(names) == 200
    assert len(first.events + second.events) == 200  # every partition was let go of with its commits made


async def test_a_partition_that_went_while_paused_is_read_once_it_is_back(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    hanging, other, limits = HangingSink(), MemorySink(), SourceLimits(events=5, span_events=100)

    def seen() -> set[str]:
        return {event.id for event in hanging.events + other.events}

    async with writing(names) as topic, reading(names, hanging, limits=limits) as source:
        await asyncio.gather(*(topic.send(make_event(n, service=f"s{n}")) for n in range(60)))
        await wait_until(lambda: any(at["paused"] for at in source.view()["partitions"]))
        async with reading(names, other) as joined:
            await wait_until(lambda: len(joined.view()["partitions"]) == 3)
        await wait_until(lambda: len(source.view()["partitions"]) == 6)
        hanging.gate.set()
        await asyncio.gather(*(topic.send(make_event(60 + n, service=f"s{n}")) for n in range(60)))
        await wait_until(lambda: len(seen()) == 120)
    assert committed(names) == 120


async def test_a_topic_that_does_not_exist_is_unavailable_and_says_so(names: Any, make_event: Any) -> None:
    sink = KafkaEventSink(names.address, {}, 1.0)
    await sink.start()
    with pytest.raises(SinkUnavailable, match="does not exist: create it"):
        await sink.send(make_event(1))
    await sink.stop()


async def test_an_event_that_is_too_large_is_refused(names: Any, make_event: Any) -> None:
    names.create(max_message_bytes="1000")
    async with writing(names) as topic:
        with pytest.raises(EventRefused, match=r"max\.message\.bytes"):
            await topic.send(make_event(1, data=b"x" * 2000))
        with pytest.raises(EventRefused, match="too large"):
            await topic.send(make_event(1, data=b"x" * (18 << 20)))
        await topic.send(make_event(2))


async def test_a_sink_that_is_not_running_is_unavailable(service: Callable[[str], str], make_event: Any) -> None:
    sink = KafkaEventSink(KafkaAddress(service("KAFKA"), ("t",)), {}, 1.0)
    await sink.stop()
    with pytest.raises(SinkUnavailable, match="not running"):
        await sink.send(make_event(1))


async def test_a_sink_starts_without_kafka_and_says_what_is_wrong(make_event: Any) -> None:
    sink = KafkaEventSink(KafkaAddress("127.0.0.1:9", ("t",)), {}, 0.5)
    await sink.start()
    with pytest.raises(SinkUnavailable, match=r"not accepted within 0\.5 s: .*refused"):
        await sink.send(make_event(1))
    waiting = asyncio.create_task(sink.send(make_event(2)))
    await asyncio.sleep(0)
    await sink.stop()
    await sink.stop()
    with pytest.raises(SinkUnavailable):
        await waiting


async def test_settings_that_do_not_fit_are_told_at_start_without_their_value() -> None:
    for config in ({"security.protocol": "hunter2"}, {"no.such.setting": "hunter2"}, {"sasl.mechanism": "hunter2"}):
        sink = KafkaEventSink(KafkaAddress("127.0.0.1:9", ("t",)), {"security.protocol": "SASL_SSL", **config}, 1.0)
        with pytest.raises(ConfigurationError, match="settings") as raised:
            await sink.start()
        assert "hunter2" not in str(raised.value)
        await sink.stop()
