"""What windowing holds is bounded, and what has no room is counted: a key's rows and bytes, all keys, idle keys."""

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.settings import Cut, WindowLimits
from wayside.detectors.drift.windowing.values import Arrival, Fate
from wayside.detectors.drift.windowing.windowing import Evicted, Windowing
from wayside.eventing.errors import ConfigurationError

from .window_arrivals import START_NS, Seen, arrival, counts, cut_by, cuts, fold, key, quick, spans, streams


def evictions(windowing: Windowing, arrivals: Iterable[Arrival]) -> list[Evicted]:
    return [evicted for each in arrivals for evicted in windowing.take(each).evicted]


def test_a_window_that_can_never_be_held_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="raise the limit"):
        Windowing(cut_by(counts(100)), WindowLimits(key_rows=99))


def test_a_key_that_is_full_moves_its_watermark_up_and_takes_on() -> None:
    windowing = Windowing(cut_by(counts(10), lateness_s=3600), WindowLimits(key_rows=20))
    seen = fold(windowing, [arrival(at, at, 5) for at in range(40)])
    (told,) = windowing.progress()
    assert [(window.first, window.end) for window in seen] == [(at, at + 10) for at in range(0, 180, 10)]
    assert (told.open, told.late, told.overflow, told.hurried) == (20, 0, 0, 18)
    assert windowing.take(arrival(40, 30)).fate is Fate.LATE


def test_a_full_key_of_equal_times_is_relieved_too() -> None:
    windowing = Windowing(cut_by(counts(10), lateness_s=3600), WindowLimits(key_rows=20))
    fates = [windowing.take(arrival(at, 50 if at < 4 else 10, 5)).fate for at in range(12)]
    (told,) = windowing.progress()
    assert set(fates[:4]) == {Fate.TAKEN}
    assert told.rows - told.late <= told.in_windows + 10 * len(windowing.ready()) + 20


@pytest.mark.parametrize(
    "limits", [WindowLimits(key_rows=12), WindowLimits(key_bytes=12 * 2 * 8)], ids=["rows", "bytes"]
)
def test_a_span_that_is_too_large_alone_overflows_and_the_next_is_taken(limits: WindowLimits) -> None:
    windowing = Windowing(cut_by(spans(60)), limits)
    at_s = -(START_NS // 1_000_000_000 % 60)
    fates = [windowing.take(arrival(at, at_s + 1, 5)).fate for at in range(4)]
    assert fates == [Fate.TAKEN, Fate.TAKEN, Fate.OVERFLOW, Fate.OVERFLOW]
    assert windowing.take(arrival(4, at_s + 61, 5)).fate is Fate.TAKEN
    (told,) = windowing.progress()
    assert (told.open, told.overflow, told.hurried, len(windowing.ready())) == (15, 10, 1, 1)
    assert list(windowing.spent(key())) == [2, 3]


def test_earlier_spans_make_room_before_anything_overflows() -> None:
    windowing = Windowing(cut_by(spans(10), lateness_s=3600), WindowLimits(key_rows=12))
    seen = fold(windowing, [arrival(at, 10 * at, 4) for at in range(30)])
    (told,) = windowing.progress()
    assert len(seen) == 27
    assert (told.overflow, told.late, told.open) == (0, 0, 12)


def test_one_event_larger_than_the_room_for_a_span_overflows_alone() -> None:
    windowing = Windowing(cut_by(spans(10)), WindowLimits(key_rows=12))
    assert [windowing.take(arrival(at, 0, rows)).fate for at, rows in enumerate([13, 12])] == [
        Fate.OVERFLOW,
        Fate.TAKEN,
    ]


def test_one_event_larger_than_the_room_for_rows_is_cut_at_once() -> None:
    windowing = Windowing(cut_by(counts(10), lateness_s=60), WindowLimits(key_rows=12))
    assert len(fold(windowing, [arrival(0, 0, 105)])) == 10


def test_the_idlest_of_too_many_keys_is_given_up() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits(keys=2))
    sent = [arrival(0, 5, 3, endpoint="a"), arrival(1, 4, 2, endpoint="b"), arrival(2, 3, 1, endpoint="c")]
    (given,) = evictions(windowing, sent)
    assert (given.key, given.progress.evicted, given.progress.open, list(given.spent)) == (key("b"), 2, 0, [1])
    assert {told.key for told in windowing.progress()} == {key("a"), key("c")}


def test_the_key_that_an_event_comes_for_is_never_given_up_for_it() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits(keys=1))
    given = evictions(windowing, [arrival(at, -at, endpoint=name) for at, name in enumerate("abc")])
    assert [each.key for each in given] == [key("a"), key("b")]


