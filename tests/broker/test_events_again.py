"""What is asked for once more, by the store's own functions: whatever the sequence, the balance holds."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.eventing.broker import changes, kept, pruning, tables
from wayside.eventing.broker.backlog import Backlog
from wayside.eventing.broker.budget import ByteBudget
from wayside.eventing.broker.changes import Change, Delivery
from wayside.eventing.broker.events import again
from wayside.eventing.broker.events.scan import Range, Span, scan
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.views import TriggerCounts, counts
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import FakeClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.storage import journal_tables
from wayside.eventing.storage.database import open_connection
from wayside.eventing.triggers.names import BrokerName, TriggerName

BROKER, OTHER = BrokerName("default", "default"), BrokerName("default", "other")
T, U = TriggerName(*BROKER, "t"), TriggerName(*BROKER, "u")
FAILURE = Failure(400, "answered 400")


class Shelf:
    """A store's tables without a broker: time goes on by one nanosecond an event."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        connection.executescript(journal_tables.SCHEMA + tables.SCHEMA)
        tables.register(connection, [T, U], [BROKER, OTHER])
        self._now_ns = 0

    def add(self, *matched: TriggerName, event_type: str = "a", broker: BrokerName = BROKER) -> int:
        """The new event's position; events are received at 1 ns, 2 ns, …"""
        self._now_ns += 1
        event = CloudEvent(str(self._now_ns), "/s", event_type)
        packed = kept.pack(Arrival(broker, event, 255, [], matched), self._now_ns)
        return changes.apply(self.connection, [Change(packed)], {})[0].position

    def waiting(self, trigger: TriggerName) -> list[tuple[int, bool]]:
        """Positions of the deliveries that wait, and whether they are to be made again."""
        tag = kept.tag(trigger)
        cursor = tables.place(self.connection, tag).cursor
        first = tables.read_page(self.connection, tag, cursor, 10_000, 1 << 30).waiting
        repeated = tables.read_again(self.connection, tag, -1, 10_000)
        return [*((one.kept.position, False) for one in first), *((position, True) for position in repeated)]

    def deliver(self, trigger: TriggerName, position: int, is_again: bool) -> None:
        changes.apply(
            self.connection, [Change(delivered=Delivery(kept.tag(trigger), position, is_again), attempts=1)], {}
        )

    def bury(self, trigger: TriggerName, position: int, is_again: bool) -> None:
        tables.keep_dead_letter(self.connection, Delivery(kept.tag(trigger), position, is_again), FAILURE, 1, 0)

    def settle_all(self, trigger: TriggerName = T) -> None:
        for position, is_again in self.waiting(trigger):
            self.deliver(trigger, position, is_again)

    def replay(self, within: Range | None = None, wanted: str | None = None) -> again.Replayed:
        """To T, at once."""
        found = again.seek(
            self.connection, BROKER, lambda event: wanted in (None, event.type), within or Range(Span(0, 1 << 60))
        )
        return again.replay(self.connection, T, found.positions)

    def redeliver(self, *positions: int) -> int:
        made = again.redeliver(self.connection, [kept.tag(T), kept.tag(U)], positions or None, 0, 10_000)
        return sum(made.counts.values())

    def counts(self, trigger: TriggerName = T) -> TriggerCounts:
        return next(one for one in counts(self.connection, [T, U]).triggers if one.name == trigger.name)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with closing(open_connection(tmp_path / "journal.db")) as connection:
        yield Shelf(connection)


def test_a_replay_takes_what_is_settled_and_leaves_the_rest(shelf: Shelf) -> None:
    settled, buried, waits = (shelf.add(T) for _ in range(3))
    unmatched = shelf.add(event_type="b")
    shelf.add(T, broker=OTHER)
    shelf.deliver(T, settled, False)
    shelf.bury(T, buried, False)
    assert shelf.replay() == again.Replayed(replayed=2, waiting=1, dead_letters=1)
    assert [position for position, is_again in shelf.waiting(T) if is_again] == [settled, unmatched]
    assert (waits, False) in shelf.waiting(T)
    counted = shelf.counts()
    assert (counted.matched, counted.replayed, counted.dead_lettered, counted.waiting) == (6, 2, 1, 4)
    assert shelf.replay() == again.Replayed(replayed=0, waiting=3, dead_letters=1)


