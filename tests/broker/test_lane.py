"""One Trigger's lane: what hangs or fails holds up nothing else, and costs a bounded part of memory."""

import asyncio
import gc
import itertools
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_stage import QUICK, Hanging, Stage, Told, trigger, with_dead_letters_to

from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.eventing.triggers.delivery import BackoffPolicy

MIB = 1 << 20
Until = Callable[..., Awaitable[None]]


def events(trigger_name: str, count: int, prefix: str = "", size_bytes: int = 10, key: str = "k") -> list[CloudEvent]:
    data = b"x" * size_bytes
    return [
        CloudEvent(f"{prefix}{n}", "/lane", trigger_name, data, extensions={"partitionkey": key}) for n in range(count)
    ]


@asynccontextmanager
async def stopped(stage: Stage, *hanging: Hanging) -> AsyncIterator[Stage]:
    """Stops at the end, with those released that hang."""
    try:
        yield stage
    finally:
        for one in hanging:
            one.released.set()
        await stage.stop()


def bytes_in_memory() -> int:
    """Of the data of all events of this file that there are in this process."""
    gc.collect()
    data = {
        id(one.data): len(one.data) for one in gc.get_objects() if isinstance(one, CloudEvent) and one.source == "/lane"
    }
    return sum(data.values())


def bad(event: CloudEvent) -> bool:
    return event.id.startswith("bad")


# what hangs


@pytest.mark.parametrize("in_flight", [1, 2, 5])
async def test_a_dead_letter_sink_that_hangs_leaves_places_for_what_is_new(
    tmp_path: Path, until: Until, in_flight: int
) -> None:
    def refuse_bad(event: CloudEvent) -> None:
        if bad(event):
            raise EventRefused("no")

    subscriber, sink = Told(refuse_bad), Hanging()
    delivery = with_dead_letters_to("sink", replace(QUICK, timeout_s=0.02 if in_flight == 1 else 60))
    async with stopped(Stage(tmp_path), sink) as stage:
        await stage.start({trigger("t", delivery): subscriber}, in_flight, others={"sink": sink})
        await stage.post(*events("t", 40, "bad"))
        await until(lambda: sink.began and len(subscriber.began) == 40)
        await stage.post(*events("t", 20, "good"))
        await until(lambda: stage.counts("t").delivered == 20)
        assert stage.counts("t").waiting == 40
        if in_flight > 1:
            assert len(sink.began) <= in_flight // 2


@pytest.mark.parametrize("ordered", [False, True])
async def test_dead_letters_from_before_leave_places_for_what_is_new(
    tmp_path: Path, until: Until, ordered: bool
) -> None:
    """The sink hung before the start, and hangs after it."""

    def refuse(_: CloudEvent) -> None:
        raise EventRefused("no")

    wanted = trigger("t", with_dead_letters_to("sink"), ordered)
    first, sink = Stage(tmp_path), Told()
    sink.answer = refuse
    await first.start({wanted: Told(refuse)}, others={"sink": sink})
    for number in range(10):
        await first.post(*events("t", 2, f"bad{number}-", key=f"bad{number}"))
    await until(lambda: len({*sink.began}) == (10 if ordered else 20))
    await first.stop()
    hanging, subscriber = Hanging(), Told()
    async with stopped(Stage(tmp_path), hanging) as stage:
        await stage.start({wanted: subscriber}, others={"sink": hanging})
        await stage.post(*events("t", 20, "good"))
        await until(lambda: {f"good{n}" for n in range(20)} <= {*subscriber.took})
        assert len(hanging.began) <= 2
        hanging.released.set()
        await until(lambda: not stage.counts("t").waiting)
        assert stage.counts("t").dead_lettered == (10 if ordered else 20)


@pytest.mark.parametrize("ordered", [False, True])
async def test_retries_that_hang_leave_places_for_what_is_new(tmp_path: Path, until: Until, ordered: bool) -> None:
    """The subscriber fails on some events, and hangs on each of them from then on."""
    seen, released = set[str](), asyncio.Event()

    async def hang(event: CloudEvent) -> None:
        if event.id in seen:
            await released.wait()
        seen.add(event.id)
        raise SinkUnavailable("again")

    subscriber = Told(lambda event: hang(event) if bad(event) else None)
    async with stopped(Stage(tmp_path)) as stage:
        await stage.start({trigger("t", replace(QUICK, retry=1_000), ordered): subscriber}, in_flight=4)
        for number in range(40):
            await stage.post(*events("t", 1, f"bad{number}-", key=f"bad{number}"))
        await until(lambda: len(seen) == 40)
        await stage.post(*events("t", 20, "good"))
        await until(lambda: len(subscriber.took) == 20)
        assert subscriber.took == [f"good{n}" for n in range(20)] or not ordered
        await until(lambda: stage.counts("t").delivered == 20)
        await until(lambda: stage.lane("t").in_flight == 2)
        subscriber.answer = lambda _: None
        await stage.post(*events("t", 1, "last"))
        released.set()
        await until(lambda: not stage.counts("t").waiting)


