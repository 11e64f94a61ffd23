"""The store by itself: pages, cursors, pruning, damage, and a group that fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wayside.eventing.broker import tables
from wayside.eventing.broker.changes import Admission, Delivery
from wayside.eventing.broker.kept import Kept, tag
from wayside.eventing.broker.retention import Retention, RetentionSettings
from wayside.eventing.broker.routing import Arrival
from wayside.eventing.broker.store import BrokerStore, ReplyRefused
from wayside.eventing.broker.tables import Waiting
from wayside.eventing.broker.views import TriggerCounts, counts, dead_letters
from wayside.eventing.broker.wire import Failure
from wayside.eventing.clock import FakeClock
from wayside.eventing.errors import ConfigurationError, WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import SinkUnavailable
from wayside.eventing.storage.journal import Journal, look_at
from wayside.eventing.triggers.names import BrokerName, TriggerName

OFTEN, RARE = TriggerName("default", "default", "often"), TriggerName("default", "default", "rare")
BROKER = BrokerName("default", "default")
Open = Callable[..., Any]


def arrival(event_id: str, *matched: TriggerName, data: bytes = b"") -> Arrival:
    return Arrival(BROKER, CloudEvent(event_id, "/s", "t", data), 255, [(b"x-request-id", b"\xff")], matched)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def new_store(path: Path, clock: FakeClock) -> AsyncIterator[Open]:
    opened: list[BrokerStore] = []

    async def open_store(*names: TriggerName, limit_bytes: int = 1 << 20) -> BrokerStore:
        for former in opened:
            await former.stop()
        store = BrokerStore(path, limit_bytes, clock)
        opened.append(store)
        await store.start()
        await store.register(names or (OFTEN, RARE), [BROKER])
        return store

    yield open_store
    for store in opened:
        await store.stop()


async def waiting(store: BrokerStore, name: TriggerName = OFTEN) -> Sequence[Waiting]:
    return (await store.page(tag(name), 0, 1000)).waiting


async def ids(store: BrokerStore, name: TriggerName) -> list[str]:
    return [item.kept.event.id for item in await waiting(store, name)]


def delivery(item: Waiting, name: TriggerName = OFTEN) -> Delivery:
    return Delivery(tag(name), item.kept.position, item.again)


def of(store: BrokerStore, name: TriggerName = OFTEN) -> TriggerCounts:
    return next(one for one in counts(store.view, [OFTEN, RARE]).triggers if one.name == name.name)


def balance(store: BrokerStore, name: TriggerName = OFTEN) -> tuple[int, int, int, int]:
    found = of(store, name)
    return found.matched, found.delivered, found.dead_lettered, found.waiting


async def test_pages_come_in_order_and_are_bounded(new_store: Open) -> None:
    store = await new_store()
    await asyncio.gather(*(store.add(arrival(str(number), OFTEN)) for number in range(700)))
    first = await store.page(tag(OFTEN), 0, 300)
    rest = await store.page(tag(OFTEN), first.last, 1000)
    found = [*first.waiting, *rest.waiting]
    assert [item.kept.event.id for item in found] == [str(number) for number in range(700)]
    assert (found[0].kept.forwards, found[0].kept.ttl) == ([(b"x-request-id", b"\xff")], 255)
    some = await store.some(tag(OFTEN), [7, 5, 10_000], again=False)
    assert ([item.kept.position for item in some.waiting], some.last) == ([5, 7], 10_000)


async def test_a_page_ends_where_its_bytes_are_used_up(new_store: Open) -> None:
    store = await new_store(limit_bytes=1 << 30)
    for number in range(4):
        await store.add(arrival(str(number), OFTEN, data=bytes(3 << 20)))
    first = await store.page(tag(OFTEN), 0, 1000)
    assert ([item.kept.position for item in first.waiting], first.last) == ([1, 2], 2)
    assert [item.kept.position for item in (await store.page(tag(OFTEN), 2, 1000)).waiting] == [3, 4]


async def test_a_page_of_a_rare_trigger_looks_at_a_bounded_part_of_the_log(
    new_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SCAN_ROWS", 10)
    store = await new_store()
    for number in range(25):
        await store.add(arrival(str(number), *((OFTEN, RARE) if number == 17 else (OFTEN,))))
    pages = [([""], 0)]
    while pages[-1][1] < 25:
        page = await store.page(tag(RARE), pages[-1][1], 1000)
        pages.append(([item.kept.event.id for item in page.waiting], page.last))
    assert pages[1:] == [([], 10), (["17"], 20), ([], 25)]


async def test_the_store_tells_of_each_kept_event_in_order_before_its_sender_is_told(new_store: Open) -> None:
    store = await new_store()
    told: list[tuple[int, str, tuple[TriggerName, ...]]] = []

    def note(kept: Kept, matched: Sequence[TriggerName]) -> None:
        told.append((kept.position, kept.event.id, tuple(matched)))

    store.feed = note
    await asyncio.gather(*(store.add(arrival(str(number), OFTEN)) for number in (1, 2, 2, 3)))
    assert told == [(1, "1", (OFTEN,)), (2, "2", (OFTEN,)), (3, "3", (OFTEN,))]
    sender = asyncio.create_task(store.add(arrival("4", RARE)))
    await asyncio.sleep(0)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    assert await store.add(arrival("5")) is Admission.STORED
    assert told[3:] == [(4, "4", (RARE,)), (5, "5", ())]


async def test_a_delivery_is_settled_once_wherever_the_cursor_is(new_store: Open) -> None:
    store = await new_store()
    await store.add(arrival("1", OFTEN))
    await store.add(arrival("2", OFTEN))
    first, second = await waiting(store)
    await asyncio.gather(store.settle(delivery(first), 2), store.settle(delivery(first), 2))
    await store.settle_dead_lettered(delivery(first))
    store.move_cursor(tag(OFTEN), first.kept.position)
    await store.settle(delivery(second), 1)
    await store.settle(delivery(first), 5)
    await store.keep_dead_letter(delivery(first), Failure(400, "late"), 1)
    assert balance(store) == (2, 2, 0, 0)
    assert of(store).attempts == 3
    assert await waiting(store) == ()


async def test_what_was_settled_ahead_of_the_cursor_does_not_come_again(new_store: Open) -> None:
    store = await new_store()
    for number in range(5):
        await store.add(arrival(str(number), OFTEN))
    found = await waiting(store)
    for item in found[1:4]:
        await store.settle(delivery(item), 1)
    store = await new_store()
    assert await ids(store, OFTEN) == ["0", "4"]
    assert balance(store) == (5, 3, 0, 2)


async def test_the_reply_is_kept_with_the_deliverys_end_also_in_a_full_store(new_store: Open) -> None:
    store = await new_store(limit_bytes=350)
    await store.add(arrival("1", OFTEN, RARE, data=bytes(100)))
    (item,) = await waiting(store)
    assert 1 <= store.fill < 2
    with pytest.raises(SinkUnavailable, match="not delivered yet"):
        await store.add(arrival("2", OFTEN))
    await store.settle(delivery(item), 1, arrival("reply", RARE))
    assert (balance(store), balance(store, RARE)) == ((1, 1, 0, 0), (2, 0, 0, 2))
    (item, _) = await waiting(store, RARE)
    while store.fill < 2:
        await store.settle(delivery(item, RARE), 1, arrival(str(store.fill)))
    with pytest.raises(ReplyRefused):
        await store.settle(delivery(item, RARE), 1, arrival("too much"))


async def test_what_is_kept_of_answers_counts_as_the_events_do(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    await store.add(arrival("1", OFTEN))
    before = counts(store.view, []).bytes
    (item,) = await waiting(store)
    await store.give_up(delivery(item), Failure(400, "no", bytes(700)), 1)
    assert counts(store.view, []).bytes >= before + 702
    await store.keep_dead_letter(delivery(item), Failure(400, "no", bytes(700)), 1)
    assert counts(store.view, []).bytes >= before + 702
    clock.advance(100)
    await Retention(store, RetentionSettings(retain_s=60), clock).sweep()
    assert counts(store.view, []).bytes == 0


async def test_a_dead_letter_is_kept_as_long_from_when_it_became_one(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    retention = Retention(store, RetentionSettings(retain_s=60), clock)
    await store.add(arrival("1", OFTEN))
    clock.advance(1000)
    (item,) = await waiting(store)
    await store.keep_dead_letter(delivery(item), Failure(400, "no"), 1)
    clock.advance(59)
    await retention.sweep()
    assert len(dead_letters(store.view)["dead_letters"]) == 1
    clock.advance(2)
    await retention.sweep()
    assert dead_letters(store.view)["dead_letters"] == []


async def test_dead_letters_make_room_last_and_are_counted(
    new_store: Open, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = await new_store()
    retention = Retention(store, RetentionSettings(), clock)
    for number in range(40):
        await store.add(arrival(str(number), OFTEN))
    for item in await waiting(store):
        await store.keep_dead_letter(delivery(item), Failure(400, "no"), 1)
    await asyncio.gather(*(store.add(arrival(f"s{number}", data=bytes(700))) for number in range(1040)))
    await retention.sweep()
    assert (retention.dead_letters_forgotten, len(dead_letters(store.view)["dead_letters"])) == (0, 40)
    store.limit_bytes = 1000
    await retention.sweep()
    assert (retention.dead_letters_forgotten, dead_letters(store.view)["dead_letters"]) == (40, [])
    assert "40 dead letters were forgotten before their time" in caplog.text


async def test_a_clock_that_was_ahead_does_not_end_retention(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    retention = Retention(store, RetentionSettings(retain_s=60), clock)
    clock.advance(86_400)
    await asyncio.gather(*(store.add(arrival(str(number))) for number in range(510)))
    clock.advance(-86_400)
    await asyncio.gather(*(store.add(arrival(f"b{number}")) for number in range(510)))
    clock.advance(61)
    for _ in range(4):
        await retention.sweep()
    assert counts(store.view, []).events == 1020
    assert len(await store.look(lambda connection: connection.execute("SELECT 1 FROM journal_entry").fetchall())) == 510
    store.limit_bytes = counts(store.view, []).bytes
    await retention.sweep()
    assert store.fill < 0.95


async def test_what_a_trigger_did_not_let_pass_is_counted_while_it_is_there(new_store: Open) -> None:
    store = await new_store(OFTEN, RARE)
    await store.add(arrival("1", OFTEN))
    store = await new_store(OFTEN)
    await store.add(arrival("2", OFTEN))
    store = await new_store(OFTEN, RARE)
    await store.add(arrival("3", OFTEN, RARE))
    await store.add(arrival("4"))
    assert (of(store).matched, of(store).filtered) == (3, 1)
    assert (of(store, RARE).matched, of(store, RARE).filtered) == (1, 2)


async def test_the_oldest_that_waits_is_told(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    assert of(store).oldest_ns is None
    began = clock.time_ns()
    await store.add(arrival("1", OFTEN))
    clock.advance(5)
    await store.add(arrival("2", OFTEN))
    assert of(store).oldest_ns == began
    await store.settle(delivery((await waiting(store))[0]), 1)
    assert of(store).oldest_ns == began + 5_000_000_000


async def test_settled_events_are_forgotten_after_a_while_and_counts_are_not(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    retention = Retention(store, RetentionSettings(retain_s=60), clock)
    for name in ("settled", "dead", "waits"):
        await store.add(arrival(name, OFTEN))
    settled, dead, _ = await waiting(store)
    await store.settle(delivery(settled), 1)
    await store.keep_dead_letter(delivery(dead), Failure(400, "no"), 1)
    clock.advance(59)
    await retention.sweep()
    assert len(dead_letters(store.view)["dead_letters"]) == 1
    before = counts(store.view, []).bytes
    clock.advance(2)
    await retention.sweep()
    after = counts(store.view, [])
    assert 0 < after.bytes < before / 2
    assert dead_letters(store.view) == {"dead_letters": []}
    assert (after.events, of(store).matched, of(store).waiting) == (3, 3, 1)
    assert await store.add(arrival("settled", OFTEN)) is Admission.STORED
    assert await store.add(arrival("waits", OFTEN)) is Admission.DUPLICATE
    assert [item.kept.position for item in await waiting(store)] == [3, 4]


async def test_making_room_stops_when_there_is_some(new_store: Open, clock: FakeClock) -> None:
    store = await new_store()
    retention = Retention(store, RetentionSettings(), clock)
    await asyncio.gather(*(store.add(arrival(str(number), data=bytes(700))) for number in range(1040)))
    assert store.fill > 0.95
    await retention.sweep()
    assert 0.3 < store.fill < 0.9


async def test_what_waits_for_a_trigger_that_is_gone_holds_no_other_room(
    new_store: Open, clock: FakeClock, path: Path
) -> None:
    store = await new_store(OFTEN, RARE)
    await store.add(arrival("kept", RARE))
    store = await new_store(OFTEN)
    for number in range(50):
        await store.add(arrival(str(number), OFTEN))
    for item in await waiting(store):
        await store.settle(delivery(item), 1)
    clock.advance(100)
    await Retention(store, RetentionSettings(retain_s=60), clock).sweep()
    assert look_at(path).log.entries == 1
    store = await new_store(OFTEN, RARE)
    assert await ids(store, RARE) == ["kept"]
    assert balance(store, RARE) == (1, 0, 0, 1)


async def test_what_is_forgotten_leaves_no_rows_behind(new_store: Open, clock: FakeClock, path: Path) -> None:
    store = await new_store()
    for number in range(20):
        await store.add(arrival(str(number), OFTEN))
    first, *others = await waiting(store)
    for item in others:
        await store.settle(delivery(item), 1)
    clock.advance(100)
    await Retention(store, RetentionSettings(retain_s=60), clock).sweep()
    with closing(sqlite3.connect(path)) as other:
        rows = {
            table: other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("journal_entry", "broker_event", "broker_ahead")
        }
    assert rows == {"journal_entry": 1, "broker_event": 1, "broker_ahead": 0}
    assert [item.kept.position for item in await waiting(store)] == [first.kept.position]


async def test_deliveries_that_were_given_up_are_so_after_a_restart(new_store: Open) -> None:
    store = await new_store()
    await store.add(arrival("1", OFTEN, RARE))
    (item,) = await waiting(store)
    await store.give_up(delivery(item), Failure(422, "no", b"why"), 3)
    store = await new_store()
    (item,) = await waiting(store)
    assert item.failure == Failure(422, "no", b"why")
    assert [other.failure for other in await waiting(store, RARE)] == [None]
    await store.settle_dead_lettered(delivery(item))
    assert balance(store) == (1, 0, 1, 0)


async def test_a_damaged_event_is_not_delivered_and_the_balance_holds(new_store: Open, path: Path) -> None:
    store = await new_store()
    await asyncio.gather(*(store.add(arrival(str(number), OFTEN, data=b"{}")) for number in range(3)))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE journal_entry SET data = x'00' WHERE position = 2")
    assert [item.kept.position for item in await waiting(store)] == [1, 3]
    assert balance(store) == (2, 0, 0, 2)
    await store.add(arrival("1", OFTEN, data=b"{}"))
    assert [item.kept.position for item in await waiting(store)] == [1, 3, 4]


async def test_what_damage_took_is_counted_anew_at_whatever_start_comes_next(new_store: Open, path: Path) -> None:
    """The journal cuts a torn entry as it opens, and a kill comes before the broker has counted."""
    store = await new_store()
    await store.add(arrival("1", OFTEN, data=b"{}"))
    await store.add(arrival("2", OFTEN, data=b"{}"))
    await store.stop()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE journal_entry SET data = x'00' WHERE position = 2")
    journal = Journal(path, schema=tables.SCHEMA)
    assert not (await journal.start()).is_whole
    await journal.stop()
    store = await new_store()
    assert balance(store) == (1, 0, 0, 1)


async def test_after_a_loss_of_its_tables_what_is_left_goes_to_those_it_is_for(new_store: Open, path: Path) -> None:
    """The Triggers' tables are lost; heads still say for whom an event is."""
    store = await new_store(OFTEN, RARE)
    await store.add(arrival("1", OFTEN))
    await store.add(arrival("2", RARE))
    await store.stop()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for table in ("broker_trigger", "broker_event"):
            other.execute(f"DELETE FROM {table}")
        other.execute("UPDATE journal_log SET rewind_to = next")
    store = await new_store(RARE, OFTEN)
    assert (await ids(store, OFTEN), await ids(store, RARE)) == (["1"], ["2"])
    assert (balance(store), balance(store, RARE)) == ((1, 0, 0, 1), (1, 0, 0, 1))


