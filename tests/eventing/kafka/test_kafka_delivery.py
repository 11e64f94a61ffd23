"""What becomes of one message, with sinks that refuse, fail and come back."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import KafkaRecord, encode
from wayside.eventing.kafka.declarations import Declarations
from wayside.eventing.kafka.delivery import Delivery
from wayside.eventing.kafka.metrics import SourceMetrics
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable

EVENT = CloudEvent("1", "s", "t", b"data")
RECORD = KafkaRecord("events", 3, 7, [*encode(EVENT)[0]], b"key", b"data")


class Letters:
    """Keeps dead letters in memory; `failures` are raised first."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.kept: list[tuple[KafkaRecord, int, str]] = []
        self.failures = failures or []

    async def keep(self, record: KafkaRecord, code: int, reason: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.kept.append((record, code, reason))


class FaultySink(MemorySink):
    """Fails as no sink should."""

    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__()
        self.fault = fault or ZeroDivisionError()

    async def send(self, event: CloudEvent) -> None:
        raise self.fault


class HangingSink(MemorySink):
    async def send(self, event: CloudEvent) -> None:
        await asyncio.Event().wait()


def cannot(thing: object) -> Any:
    """Reads or filters as nothing should."""
    raise ZeroDivisionError


class Bench:
    """A delivery with what it needs around it."""

    def __init__(
        self,
        sink: MemorySink,
        letters: Letters | None = None,
        passes: Callable[[CloudEvent], bool] = lambda event: True,
        read: Callable[[KafkaRecord], CloudEvent] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.letters = letters or Letters()
        metrics = SourceMetrics(self.registry, ["events"])
        self.delivery = Delivery(read or Declarations().read, passes, sink, self.letters, metrics)

    async def deliver(self, record: KafkaRecord = RECORD, abandoned: bool = False) -> bool:
        async with asyncio.timeout(30):
            return await self.delivery.deliver(record, lambda: abandoned)

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"wayside_source_{name}", labels)


async def test_an_event_is_sent_once_and_counted() -> None:
    sink = MemorySink()
    bench = Bench(sink)
    assert await bench.deliver()
    assert sink.events == [EVENT]
    assert bench.count("events_total", outcome="delivered") == 1


async def test_what_does_not_pass_is_counted_and_not_sent() -> None:
    sink = MemorySink()
    bench = Bench(sink, passes=lambda event: False)
    assert await bench.deliver()
    assert sink.events == []
    assert bench.count("events_total", outcome="filtered") == 1


async def test_an_unavailable_sink_is_tried_until_it_takes_the_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sink = MemorySink([SinkUnavailable("away"), SinkUnavailable("still away")])
    bench = Bench(sink)
    assert await bench.deliver()
    assert sink.events == [EVENT]
    assert bench.count("retries_total") == 2
    assert [record.getMessage() for record in caplog.records] == [
        "events wait in Kafka and are tried again, because away",
        "the sink takes events again",
    ]


@pytest.mark.parametrize("failure", [EventRefused("never"), MalformedEvent("never")])
async def test_a_refused_event_is_a_dead_letter(failure: EventRefused | MalformedEvent) -> None:
    bench = Bench(MemorySink([failure]), Letters([SinkUnavailable("Kafka is away"), EventRefused("too large")]))
    assert await bench.deliver()
    assert bench.letters.kept == [(RECORD, 400, "never")]
    assert bench.count("events_total", outcome="dead_lettered") == 1


async def test_what_is_no_event_is_a_dead_letter() -> None:
    bench = Bench(MemorySink())
    record = KafkaRecord("events", 0, 0, [], None, None)
    assert await bench.deliver(record)
    assert [(kept, code) for kept, code, _ in bench.letters.kept] == [(record, 400)]


@pytest.mark.parametrize("more", [{"read": cannot}, {"passes": cannot}])
async def test_a_record_that_makes_its_reading_fail_is_a_dead_letter(
    more: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(MemorySink(), **more)
    for _ in range(9):
        assert await bench.deliver()
    assert bench.letters.kept == [(RECORD, 500, "reading it failed: ZeroDivisionError")] * 9
    assert [record.exc_info is None for record in caplog.records].count(False) == 4  # the 1st, 2nd, 4th and 8th


@pytest.mark.parametrize("fault", [ZeroDivisionError(), asyncio.CancelledError()], ids=["raises", "cancels"])
async def test_an_event_that_makes_the_sink_fail_is_a_dead_letter_in_the_end(
    fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(FaultySink(fault))
    assert await bench.deliver()
    assert bench.letters.kept == [(RECORD, 500, f"the sink failed: {type(fault).__name__}")]
    assert "5 of 5 tries" in caplog.text


async def test_a_delivery_that_is_cancelled_itself_ends() -> None:
    bench = Bench(HangingSink())
    delivering = asyncio.create_task(bench.deliver())
    await asyncio.sleep(0)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    assert bench.letters.kept == []


async def test_an_abandoned_event_is_not_tried_again_and_not_finished() -> None:
    sink = MemorySink([SinkUnavailable("away", retry_after_s=1000.0)])
    assert not await Bench(sink).deliver(abandoned=True)
    assert sink.events == []
