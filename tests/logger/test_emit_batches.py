"""Several events in one message: when it goes, how large it gets, and what becomes of one that is refused."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from emit_stage import Exchange, RawSink, accepting, an_event, emitting
from hypothesis import given
from hypothesis import strategies as st
from spool_stage import spooling

from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import decode
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.json_events import EMBEDDED_LIMIT, encode_line, encode_member
from wayside.logger.emit.outbox import BatchLimits, Outbox
from wayside.logger.emit.parcel import Parcel
from wayside.logger.emit.sender import SinkSender
from wayside.logger.settings import Batching, Delivery


@dataclass
class BatchingSink:
    """Keeps batches; refuses those that hold a refused id, and all while it is away."""

    refuses: set[str] = field(default_factory=set)
    is_away: bool = False
    batches: list[list[str]] = field(default_factory=list)
    tried: int = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        self.tried += 1
        if self.is_away:
            raise SinkUnavailable("gone")
        ids = [event.id for event in events]
        if self.refuses.intersection(ids):
            raise EventRefused("never")
        self.batches.append(ids)

    @property
    def ids(self) -> list[str]:
        return [event_id for batch in self.batches for event_id in batch]


def made(sink: BatchingSink, events: int, interval_s: float, workers: int = 1) -> tuple[Emitter, LoggerCounts]:
    counts = LoggerCounts()
    return Emitter(sink, Delivery(workers=workers, batching=Batching(events, interval_s)), counts), counts


async def wait_sent(emitter: Emitter) -> None:
    async with asyncio.timeout(10):
        while emitter.in_memory:
            await asyncio.sleep(0.002)


async def test_a_full_batch_goes_at_once_and_the_rest_after_its_interval() -> None:
    sink = BatchingSink()
    emitter, counts = made(sink, 10, 0.2)
    await emitter.start()
    began_s = asyncio.get_running_loop().time()
    for number in range(25):
        emitter.offer(an_event(number))
    await asyncio.sleep(0.05)
    assert [len(batch) for batch in sink.batches] == [10, 10]
    await wait_sent(emitter)
    assert 0.19 < asyncio.get_running_loop().time() - began_s < 2
    assert sink.ids == [str(number) for number in range(25)]
    assert counts.attempts["accepted"] == 3
    assert counts.sent["request"] == 25
    await emitter.stop()


async def test_a_stop_sends_what_was_waiting_for_more() -> None:
    sink = BatchingSink()
    emitter, _ = made(sink, 10, 3600.0)
    await emitter.start()
    for number in range(3):
        emitter.offer(an_event(number))
    await emitter.stop(5)
    assert sink.batches == [["0", "1", "2"]]


async def test_one_bad_event_takes_no_others_along() -> None:
    sink = BatchingSink(refuses={"3", "17"})
    emitter, counts = made(sink, 10, 0.01)
    await emitter.start()
    for number in range(30):
        emitter.offer(an_event(number))
    await wait_sent(emitter)
    await emitter.stop()
    assert sorted(map(int, sink.ids)) == [number for number in range(30) if number not in (3, 17)]
    assert counts.dropped["request", "refused"] == 2
    assert emitter.queue.bytes == 0


async def test_a_batch_is_tried_again_as_it_was() -> None:
    sink = BatchingSink(is_away=True)
    emitter, counts = made(sink, 5, 0.01)
    await emitter.start()
    for number in range(5):
        emitter.offer(an_event(number))
    async with asyncio.timeout(5):
        while counts.attempts["unavailable"] < 2:
            await asyncio.sleep(0.005)
    sink.is_away = False
    await wait_sent(emitter)
    assert sink.batches == [["0", "1", "2", "3", "4"]]
    await emitter.stop()


async def test_batches_and_the_spool_settle_every_event(tmp_path: Path) -> None:
    sink = BatchingSink(is_away=True, refuses={"7"})
    sender = SinkSender(sink, 2, BatchLimits(8, 0.01))
    async with spooling(sender, tmp_path) as stage:
        for number in range(100):
            stage.offer(an_event(number))
        await stage.until(lambda: stage.spool.waiting == 100)
        sink.is_away = False
        await stage.until(lambda: not stage.spool.waiting)
        assert stage.dropped("refused") == 1
        assert stage.sent == stage.spool.counts.sent == 99
    assert sorted(map(int, sink.ids)) == [number for number in range(100) if number != 7]


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 6), st.integers(1, 60))
def test_no_batch_is_larger_than_it_may_be(sizes: list[int], limit_events: int, limit_bytes: int) -> None:
    outbox = Outbox(20, 400, BatchLimits(limit_events, 1.0, limit_bytes))
    taken = [parcel for size in sizes if outbox.offer(parcel := Parcel(an_event(0), size))]
    assert len(taken) <= 20
    assert sum(parcel.size_bytes for parcel in taken) == outbox.bytes <= 400
    came: list[Parcel] = []
    while batch := outbox.take():
        assert len(batch) <= limit_events
        assert len(batch) == 1 or sum(parcel.size_bytes for parcel in batch) <= limit_bytes
        came += batch
        for parcel in batch:
            outbox.release(parcel.size_bytes)
    assert came == taken
    assert outbox.bytes == len(outbox) == 0


def test_what_waits_goes_when_it_is_much_or_old_or_the_logger_stops() -> None:
    outbox = Outbox(100, 1000, BatchLimits(3, 5.0, 100))
    assert outbox.wait_s(0.0) == 0.0
    outbox.offer(Parcel(an_event(0), 10, since_s=1.0))
    assert outbox.wait_s(2.0) == 4.0
    assert outbox.wait_s(7.0) == 0.0
    outbox.offer(Parcel(an_event(0), 90, since_s=2.0))
    assert outbox.wait_s(2.0) == 0.0
    outbox.take()
    outbox.offer(Parcel(an_event(0), 10, since_s=1.0))
    outbox.hurries = True
    assert outbox.wait_s(1.0) == 0.0


# over HTTP

MIXED = [
    an_event(0),
    an_event(1, b'{"a":\n 1}'),
    an_event(2, b"not JSON"),
    an_event(3, b'"' + b"x" * EMBEDDED_LIMIT + b'"'),
    an_event(4, b""),
    an_event(5, b"null"),
]


async def test_batches_arrive_in_batched_mode() -> None:
    async with accepting().listening() as sink:
        async with emitting(sink.url, grace_s=5, batching=Batching(4, 0.02)) as stage:
            stage.offer(*MIXED)
            await stage.until(lambda: stage.sent == len(MIXED))
        assert sorted(sink.accepted, key=lambda event: event.id) == MIXED
        assert [len(posted.events) for posted in sink.posts] == [4, 2]
        assert (b"content-type", b"application/cloudevents-batch+json") in sink.posts[0].headers


async def test_a_server_that_takes_no_batches_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(exchange: Exchange) -> None:
        exchange.say(b"HTTP/1.1 415 Unsupported Media Type\r\ncontent-length: 0\r\n\r\n")

    async with RawSink(refuse).listening() as sink, emitting(sink.url, batching=Batching(2, 0.01)) as stage:
        stage.offer(an_event(0), an_event(1))
        await stage.until(lambda: stage.counts.dropped["request", "refused"] == 2)
    assert "--batch-events 1" in caplog.text


@given(st.binary(max_size=60) | st.sampled_from([b'{"a": 1}', b'{"a":\n1}', b'"\r"', b"[1, 2 ]"]))
def test_an_event_in_json_is_the_same_event_and_a_line_is_one(data: bytes) -> None:
    event = an_event(1, data)
    assert decode(encode_member(event)) == event
    line = encode_line(event)
    assert line.count(b"\n") == 1
    assert decode(line) == event


def test_large_data_travels_as_base64() -> None:
    event = an_event(1, b'"' + os.urandom(EMBEDDED_LIMIT).hex().encode() + b'"')
    assert b"data_base64" in encode_member(event)
    assert decode(encode_member(event)) == event