async def test_a_store_that_cannot_write_says_so_each_time_and_recovers(new_store: Open, path: Path) -> None:
    store = await new_store()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        fail = "SELECT RAISE(ROLLBACK, 'disk I/O error')"
        other.execute(f"CREATE TRIGGER broken BEFORE INSERT ON journal_entry BEGIN {fail}; END")
        for _ in range(2):
            answers = await asyncio.gather(*(store.add(arrival(str(n))) for n in range(3)), return_exceptions=True)
            assert [type(answer) for answer in answers] == [SinkUnavailable] * 3
        other.execute("DROP TRIGGER broken")
    assert await store.add(arrival("1")) is Admission.STORED
    await store.stop()
    for _ in range(2):
        with pytest.raises(WaysideError, match="not open"):
            await asyncio.wait_for(store.add(arrival("2")), 5)


async def test_a_store_of_the_former_layout_is_refused(path: Path, clock: FakeClock) -> None:
    path.with_name("broker.sqlite").touch()
    with pytest.raises(ConfigurationError, match=r"broker\.sqlite is the store of an earlier version"):
        await BrokerStore(path, 1, clock).start()
    assert not path.exists()


async def test_stop_may_come_twice_and_before_start(path: Path, clock: FakeClock) -> None:
    store = BrokerStore(path, 1, clock)
    await store.stop()
    await store.start()
    await store.stop()
    await store.stop()
