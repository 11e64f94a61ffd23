"""The emitter alone: every event is sent or counted, whatever the log url does."""

import asyncio
from collections.abc import Sequence

import pytest
from logger_stage import staged

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.vocabulary import METADATA, REQUEST
from wayside.logger.capture.bodies import BodyCopy, CaptureBudget
from wayside.logger.capture.events import field_text
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.drops import Drops
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.failing import FAILING, TRIES, FailingEvents
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.parcel import Shipment
from wayside.logger.emit.sender import Report, SinkBusy
from wayside.logger.settings import Batching, Delivery


def event(number: int, metadata: str = "{}") -> CloudEvent:
    return CloudEvent(str(number), "pod", REQUEST, extensions={METADATA: metadata})


def dropped(counts: LoggerCounts, reason: str) -> int:
    return counts.dropped["request", reason]


class BrittleSink(MemorySink):
    """Fails in a way that no sink should on the event "0"."""

    async def send(self, event: CloudEvent) -> None:
        if event.id == "0":
            raise RuntimeError("a defect")
        await super().send(event)


async def test_a_defect_on_one_event_costs_that_event_alone() -> None:
    sink, counts = BrittleSink(), LoggerCounts()
    emitter = Emitter(sink, Delivery(workers=1), counts)
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number))
    await emitter.stop(5)
    assert [sent.id for sent in sink.events] == ["1", "2"]
    assert dropped(counts, "refused") == 1


async def test_stopping_counts_what_waits_and_what_is_in_hand(caplog: pytest.LogCaptureFixture) -> None:
    sink, counts = MemorySink([SinkUnavailable("gone", retry_after_s=1e9)] * 2), LoggerCounts()
    emitter = Emitter(sink, Delivery(workers=2), counts)
    await emitter.start()
    for number in range(5):
        emitter.offer(event(number))
    await emitter.stop(0.05)
    assert dropped(counts, "shutdown") == 5 - len(sink.events)
    assert f"{5 - len(sink.events)} events unsent" in caplog.text
    assert "tried again, because gone" in caplog.text


async def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sink = MemorySink([SinkUnavailable("gone"), SinkUnavailable("gone"), EventRefused("never")])
    emitter = Emitter(sink, Delivery(workers=1), LoggerCounts())
    await emitter.start()
    emitter.offer(event(1))
    emitter.offer(event(2))
    await emitter.stop(5)
    assert [sent.id for sent in sink.events] == ["2"]
    assert caplog.text.count("tried again") == caplog.text.count("takes events again") == 1


async def test_metadata_counts_towards_the_bytes_that_may_wait() -> None:
    counts = LoggerCounts()
    emitter = Emitter(MemorySink(), Delivery(queue_bytes=50_000), counts)
    emitter.offer(event(1, "x" * 40_000))
    emitter.offer(event(2, "x" * 40_000))
    assert dropped(counts, "queue_full") == 1
    await emitter.stop()


