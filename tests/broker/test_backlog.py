"""What comes next for one Trigger: each kind gets its turn, and what came from memory or from the store is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from wayside.eventing.broker import kept
from wayside.eventing.broker.backlog import Backlog
from wayside.eventing.broker.budget import ByteBudget
from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.events import again
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.turns import EVENT_BYTES, Turn, size_bytes
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import FakeClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.names import BrokerName, TriggerName

BROKER = BrokerName("default", "default")
T = TriggerName("default", "default", "t")
TAG = kept.tag(T)
ROOM = ByteBudget(1 << 30)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BrokerStore]:
    store = BrokerStore(tmp_path / "journal.db", 1 << 30, FakeClock())
    await store.start()
    await store.register([T], [BROKER])
    yield store
    await store.stop()


async def keep(store: BrokerStore, *ids: str, size_bytes: int = 0) -> None:
    for event_id in ids:
        await store.add(Arrival(BROKER, CloudEvent(event_id, "/s", "t", bytes(size_bytes)), 255, [], (T,)))


async def next_of(backlog: Backlog, new: bool = True) -> list[Turn]:
    """The next that there are, which take no room any more."""
    while not (turns := await backlog.next_turns(new=new)):
        pass
    for turn in turns:
        backlog.share.give(turn.size_bytes)
    return turns


def ids(turns: list[Turn]) -> list[str]:
    return [turn.waiting.kept.event.id for turn in turns]


async def test_each_kind_gets_its_turn(store: BrokerStore) -> None:
    """With room for one delivery at a time: what is new does not wait for the end of what is made again, nor that."""
    await keep(store, "old1", "old2", "old3")
    for position in (1, 2, 3):
        await store.keep_dead_letter(Delivery(TAG, position), Failure(400, "no"), 1)
    await store.change(lambda connection: again.redeliver(connection, [TAG], None, 0, 10))
    await keep(store, "new1", "new2", "new3")
    backlog = Backlog(store, TAG, ByteBudget(1))
    first = await next_of(backlog)
    backlog.put_off(first[0], 1, 0.0)
    order = [*ids(first)]
    for _ in range(6):
        order += ids(await next_of(backlog))
    assert order == ["old1", "new1", "old1", "old2", "new2", "old3", "new3"]


@pytest.mark.parametrize("is_letter", [False, True])
async def test_many_that_wait_for_the_subscriber_stop_what_is_new_and_dead_letters_do_not(
    store: BrokerStore, is_letter: bool
) -> None:
    await keep(store, "first")
    backlog = Backlog(store, TAG, ROOM)
    (turn,) = await next_of(backlog)
    for _ in range(1_024):
        backlog.put_off(turn, 1, 3_600.0, is_letter)
    await keep(store, "second")
    backlog.feed(Turn.first(Waiting(kept.Kept(2, 0, CloudEvent("second", "/s", "t"), 255, []))))
    found: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(5 if is_letter else 0.05):
            found = ids(await next_of(backlog))
    assert found == (["second"] if is_letter else [])


async def test_what_is_not_wanted_new_makes_room_for_what_is_due(store: BrokerStore) -> None:
    """A lane that holds what just came, and is to deliver only what it put off before."""
    backlog = Backlog(store, TAG, ByteBudget(3 * EVENT_BYTES))
    store.feed = lambda event, _: backlog.feed(Turn.first(Waiting(event)))
    assert await backlog.next_turns() == []
    await keep(store, "first")
    (turn,) = await next_of(backlog)
    await keep(store, "second")
    assert backlog.share.held_bytes > EVENT_BYTES
    backlog.share.charge(EVENT_BYTES)  # an attempt under way
    backlog.put_off(turn, 1, 0.0)
    backlog.share.give(EVENT_BYTES)
    assert ids(await next_of(backlog, new=False)) == ["first"]
    assert ids(await next_of(backlog)) == ["second"]


@pytest.mark.parametrize(("count", "size_bytes"), [(1_030, 0), (12, 1 << 20)], ids=["very many", "large"])
async def test_what_just_came_is_bounded_in_memory_and_lost_nowhere(
    store: BrokerStore, count: int, size_bytes: int
) -> None:
    backlog = Backlog(store, TAG, ROOM)
    store.feed = lambda event, _: backlog.feed(Turn.first(Waiting(event)))
    assert await backlog.next_turns() == []
    names = [str(number) for number in range(count)]
    await keep(store, *names, size_bytes=size_bytes)
    assert backlog.share.held_bytes <= max(8 << 20, 1_100 * EVENT_BYTES)
    found: list[str] = []
    while len(found) < count:
        found += ids(await next_of(backlog))
    assert found == names


def test_the_size_of_an_event_counts_all_that_its_sender_chose() -> None:
    event = CloudEvent("i" * 10, "/s", "t", b"d" * 100, extensions={"e": "x" * 1_000})
    size = size_bytes(kept.Kept(1, 1, event, 255, [(b"knative-x", b"y" * 500)]))
    assert 10 + 100 + 1_000 + 500 < size - EVENT_BYTES < 10 + 100 + 1_000 + 500 + 100