def test_equally_idle_keys_go_by_their_names() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits(keys=2))
    (given,) = evictions(windowing, [arrival(at, 0, endpoint=name) for at, name in enumerate("bac")])
    assert given.key == key("a")


def test_a_key_of_which_nothing_came_is_given_up_by_the_events_of_others() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits(idle_s=100))
    sent = [arrival(0, 0, 3, endpoint="a"), arrival(1, 100, endpoint="b"), arrival(2, 100.5, endpoint="b")]
    (given,) = evictions(windowing, sent)
    assert (given.key, given.progress.evicted) == (key("a"), 3)
    assert [told.key for told in windowing.progress()] == [key("b")]


def test_what_is_complete_by_the_time_that_has_passed_is_not_lost_with_an_idle_key() -> None:
    windowing = Windowing(cut_by(spans(10)), WindowLimits(idle_s=100))
    (given,) = evictions(windowing, [arrival(0, 0, 3, endpoint="a"), arrival(1, 500, endpoint="b")])
    (window,) = given.windows
    assert (window.key, len(window.rows), given.progress.in_windows, given.progress.evicted) == (key("a"), 3, 3, 0)


def test_windows_that_nobody_asked_for_go_with_the_key() -> None:
    windowing = Windowing(cut_by(counts(2)), WindowLimits(keys=1))
    sent = [arrival(0, 0, 5, endpoint="a"), arrival(1, 3, endpoint="a"), arrival(2, 3, endpoint="b")]
    (given,) = evictions(windowing, sent)
    assert [(window.first, window.end) for window in given.windows] == [(0, 2), (2, 4)]
    assert (given.progress.evicted, given.progress.in_windows, given.progress.windows) == (2, 4, 2)
    assert windowing.ready() == ()


def test_a_key_that_was_given_up_begins_anew() -> None:
    windowing = Windowing(cut_by(counts(2)), WindowLimits(keys=1))
    fold(windowing, [arrival(0, 50, 5, endpoint="a"), arrival(1, 50, endpoint="b")])
    (window,) = fold(windowing, [arrival(2, 0, 3, endpoint="a"), arrival(3, 9, endpoint="a")])
    assert (window.first, window.end) == (0, 2)


def test_all_keys_together_have_a_limit() -> None:
    limits = WindowLimits(key_bytes=10 * 16, all_bytes=20 * 16)
    windowing = Windowing(cut_by(counts(10)), limits)
    sent = [arrival(at, at / 10, 7, endpoint=f"{at % 5}") for at in range(5)]
    assert [each.key for each in evictions(windowing, sent)] == [key("0"), key("1"), key("2")]


@quick
@given(streams(), cuts(), st.integers(20, 60), st.integers(1, 3), st.sampled_from([5.0, 60.0]))
def test_within_the_limits_whatever_comes(
    arrivals: list[Arrival], cut: Cut, rows: int, keys: int, idle_s: float
) -> None:
    limits = WindowLimits(key_rows=rows, all_bytes=100 * 16, keys=keys, idle_s=idle_s)
    windowing = Windowing(cut_by(cut, lateness_s=1), limits)
    came, evicted_rows = 0, 0
    for sent in _of_keys(arrivals):
        taken = windowing.take(sent)
        came += len(sent.rows)
        evicted_rows += sum(each.progress.rows for each in taken.evicted)
        list(_drained(windowing))
        told = windowing.progress()
        assert came == evicted_rows + sum(each.rows for each in told)
        assert all(each.rows == each.in_windows + each.open + each.late + each.overflow for each in told)
        assert all(each.open <= rows for each in told)
        assert len(told) <= keys
        assert len(told) == 1 or sum(each.open for each in told) <= 100
        for each in taken.evicted:
            account = each.progress
            assert account.rows == account.in_windows + account.late + account.overflow + account.evicted


def _of_keys(arrivals: list[Arrival]) -> list[Arrival]:
    return [
        Arrival(each.position, key("abc"[len(each.rows) % 3]), each.source, each.id, each.time_ns, each.time, each.rows)
        for each in arrivals
    ]


def _drained(windowing: Windowing) -> Iterable[Seen]:
    for ready in windowing.ready():
        while (window := windowing.next_window(ready)) is not None:
            yield Seen.of(window)


def test_a_large_event_is_not_held_for_its_last_rows() -> None:
    windowing = Windowing(cut_by(counts(1000), lateness_s=0), WindowLimits())
    tracemalloc.start()
    fold(windowing, (arrival(at, at, 100_005 if at == 0 else 1) for at in range(2)))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (told,) = windowing.progress()
    assert told.open == 6
    assert held_bytes < 1 << 17  # of 1.6 MB that came
