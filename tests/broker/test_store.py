"""The store by itself: pages, pruning, and a group that fails."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.broker.changes import Admission
from wayside.eventing.broker.names import BrokerName, TriggerName
from wayside.eventing.broker.retention import Retention, RetentionSettings
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import FakeClock
from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import SinkUnavailable

TRIGGER = TriggerName("default", "default", "t")


def arrival(event_id: str, data: bytes = b"", matched: tuple[TriggerName, ...] = (TRIGGER,)) -> Arrival:
    event = CloudEvent(event_id, "/s", "t", data)
    return Arrival(BrokerName("default", "default"), event, 255, [(b"x-request-id", b"\xff")], matched)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> Any:
    opened = BrokerStore(tmp_path / "b.sqlite", [TRIGGER], 1 << 20, clock)
    await opened.start()
    yield opened
    await opened.stop()


async def waiting(store: BrokerStore) -> list[Waiting]:
    return await store.page(store.key(TRIGGER), 0, 1000)


async def test_pages_come_in_order_and_are_bounded(store: BrokerStore) -> None:
    await asyncio.gather(*(store.add(arrival(str(number))) for number in range(700)))
    key = store.key(TRIGGER)
    first = await store.page(key, 0, 300)
    rest = await store.page(key, first[-1].seq, 1000)
    assert [item.event.id for item in first + rest] == [str(number) for number in range(700)]
    assert first[0].forwards == [(b"x-request-id", b"\xff")]
    assert [item.seq for item in await store.some(key, [7, 5, 10_000])] == [5, 7]


async def test_a_page_ends_where_its_bytes_are_used_up(tmp_path: Path, clock: FakeClock) -> None:
    store = BrokerStore(tmp_path / "big.sqlite", [TRIGGER], 1 << 30, clock)
    await store.start()
    for number in range(4):
        await store.add(arrival(str(number), bytes(3 << 20)))
    assert [item.seq for item in await waiting(store)] == [1, 2, 3]
    await store.stop()


async def test_a_delivery_is_settled_once(store: BrokerStore) -> None:
    await store.add(arrival("1"))
    (item,) = await waiting(store)
    await asyncio.gather(store.settle(item, 2), store.settle(item, 2))
    await store.settle_dead_lettered(item)
    await store.keep_dead_letter(item, Failure(400, "late"), 1)
    (counts,) = store.counts().triggers
    assert (counts.matched, counts.delivered, counts.dead_lettered, counts.waiting) == (1, 1, 0, 0)
    assert counts.attempts == 2


async def test_settled_events_are_forgotten_after_a_while_and_counts_are_not(
    store: BrokerStore, clock: FakeClock
) -> None:
    retention = Retention(store, RetentionSettings(retain_s=60), clock)
    for name in ("settled", "dead", "waits"):
        await store.add(arrival(name))
    settled, dead, _ = await waiting(store)
    await store.settle(settled, 1)
    await store.keep_dead_letter(dead, Failure(400, "no"), 1)
    clock.advance(59)
    await retention.sweep()
    assert len(store.dead_letters()["dead_letters"]) == 1
    before = store.counts().bytes
    clock.advance(2)
    await retention.sweep()
    after = store.counts()
    assert 0 < after.bytes < before / 2
    assert store.dead_letters() == {"dead_letters": []}
    assert (after.events, after.triggers[0].matched, after.triggers[0].waiting) == (3, 3, 1)
    assert (await store.add(arrival("settled"))).value == "stored"
    assert (await store.add(arrival("waits"))).value == "duplicate"
    assert [item.seq for item in await waiting(store)] == [3, 4]


async def test_making_room_stops_when_there_is_some(tmp_path: Path, clock: FakeClock) -> None:
    store = BrokerStore(tmp_path / "b.sqlite", [TRIGGER], 1 << 20, clock)
    await store.start()
    retention = Retention(store, RetentionSettings(), clock)
    await asyncio.gather(*(store.add(arrival(str(number), bytes(700), matched=())) for number in range(960)))
    assert store.fill > 0.95
    await retention.sweep()
    assert 0.3 < store.fill < 0.9
    await store.stop()


async def test_a_store_that_cannot_write_says_so_each_time_and_recovers(
    tmp_path: Path, store: BrokerStore, clock: FakeClock
) -> None:
    other = sqlite3.connect(tmp_path / "b.sqlite", isolation_level=None)
    other.execute("CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'disk I/O error'); END")
    for _ in range(2):
        answers = await asyncio.gather(*(store.add(arrival(str(n))) for n in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [SinkUnavailable] * 3
    other.execute("DROP TRIGGER broken")
    other.close()
    assert await store.add(arrival("1")) is Admission.STORED
    await store.stop()
    for _ in range(2):
        with pytest.raises(WaysideError, match="not open"):
            await asyncio.wait_for(store.add(arrival("2")), 5)


async def test_stop_may_come_twice_and_before_start(tmp_path: Path, clock: FakeClock) -> None:
    store = BrokerStore(tmp_path / "b.sqlite", [], 1, clock)
    await store.stop()
    await store.start()
    await store.stop()
    await store.stop()
