"""The join: every part has one fate, in memory and over SQLite alike, whatever comes in whatever order."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_model import JoinModel

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.pairs import waiting
from wayside.eventing.pairs.join import EARLIEST_NS, Fate, JoinSettings, Part, Shelf, Taken, take
from wayside.eventing.pairs.memory import MemoryShelf
from wayside.eventing.pairs.subject import Role, Subject

SECOND = 1_000_000_000
REQUEST, RESPONSE, OUTLIER = Role.REQUEST, Role.RESPONSE, Role.OUTLIER
SETTINGS = JoinSettings(timeout_s=10)
JOINED, WAITING, LONELY, OVERFLOW, LATE, DUPLICATE, CONFLICT = Fate


def part(name: str, role: Role, at_s: float, data: bytes = b"x", who: str = "") -> Part:
    return Part(Subject("/model", name), role, round(at_s * SECOND), data, data, who)


@pytest.fixture(params=["memory", "sqlite"])
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    if request.param == "memory":
        yield MemoryShelf()
        return
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(waiting.SCHEMA)
        yield waiting.SqliteShelf(connection)


def fates(shelf: Shelf, *parts: Part, settings: JoinSettings = SETTINGS) -> list[Fate]:
    return [take(shelf, each, settings).fate for each in parts]


def counted(shelf: Shelf) -> dict[tuple[Role, Fate], int]:
    if isinstance(shelf, MemoryShelf):
        counts = dict(shelf.counts)
    else:
        assert isinstance(shelf, waiting.SqliteShelf)
        counts = dict(waiting.standing(shelf._connection).counts)
    return {key: count for key, count in counts.items() if count}


CASES = [
    ("a pair", [part("a", REQUEST, 0), part("a", RESPONSE, 1)], [WAITING, JOINED]),
    ("the response first", [part("a", RESPONSE, 1), part("a", REQUEST, 0)], [WAITING, JOINED]),
    ("two subjects", [part("a", REQUEST, 0), part("b", RESPONSE, 0)], [WAITING, WAITING]),
    ("again while it waits", [part("a", REQUEST, 0), part("a", REQUEST, 0)], [WAITING, DUPLICATE]),
    ("other bytes", [part("a", REQUEST, 0, b"x"), part("a", REQUEST, 0, b"y")], [WAITING, CONFLICT]),
    ("the first bytes stand", [part("a", REQUEST, 0, b"x"), part("a", REQUEST, 0, b"y"), part("a", REQUEST, 0, b"x")],
     [WAITING, CONFLICT, DUPLICATE]),
    ("again once joined", [part("a", REQUEST, 0), part("a", RESPONSE, 0), part("a", REQUEST, 0)],
     [WAITING, JOINED, DUPLICATE]),
    ("other bytes once joined", [part("a", REQUEST, 0), part("a", RESPONSE, 0), part("a", RESPONSE, 0, b"y")],
     [WAITING, JOINED, CONFLICT]),
    ("just in time", [part("a", REQUEST, 0.2), part("b", REQUEST, 10.1), part("a", RESPONSE, 0.2)],
     [WAITING, WAITING, JOINED]),
    ("too late", [part("a", REQUEST, 0), part("b", REQUEST, 11), part("a", RESPONSE, 0)], [WAITING, WAITING, LATE]),
    ("the given-up part again", [part("a", REQUEST, 0), part("b", REQUEST, 11), part("a", REQUEST, 0)],
     [WAITING, WAITING, LATE]),
    ("long joined", [part("a", REQUEST, 0), part("a", RESPONSE, 0), part("b", REQUEST, 11), part("a", REQUEST, 0)],
     [WAITING, JOINED, WAITING, LATE]),
    ("old, but its partner is here", [part("a", RESPONSE, 9), part("b", REQUEST, 12), part("a", REQUEST, 1)],
     [WAITING, WAITING, JOINED]),
    ("the later part keeps the subject", [part("a", REQUEST, 0), part("a", RESPONSE, 8), part("b", REQUEST, 12),
     part("a", REQUEST, 0), part("b", RESPONSE, 19), part("a", RESPONSE, 8)],
     [WAITING, JOINED, WAITING, DUPLICATE, JOINED, LATE]),
    ("a verdict waits for its request", [part("a", OUTLIER, 0), part("a", RESPONSE, 0), part("a", REQUEST, 0)],
     [WAITING, WAITING, JOINED]),
    ("a verdict needs no response", [part("a", REQUEST, 0), part("a", OUTLIER, 0)], [WAITING, JOINED]),
    ("two detectors", [part("a", OUTLIER, 0, who="d1"), part("a", OUTLIER, 0, b"y", who="d2"), part("a", REQUEST, 0),
     part("a", OUTLIER, 0, b"z", who="d2")], [WAITING, WAITING, WAITING, CONFLICT]),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_fate_of_each_part(shelf: Shelf, parts: Sequence[Part], expected: Sequence[Fate]) -> None:
    assert fates(shelf, *parts) == expected
    assert sum(counted(shelf).values()) == len(parts)


def test_a_whole_gives_its_payloads_in_the_order_of_its_roles(shelf: Shelf) -> None:
    take(shelf, part("a", RESPONSE, 0, b"answer"), SETTINGS)
    assert take(shelf, part("a", REQUEST, 0, b"question"), SETTINGS).payloads == (b"question", b"answer")
    assert take(shelf, part("a", REQUEST, 0, b"question"), SETTINGS).payloads == ()
    assert shelf.line().bytes == 0


def test_what_is_given_up_says_what_was_there(shelf: Shelf) -> None:
    fates(shelf, part("a", REQUEST, 0), part("b", OUTLIER, 0), part("c", REQUEST, 0), part("c", OUTLIER, 0))
    lonely = take(shelf, part("z", REQUEST, 60), SETTINGS).lonely
    assert [(at.subject.id, at.fate, at.roles, at.joined) for at in lonely] == [
        ("a", LONELY, (REQUEST,), ()),
        ("b", LONELY, (OUTLIER,), ()),
        ("c", LONELY, (REQUEST,), (OUTLIER,)),
    ]
    assert counted(shelf) == {
        (REQUEST, LONELY): 2,
        (OUTLIER, LONELY): 1,
        (OUTLIER, JOINED): 1,
        (REQUEST, WAITING): 1,
    }


def test_for_want_of_room_the_oldest_are_given_up_and_their_like_is_late(shelf: Shelf) -> None:
    few = JoinSettings(timeout_s=10, limit_parts=3)
    assert fates(shelf, *(part(name, REQUEST, at) for at, name in enumerate("abc")), settings=few) == [WAITING] * 3
    taken = take(shelf, part("d", REQUEST, 3), few)
    assert [(lonely.subject.id, lonely.fate) for lonely in taken.lonely] == [("a", OVERFLOW)]
    assert fates(shelf, part("a", RESPONSE, 0), part("b", RESPONSE, 1), settings=few) == [LATE, JOINED]


def test_room_is_of_the_bytes_that_wait(shelf: Shelf) -> None:
    small = JoinSettings(timeout_s=10, limit_bytes=10)
    assert fates(shelf, part("a", REQUEST, 0, b"12345678"), settings=small) == [WAITING]
    assert fates(shelf, part("b", REQUEST, 0, b"12345678901"), settings=small) == [OVERFLOW], "it never fits"
    assert fates(shelf, part("a", RESPONSE, 0, b"12345678901"), settings=small) == [JOINED], "it need not wait"
    assert fates(shelf, part("c", REQUEST, 1, b"123456"), part("d", REQUEST, 2, b"123456"), settings=small) == [
        WAITING,
        WAITING,
    ]
    assert counted(shelf)[REQUEST, OVERFLOW] == 2
    assert shelf.line().bytes == 6


def test_an_event_from_the_future_does_not_carry_the_watermark_away(shelf: Shelf) -> None:
    now_ns = 100 * SECOND
    take(shelf, part("a", REQUEST, 100), SETTINGS, now_ns)
    poison = part("z", REQUEST, 1 << 40)
    assert take(shelf, poison, SETTINGS, now_ns).fate is WAITING
    assert take(shelf, part("a", RESPONSE, 100), SETTINGS, now_ns).fate is JOINED
    assert shelf.line().watermark_ns <= now_ns
    lonely = take(shelf, part("b", REQUEST, 111), SETTINGS, 111 * SECOND).lonely
    assert [at.subject.id for at in lonely] == ["z"], "it waits no longer than others do"


@pytest.mark.parametrize("time_ns", [-(1 << 70), 1 << 70])
def test_times_beyond_64_bits_are_kept_within(shelf: Shelf, time_ns: int) -> None:
    fate = take(shelf, Part(Subject("s", "1"), REQUEST, time_ns, b""), SETTINGS).fate
    assert fate is (LATE if time_ns < 0 else WAITING)
    assert EARLIEST_NS <= shelf.line().watermark_ns <= 1 << 62


@pytest.mark.parametrize(
    "make",
    [
        lambda: JoinSettings(whole=()),
        lambda: JoinSettings(whole=(REQUEST, REQUEST)),
        lambda: JoinSettings(timeout_s=0),
        lambda: JoinSettings(timeout_s=float("nan")),
        lambda: JoinSettings(limit_parts=0),
        lambda: JoinSettings(limit_bytes=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], JoinSettings]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_every_order_within_the_timeout_gives_the_same(shelf: Shelf) -> None:
    parts = [part("a", REQUEST, 0), part("a", RESPONSE, 3), part("b", REQUEST, 9.9), part("a", OUTLIER, 0)]
    for order in permutations(parts):
        fresh = MemoryShelf()
        fates(fresh, *order)
        assert {key: n for key, n in fresh.counts.items() if n} == {
            (REQUEST, JOINED): 1,
            (RESPONSE, JOINED): 1,
            (OUTLIER, JOINED): 1,
            (REQUEST, WAITING): 1,
        }


PARTS = st.builds(
    part,
    st.sampled_from("abcde"),
    st.sampled_from([REQUEST, RESPONSE, OUTLIER]),
    st.floats(0, 40),
    st.sampled_from([b"", b"xx", b"yyyy"]),
    st.sampled_from(["", "d"]),
)
ROOMS = st.builds(
    JoinSettings,
    whole=st.sampled_from([(REQUEST, RESPONSE), (REQUEST,), (RESPONSE, REQUEST, OUTLIER)]),
    timeout_s=st.sampled_from([0.5, 5.0, 100.0]),
    limit_parts=st.sampled_from([1, 4, 1000]),
    limit_bytes=st.sampled_from([3, 9, 1000]),
)


def waiting_room() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(waiting.SCHEMA)
    return connection


@settings(deadline=None, max_examples=100)
@given(st.lists(PARTS, max_size=30), ROOMS)
def test_memory_tables_and_model_say_the_same_and_the_balance_holds(parts: list[Part], room: JoinSettings) -> None:
    memory, model = MemoryShelf(), JoinModel(room)
    wholes: list[tuple[Subject, tuple[bytes, ...]]] = []
    arrived: Counter[Role] = Counter()
    with closing(waiting_room()) as connection:
        tables = waiting.SqliteShelf(connection)
        for each in parts:
            taken = take(memory, each, room)
            assert waiting.take(connection, each, room) == taken
            assert model.take(each) is taken.fate
            wholes += _whole(each, taken)
            arrived[each.role] += 1
            assert memory.line() == tables.line()
            assert counted(memory) == counted(tables) == model.total()
            assert _by_role(memory) == arrived
            assert memory.line().parts <= room.limit_parts
            assert memory.line().bytes <= room.limit_bytes
    assert [subject for subject, _ in wholes] == [subject for subject, _ in model.wholes]
    assert [payloads for _, payloads in wholes] == [payloads for _, payloads in model.wholes]


def _whole(each: Part, taken: Taken) -> list[tuple[Subject, tuple[bytes, ...]]]:
    return [(each.subject, taken.payloads)] if taken.payloads else []


def _by_role(shelf: MemoryShelf) -> Counter[Role]:
    total: Counter[Role] = Counter()
    for (role, _), count in shelf.counts.items():
        assert count >= 0
        total[role] += count
    return total


def _key(each: Part) -> tuple[Subject, Role, str]:
    return each.subject, each.role, each.name if each.role is OUTLIER else ""


@settings(deadline=None, max_examples=60)
@given(st.lists(PARTS, max_size=20, unique_by=_key), st.randoms())
def test_any_order_of_what_lies_within_the_timeout_gives_the_same_joins(parts: list[Part], random: object) -> None:
    room = JoinSettings(timeout_s=41)
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = MemoryShelf(), MemoryShelf()
    wholes = {(each.subject, take(one, each, room).payloads) for each in parts}
    assert {(each.subject, take(other, each, room).payloads) for each in shuffled} == wholes
    assert counted(one) == counted(other)