class WaitingSink(MemorySink):
    """Holds every event until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.held = asyncio.Event(), 0

    async def send(self, event: CloudEvent) -> None:
        self.held += 1
        await self.gate.wait()
        await super().send(event)


async def test_what_is_in_flight_counts_towards_the_bytes_until_it_is_settled() -> None:
    sink, counts = WaitingSink(), LoggerCounts()
    emitter = Emitter(sink, Delivery(workers=512, queue_bytes=50_000), counts)
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number, "x" * 20_000))
        while sink.held <= number < 2:  # a worker has it, so that nothing waits
            await asyncio.sleep(0)
    assert dropped(counts, "queue_full") == 1
    assert emitter.queue.bytes == 2 * (20_000 + 2048)
    sink.gate.set()
    await emitter.stop(5)
    assert len(sink.events) == 2
    assert emitter.queue.bytes == 0


async def test_nothing_is_held_after_a_stop_that_gave_up() -> None:
    counts = LoggerCounts()
    emitter = Emitter(WaitingSink(), Delivery(workers=1), counts)
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number))
    await emitter.stop(0.05)
    assert dropped(counts, "shutdown") == 3
    assert emitter.queue.bytes == 0


class OddSender:
    """One post at a time: the first is to be tried again, the second is impossible, and all others are accepted."""

    gathers = 1

    def __init__(self) -> None:
        self.limit_posts, self.batches, self.posts = 1, BatchLimits(), 0

    async def start(self, report: Report) -> None:
        self.report = report

    async def stop(self) -> None: ...

    def post(self, shipment: Shipment) -> None:
        self.posts += 1
        if self.posts == 2:
            raise ValueError("a defect")
        error = SinkUnavailable("gone") if self.posts == 1 else None
        asyncio.get_running_loop().call_soon(self.report, [shipment], error)

    def flush(self) -> None: ...


async def test_an_event_that_turns_out_impossible_on_its_second_try_makes_room_for_the_next() -> None:
    counts = LoggerCounts()
    emitter = Emitter(OddSender(), Delivery(), counts)
    await emitter.start()
    emitter.offer(event(1))
    emitter.offer(event(2))
    async with asyncio.timeout(5):
        while emitter.in_memory:
            await asyncio.sleep(0.005)
    assert dropped(counts, "refused") == counts.sent["request"] == 1
    await emitter.stop()


def test_a_body_in_tiny_pieces_is_charged_for_what_it_takes() -> None:
    budget = CaptureBudget(10_000)
    copy = BodyCopy(10_000, budget)
    for _ in range(1000):
        copy.add(b"x")
    assert copy.lost == "capture_full"
    assert budget.used_bytes == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"application/json; charset=utf-8", "application/json; charset=utf-8"),
        (b"a\tb\xff\r\n", "a?b???"),
        (b"x" * 300, "x" * 256),
    ],
)
def test_a_headers_value_travels_readably(value: bytes, text: str) -> None:
    assert field_text(value) == text


async def test_a_content_type_arrives_as_it_was_sent() -> None:
    async def answer(_: Request) -> Response:
        return Response(200, [(b"content-type", b'text/plain; charset="utf-8"')], b"x")

    async with staged(answer) as stage:
        await stage.post(b"{}")
        await stage.sink.wait_for(2)
        assert stage.sink.of("response")[0].datacontenttype == 'text/plain; charset="utf-8"'


class BusySink(MemorySink):
    """Answers the events that it is given with errors, each time, and takes all others."""

    def __init__(self, *fails_on: int) -> None:
        super().__init__()
        self.fails_on = {str(number) for number in fails_on}

    async def send(self, event: CloudEvent) -> None:
        if event.id in self.fails_on:
            raise SinkBusy("answered 500")
        self.events.append(event)


class BusyBatchSink(BusySink):
    """The same, which takes several at once."""

    async def send_batch(self, events: Sequence[CloudEvent]) -> None:
        for event in events:
            if event.id in self.fails_on:
                raise SinkBusy("answered 500")
        self.events += events


@pytest.mark.parametrize("kind", [BusySink, BusyBatchSink])
async def test_events_that_are_answered_with_errors_hold_up_no_others(kind: type[BusySink]) -> None:
    sink = kind(0, 1, 4)
    emitter = Emitter(sink, Delivery(workers=2, batching=Batching(4, 0.001)), LoggerCounts())
    await emitter.start()
    for number in range(30):
        emitter.offer(event(number))
    async with asyncio.timeout(5):
        while len(sink.events) < 30 - len(sink.fails_on):
            await asyncio.sleep(0.005)
    assert emitter.in_memory == len(sink.fails_on)
    await emitter.stop()


@pytest.mark.parametrize(("accepts_others", "given_up"), [(True, 1), (False, 0)])
def test_an_event_fails_where_others_are_accepted_in_between(accepts_others: bool, given_up: int) -> None:
    failing = FailingEvents()
    answers = [failing.note_answer(event(1), number * accepts_others) for number in range(TRIES)]
    assert answers == [False] * (TRIES - 1) + [bool(given_up)]


def test_a_failing_event_is_counted_under_a_reason_of_its_own() -> None:
    counts = LoggerCounts()
    Drops(counts).note_error(event(1), SinkBusy("answered 500"))
    assert dropped(counts, FAILING) == 1
    assert counts.attempts["refused"] == 0


async def test_one_event_fits_an_empty_queue_however_large_it_is() -> None:
    counts = LoggerCounts()
    emitter = Emitter(MemorySink(), Delivery(queue_bytes=5_000), counts)
    emitter.offer(event(1, "x" * 40_000))
    emitter.offer(event(2))
    assert dropped(counts, "queue_full") == 1
    assert emitter.in_memory == 1
    await emitter.stop()


async def test_what_comes_during_the_end_is_counted_with_it(caplog: pytest.LogCaptureFixture) -> None:
    counts = LoggerCounts()
    emitter = Emitter(WaitingSink(), Delivery(workers=1), counts)
    await emitter.start()
    emitter.offer(event(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(emitter.stop(0.05))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        emitter.offer(event(2))
    assert dropped(counts, "shutdown") == 2
    assert "2 events unsent" in caplog.text