# what it costs


async def test_a_subscriber_that_hangs_holds_half_of_the_bytes_at_most_and_the_others_go_on(
    tmp_path: Path, until: Until
) -> None:
    hanging, well = Hanging(), Told()
    async with stopped(Stage(tmp_path), hanging) as stage:
        await stage.start({trigger("hangs"): hanging, trigger("well"): well}, 32, in_flight_bytes=8 * MIB)
        await stage.post(*events("hangs", 40, size_bytes=MIB // 4))
        await until(lambda: hanging.began)
        await stage.post(*events("well", 40, size_bytes=MIB // 4))
        await until(lambda: len(well.took) == 40)
        assert bytes_in_memory() <= 8 * MIB // 2 // 2
        hanging.released.set()
        await until(lambda: not stage.counts("hangs").waiting)
        assert sorted(hanging.took) == sorted(event.id for event in events("hangs", 40))


async def test_very_many_that_hang_leave_one_delivery_at_a_time_to_each(tmp_path: Path, until: Until) -> None:
    """With less in the budget than one event has bytes."""
    hanging, well = Hanging(), Told()
    triggers = {trigger(f"hangs{n}"): hanging for n in range(20)} | {trigger("well"): well}
    async with stopped(Stage(tmp_path), hanging) as stage:
        await stage.start(triggers, 32, in_flight_bytes=1000)
        for number in range(20):
            await stage.post(*events(f"hangs{number}", 3))
        await stage.post(*events("well", 30))
        await until(lambda: len(well.took) == 30)
        await until(lambda: len(hanging.began) == 20)
        assert well.took == [event.id for event in events("well", 30)]
        hanging.released.set()
        await until(lambda: len(hanging.took) == 60)


@pytest.mark.parametrize("budget", [2 * MIB, 256 * MIB])
async def test_what_waits_from_before_is_read_within_the_bytes(tmp_path: Path, until: Until, budget: int) -> None:
    """Twenty lanes that are behind: not a page of each lies in memory, and all of it is delivered in the end."""
    first, names = Stage(tmp_path), [f"t{n}" for n in range(20)]
    hanging = Hanging()
    await first.start({trigger(name): hanging for name in names})
    for name in names:
        await first.post(*events(name, 8, size_bytes=MIB // 8))
    hanging.released.set()
    await first.stop()
    second = Stage(tmp_path)
    held = Hanging()
    async with stopped(second, held) as stage:
        await stage.start({trigger(name): held for name in names}, 32, in_flight_bytes=budget)
        await stage.post(*(event for name in names for event in events(name, 8, "more", size_bytes=MIB // 8)))
        await until(lambda: len(held.began) >= len(names))
        if budget == 2 * MIB:
            assert bytes_in_memory() <= budget // 2 + len(names) * MIB // 8
        held.released.set()
        await until(lambda: not any(stage.counts(name).waiting for name in names))


async def test_what_waits_for_its_key_is_held_whole_up_to_eight_mebibytes(tmp_path: Path, until: Until) -> None:
    hanging = Hanging()
    async with stopped(Stage(tmp_path), hanging) as stage:
        await stage.start({trigger("t", ordered=True): hanging})
        await stage.post(*events("t", 1))
        await until(lambda: hanging.began)
        for number in range(40):
            await stage.post(*events("t", 1, f"{number}-", MIB))
            await asyncio.sleep(0)
        await stage.post(*events("t", 1, "other", key="other"))
        await until(lambda: "other0" in hanging.began)
        assert MIB < bytes_in_memory() <= 8 * MIB
        hanging.released.set()
        await until(lambda: not stage.counts("t").waiting)
        assert hanging.took == ["0", "other0", *(f"{number}-0" for number in range(40))]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 500, 5_000])), min_size=1, max_size=40),
    script=st.lists(st.booleans(), min_size=1, max_size=7),
    in_flight=st.sampled_from([1, 2, 8]),
    in_flight_bytes=st.sampled_from([1, 8_000, 40_000, 256 * MIB]),
    ordered=st.booleans(),
)
def test_all_is_delivered_however_little_may_be_held(
    sizes: list[tuple[str, int]], script: list[bool], in_flight: int, in_flight_bytes: int, ordered: bool
) -> None:
    sent = [event for n, (key, size) in enumerate(sizes) for event in events("t", 1, f"{key}{n}-", size, key)]

    async def deliver(folder: Path) -> list[str]:
        answers = itertools.cycle(script)

        def answer(_: CloudEvent) -> None:
            if not next(answers) and any(script):
                raise SinkUnavailable("again")

        subscriber = Told(answer)
        async with stopped(Stage(folder)) as stage:
            quick = replace(QUICK, retry=1_000, policy=BackoffPolicy.EXPONENTIAL, delay_s=1e-6)
            await stage.start({trigger("t", quick, ordered): subscriber}, in_flight, in_flight_bytes)
            await stage.post(*sent)
            async with asyncio.timeout(10):
                while stage.counts("t").delivered < len(sent):
                    await asyncio.sleep(0.001)
        return subscriber.took

    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(deliver(Path(folder)))
    assert sorted(took) == sorted(event.id for event in sent)
    for key in "abc" if ordered else "":
        assert [one for one in took if one[0] == key] == [event.id for event in sent if event.id[0] == key]


# what the store has lost


def damage(stage: Stage, *positions: int) -> None:
    with closing(sqlite3.connect(stage.path, timeout=5, isolation_level=None)) as other:
        for position in positions:
            other.execute("UPDATE journal_entry SET data = x'00ff' WHERE position = ?", (position,))


@pytest.mark.parametrize("in_flight_bytes", [256 << 20, 1000], ids=["held whole", "held by position"])
@pytest.mark.parametrize("again", [False, True], ids=["the last", "with more behind it"])
async def test_the_loss_of_an_event_that_waits_for_its_next_attempt_does_not_stop_its_key(
    tmp_path: Path, until: Until, in_flight_bytes: int, again: bool
) -> None:
    is_damaged = asyncio.Event()

    async def fail() -> None:
        await is_damaged.wait()
        raise SinkUnavailable("again")

    subscriber = Told(lambda event: fail() if event.id == "lost0" else None)
    async with stopped(Stage(tmp_path)) as stage:
        await stage.start({trigger("t", ordered=True): subscriber}, 4, in_flight_bytes)
        await stage.post(*events("t", 1, "lost"), *events("t", 3 * again))
        await until(lambda: subscriber.began)
        damage(stage, 1)
        is_damaged.set()
        await until(lambda: stage.counts("t").matched == stage.counts("t").delivered == 3 * again)
        await stage.post(*events("t", 3, "later"))
        await until(lambda: not stage.counts("t").waiting)
        assert subscriber.took == [event.id for event in (*events("t", 3 * again), *events("t", 3, "later"))]


async def test_the_loss_of_events_that_wait_for_their_key_does_not_stop_it(tmp_path: Path, until: Until) -> None:
    """They are held by their positions, for want of room, and are gone when their turn comes."""
    hanging = Hanging()
    async with stopped(Stage(tmp_path), hanging) as stage:
        await stage.start({trigger("t", ordered=True): hanging}, 4, in_flight_bytes=4000)
        await stage.post(*events("t", 1, "first", size_bytes=2000))
        await until(lambda: hanging.began)
        await stage.post(*events("t", 6, size_bytes=2000))
        damage(stage, 2, 3, 5, 7)
        hanging.released.set()
        await until(lambda: not stage.counts("t").waiting)
        assert hanging.took == ["first0", "2", "4"]


# what the store cannot do


class Failing(BrokerStore):
    """Cannot settle some deliveries, so many times."""

    failures = 0

    async def settle(self, delivery: Delivery, attempts: int, reply: Arrival | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkUnavailable("the disk is full", 0.001)
        await super().settle(delivery, attempts, reply)


async def test_failures_of_the_store_use_up_no_retries(
    tmp_path: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, Failing)
    stage.store.failures = 4  # type: ignore[attr-defined]

    def answer(_: CloudEvent) -> None:
        if len(subscriber.began) == 5:
            raise SinkUnavailable("again")

    subscriber = Told(answer)
    async with stopped(stage):
        await stage.start({trigger("t", replace(QUICK, retry=1)): subscriber})
        await stage.post(*events("t", 1))
        await until(lambda: not stage.counts("t").waiting)
        assert (stage.counts("t").delivered, stage.counts("t").dead_lettered) == (1, 0)
        assert len(subscriber.began) == 6
    assert [record.getMessage() for record in caplog.records] == [
        "default/default/t: deliveries wait for the store and are tried again, because the disk is full"
    ]


async def test_a_lane_that_waits_for_the_store_ends_when_it_is_closed(tmp_path: Path, until: Until) -> None:
    class Unreadable(BrokerStore):
        asked = 0

        async def place(self, tag: bytes) -> None:  # type: ignore[override]
            self.asked += 1
            raise SinkUnavailable("the disk is gone", 30)

    stage = Stage(tmp_path, Unreadable)
    async with stopped(stage):
        await stage.start({trigger("t"): Told()})
        await until(lambda: stage.store.asked)  # type: ignore[attr-defined]
        async with asyncio.timeout(2):
            await stage.dispatcher.stop()
