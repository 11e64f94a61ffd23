"""The carrier that ships for tests: what it does beyond the contract that tests/carriers puts to every carrier."""

import asyncio

import pytest

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.exact import exact
from wayside.eventing.memory_carrier import DeadLetter, MemoryCarrier, MemoryLimits
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable


def event(event_id: str = "1", event_type: str = "t") -> CloudEvent:
    return CloudEvent(event_id, "s", event_type)


class Pauses:
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.asked_s: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.asked_s.append(delay_s)


class HeldSink(MemorySink):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.waiting = 0

    async def send(self, event: CloudEvent) -> None:
        self.waiting += 1
        await self.let_go.wait()
        await super().send(event)


class FaultySink(MemorySink):
    async def send(self, event: CloudEvent) -> None:
        raise ZeroDivisionError("one by none")


class CancelledSink(MemorySink):
    async def send(self, event: CloudEvent) -> None:
        raise asyncio.CancelledError


async def running(sink: MemorySink, limits: MemoryLimits | None = None) -> tuple[MemoryCarrier, Pauses]:
    pauses = Pauses()
    carrier = MemoryCarrier(limits, pause=pauses)
    carrier.subscribe("sub", sink)
    await carrier.start()
    return carrier, pauses


@pytest.mark.parametrize(
    ("sink", "attempts", "reason"),
    [
        (MemorySink([EventRefused("never")]), 1, "never"),
        (MemorySink([MalformedEvent("no event")]), 1, "no event"),
        (CancelledSink(), 3, "3 attempts, the last: the sink failed: CancelledError: "),
        (MemorySink([SinkUnavailable("away")] * 3), 3, "3 attempts, the last: away"),
        (FaultySink(), 3, "3 attempts, the last: the sink failed: ZeroDivisionError: one by none"),
    ],
)
async def test_what_cannot_be_delivered_is_a_dead_letter(sink: MemorySink, attempts: int, reason: str) -> None:
    carrier, pauses = await running(sink, MemoryLimits(attempts=3))
    await carrier.send(event())
    await carrier.wait_settled()
    assert list(carrier.dead_letters) == [DeadLetter("sub", event(), reason)]
    assert len(pauses.asked_s) == attempts - 1
    await carrier.stop()


async def test_the_wait_between_attempts_grows_and_is_what_the_sink_asks_for() -> None:
    failures = [SinkUnavailable("away"), SinkUnavailable("away", retry_after_s=30.0)]
    carrier, pauses = await running(MemorySink([*failures]))
    await carrier.send(event())
    await carrier.wait_settled()
    assert 0.05 <= pauses.asked_s[0] <= 0.1
    assert pauses.asked_s[1] == 30.0
    await carrier.stop()


async def test_it_takes_events_only_while_it_runs() -> None:
    sink = HeldSink()
    carrier = MemoryCarrier()
    carrier.subscribe("sub", sink)
    with pytest.raises(SinkUnavailable, match="not running"):
        await carrier.send(event())
    await carrier.start()
    await carrier.send(event())
    await carrier.stop()
    await carrier.stop()
    await carrier.wait_settled()  # what waited is forgotten
    with pytest.raises(SinkUnavailable, match="not running"):
        await carrier.send(event())
    assert not sink.events


async def test_what_waits_is_bounded_and_so_is_what_is_with_a_sink() -> None:
    sink = HeldSink()
    carrier, _ = await running(sink, MemoryLimits(in_flight=2, waiting_events=5))
    for number in range(5):
        await carrier.send(event(str(number)))
    await carrier.send(event("5"))
    assert list(carrier.dead_letters) == [DeadLetter("sub", event("5"), "5 events wait, which is the limit")]
    await asyncio.sleep(0)
    assert sink.waiting == 2
    sink.let_go.set()
    await carrier.wait_settled()
    assert len(sink.events) == 5
    await carrier.stop()


async def test_a_subscription_that_is_full_refuses_for_no_other() -> None:
    hanging, taking = HeldSink(), MemorySink()
    carrier = MemoryCarrier(MemoryLimits(waiting_events=1))
    for number in range(50):
        carrier.subscribe(f"hanging {number}", hanging)
    carrier.subscribe("taking", taking)
    await carrier.start()
    for number in range(3):
        await carrier.send(event(str(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [one.id for one in taking.events] == ["0", "1", "2"]
    assert hanging.waiting == 50
    assert len(carrier.dead_letters) == 100
    await carrier.stop()


async def test_of_dead_letters_the_newest_are_kept() -> None:
    carrier, _ = await running(FaultySink(), MemoryLimits(attempts=1, dead_letters=2))
    for number in range(3):
        await carrier.send(event(str(number)))
    await carrier.wait_settled()
    assert [letter.event.id for letter in carrier.dead_letters] == ["1", "2"]
    await carrier.stop()


async def test_order_is_kept_where_it_is_asked_for() -> None:
    loose, ordered = (MemorySink([SinkUnavailable("away")]) for _ in range(2))
    carrier = MemoryCarrier(pause=lambda delay_s: asyncio.sleep(0))
    carrier.subscribe("loose", loose)
    carrier.subscribe("ordered", ordered, ordered=True)
    await carrier.start()
    for number in range(5):
        await carrier.send(event(str(number)))
    await carrier.wait_settled()
    assert [one.id for one in ordered.events] == ["0", "1", "2", "3", "4"]
    assert [one.id for one in loose.events] == ["1", "2", "3", "4", "0"]
    await carrier.stop()


async def test_a_filter_decides_and_a_name_is_taken_once() -> None:
    sink = MemorySink()
    carrier = MemoryCarrier()
    carrier.subscribe("sub", sink, exact({"type": "wanted"}))
    with pytest.raises(ValueError, match="'sub' is there already"):
        carrier.subscribe("sub", sink)
    await carrier.start()
    await asyncio.gather(carrier.send(event("1", "wanted")), carrier.send(event("2", "other")))
    await carrier.wait_settled()
    assert [one.id for one in sink.events] == ["1"]
    await carrier.stop()