def test_what_was_replayed_and_delivered_is_replayed_anew(shelf: Shelf) -> None:
    shelf.add(T)
    shelf.settle_all()
    for times in (1, 2, 3):
        assert shelf.replay().replayed == 1
        shelf.settle_all()
        assert (shelf.counts().delivered, shelf.counts().filtered) == (1 + times, 0)


@pytest.mark.parametrize(
    ("span", "expected"),
    [((2, 4), [2, 3]), ((0, 2), [1]), ((4, 100), [4, 5]), ((6, 100), []), ((3, 3), [])],
)
def test_a_range_is_from_one_time_up_to_another(shelf: Shelf, span: tuple[int, int], expected: list[int]) -> None:
    for _ in range(5):
        shelf.add(T)
    shelf.settle_all()
    assert shelf.replay(Range(Span(*span))).replayed == len(expected)
    assert [position for position, _ in shelf.waiting(T)] == expected


def test_the_filter_of_now_decides(shelf: Shelf) -> None:
    shelf.add(T, event_type="old")
    shelf.add(event_type="new")
    shelf.settle_all()
    assert shelf.replay(wanted="new").replayed == 1
    assert [position for position, _ in shelf.waiting(T)] == [2]


def test_what_was_made_again_since_its_position_was_read_is_not_made_twice(shelf: Shelf) -> None:
    positions = [shelf.add(T), shelf.add(T)]
    shelf.settle_all()
    shelf.replay()
    shelf.deliver(T, positions[0], True)
    found = tables.read_some(shelf.connection, kept.tag(T), positions, True, 1 << 20)
    assert [one.kept.position for one in found.waiting] == positions[1:]


def test_a_redelivered_dead_letter_waits_again(shelf: Shelf) -> None:
    positions = [shelf.add(T, U) for _ in range(3)]
    for position in positions:
        shelf.bury(T, position, False)
    shelf.bury(U, positions[0], False)
    assert shelf.redeliver(positions[0], 99) == 2
    assert shelf.waiting(T) == [(positions[0], True)]
    shelf.bury(T, positions[0], True)
    assert shelf.redeliver() == 3
    assert shelf.redeliver() == 0
    counted = shelf.counts()
    assert (counted.matched, counted.dead_lettered, counted.waiting, counted.replayed) == (3, 0, 3, 0)
    shelf.settle_all()
    assert shelf.counts().delivered == 3


def test_dead_letters_are_redelivered_in_bounded_steps(shelf: Shelf) -> None:
    for _ in range(5):
        shelf.bury(T, shelf.add(T), False)
    tags, last, numbers, done = [kept.tag(T)], 0, [], False
    while not done:
        made = again.redeliver(shelf.connection, tags, None, last, 2)
        for position, is_again in shelf.waiting(T):
            shelf.bury(T, position, is_again)  # fails again: must not be taken up a second time
        numbers.append(sum(made.counts.values()))
        last, done = made.last, made.done
    assert numbers == [2, 2, 1]


def test_what_waits_once_more_is_not_forgotten(shelf: Shelf) -> None:
    first, second = shelf.add(T), shelf.add(T)
    shelf.settle_all()
    assert shelf.replay(Range(Span(0, 2))).replayed == 1
    pruning.prune(shelf.connection, 0, pruning.Ages(1 << 60, 1 << 60), 100)
    assert shelf.waiting(T) == [(first, True)]
    assert again.replay(shelf.connection, T, [second]).replayed == 0  # it is gone
    shelf.settle_all()
    pruning.prune(shelf.connection, 0, pruning.Ages(1 << 60, 1 << 60), 100)
    assert journal_tables.state(shelf.connection).entries == 0
    assert tables.recount(shelf.connection) == 0


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("limit_rows", [1, 3, 100])
def test_a_scan_meets_each_event_once_in_order(shelf: Shelf, limit_rows: int, newest_first: bool) -> None:
    positions = [shelf.add(T) for _ in range(7)]
    pruning.prune(shelf.connection, 0, pruning.Ages(0, 0), 100)
    journal_tables.forget(shelf.connection, positions[2:4])
    expected = positions[:2] + positions[4:]
    met: list[int] = []
    after, done = None, False
    while not done:
        found = scan(shelf.connection, Range(Span(), after, limit_rows, newest_first), "1", {})
        assert len(found.entries) <= limit_rows
        met += [entry.position for entry in found.entries]
        after, done = found.last, found.done
    assert met == (expected[::-1] if newest_first else expected)
    late = shelf.add(T)
    if not newest_first:
        (entry,) = scan(shelf.connection, Range(Span(), after), "1", {}).entries
        assert entry.position == late


def test_a_damaged_event_is_skipped_and_counted(shelf: Shelf) -> None:
    shelf.add(T)
    damaged = shelf.add(T)
    shelf.settle_all()
    shelf.connection.execute("UPDATE journal_entry SET data = x'00' WHERE position = ?", (damaged,))
    found = again.seek(shelf.connection, BROKER, lambda _: True, Range())
    assert (found.positions, found.looked, found.damaged, found.done) == ((1,), 2, 1, True)


def _each(act: Callable[[TriggerName, int, bool], None], shelf: Shelf, choice: int) -> None:
    """Do something to one delivery that waits."""
    for trigger in (T, U):
        waiting = shelf.waiting(trigger)
        if waiting:
            act(trigger, *waiting[choice % len(waiting)])


STEPS: Sequence[Callable[[Shelf, int], object]] = (
    lambda shelf, choice: shelf.add(*[(), (T,), (U,), (T, U)][choice % 4], event_type="ab"[choice % 2]),
    lambda shelf, choice: _each(shelf.deliver, shelf, choice),
    lambda shelf, choice: _each(shelf.bury, shelf, choice),
    lambda shelf, choice: shelf.redeliver(*([] if choice % 2 else [1 + choice % 5])),
    lambda shelf, choice: shelf.replay(Range(Span(choice % 8, choice)), [None, "a", "b"][choice % 3]),
    lambda shelf, choice: pruning.prune(shelf.connection, 0, pruning.Ages(choice, choice), 100),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(range(len(STEPS))), st.integers(0, 40)), max_size=60))
def test_the_balance_holds_after_any_sequence(steps: list[tuple[int, int]]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        shelf = Shelf(connection)
        for step, choice in steps:
            STEPS[step](shelf, choice)
            for trigger in (T, U):
                waiting, counted = shelf.waiting(trigger), shelf.counts(trigger)
                assert len({position for position, _ in waiting}) == len(waiting) == counted.waiting
        assert tables.recount(connection) == 0
        for trigger in (T, U):
            shelf.settle_all(trigger)
            counted = shelf.counts(trigger)
            assert counted.matched == counted.delivered + counted.dead_lettered


async def test_what_is_asked_for_while_the_lane_reads_is_taken_up(tmp_path: Path) -> None:
    """The lane has read that there is nothing to make again; then there is, and it is told, before it goes on."""
    store = BrokerStore(tmp_path / "journal.db", 1 << 20, FakeClock())
    await store.start()
    await store.register([T], [BROKER])
    await store.add(Arrival(BROKER, CloudEvent("1", "/s", "t"), 255, [], (T,)))
    await store.keep_dead_letter(Delivery(kept.tag(T), 1), FAILURE, 1)
    backlog = Backlog(store, kept.tag(T), ByteBudget(1 << 30))
    assert await backlog.next_turns() == []  # the page of what comes first
    backlog.look_again()
    go, over = threading.Event(), threading.Event()
    held = asyncio.create_task(store.look(lambda _: go.wait(10)))
    await asyncio.sleep(0)
    reading = asyncio.create_task(backlog.next_turns())
    await asyncio.sleep(0)
    behind = asyncio.create_task(store.look(lambda _: over.set()))
    await asyncio.sleep(0)
    go.set()
    assert over.wait(10)  # the read between them is over, and the lane does not know yet: the loop stands still
    with closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        again.redeliver(other, [kept.tag(T)], None, 0, 10)
        other.commit()
    backlog.look_again()
    turns = await reading
    while not turns:
        turns = await asyncio.wait_for(backlog.next_turns(), 10)
    assert [(turn.waiting.kept.position, turn.waiting.again) for turn in turns] == [(1, True)]
    await asyncio.gather(held, behind)
    await store.stop()
