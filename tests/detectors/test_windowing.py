"""Windowing of one key: exact sizes, an order that does not hang on arrival, spans and gaps, late rows, the balance."""

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.settings import Compared, CountCut, Cut, SpanCut, WindowLimits
from wayside.detectors.drift.windowing.keys import key_of
from wayside.detectors.drift.windowing.values import Arrival, Fate, WindowKey
from wayside.detectors.drift.windowing.windowing import Windowing
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_verdict import RowRange

from .window_arrivals import (
    SECOND,
    START_NS,
    Seen,
    arrival,
    counts,
    cut_by,
    cuts,
    drain,
    fold,
    key,
    quick,
    spans,
    streams,
    windows_of,
)

Rows = list[tuple[int, bytes]]
"""The time of each, and its bytes."""


def rows_in_order(arrivals: Sequence[Arrival]) -> Rows:
    ordered = sorted(arrivals, key=lambda each: each.order)
    return [(each.time_ns, row.tobytes()) for each in ordered for row in each.rows]


def expected_windows(cut: Cut, arrivals: Sequence[Arrival], lateness_s: float = 2.0) -> Iterator[Rows]:
    """The windows by their definition: over the whole stream, row by row."""
    watermark_ns = max(each.time_ns for each in arrivals) - round(lateness_s * SECOND)
    rows = [row for row in rows_in_order(arrivals) if row[0] < watermark_ns]
    if isinstance(cut, CountCut):
        for first in range(0, len(rows) - cut.rows + 1, cut.step):
            yield rows[first : first + cut.rows]
        return
    span_ns, step_ns = round(cut.span_s * SECOND), round(cut.step_s * SECOND)
    start_ns = (START_NS - span_ns) // step_ns * step_ns
    while start_ns + span_ns <= watermark_ns:
        if inside := [row for row in rows if start_ns <= row[0] < start_ns + span_ns]:
            yield inside
        start_ns += step_ns


@quick
@given(streams(), cuts())
def test_windows_are_those_of_the_definition(arrivals: list[Arrival], cut: Cut) -> None:
    seen = windows_of(cut, arrivals)
    assert [window.rows for window in seen] == [
        b"".join(row for _, row in rows) for rows in expected_windows(cut, arrivals)
    ]


@quick
@given(streams(), cuts(), st.data())
def test_any_order_within_the_watermark_gives_the_same_windows(
    arrivals: list[Arrival], cut: Cut, data: st.DataObject
) -> None:
    jitter = [data.draw(st.integers(0, 2 * SECOND)) for _ in arrivals]
    moved = sorted(range(len(arrivals)), key=lambda at: arrivals[at].time_ns + jitter[at])
    again = [replace(arrivals[at], position=position) for position, at in enumerate(moved)]
    assert windows_of(cut, again) == windows_of(cut, arrivals)


@quick
@given(streams(), cuts())
def test_members_positions_and_times_say_which_rows_a_window_holds(arrivals: list[Arrival], cut: Cut) -> None:
    ordered = rows_in_order(arrivals)
    named = {(each.source, each.id): each for each in arrivals}
    for window in windows_of(cut, arrivals):
        assert window.rows == b"".join(row for _, row in ordered[window.first : window.end])
        parts = [named[part.source, part.id].rows[part.first_row : part.end_row] for part in window.members]
        assert np.concatenate(parts).tobytes() == window.rows
        times_s = np.array([time_ns for time_ns, _ in ordered[window.first : window.end]]) / SECOND
        assert times_s.tobytes() == window.time_s
        assert window.time == window.members[-1].time


@quick
@given(streams(), cuts())
def test_the_balance_holds_after_every_arrival(arrivals: list[Arrival], cut: Cut) -> None:
    windowing = Windowing(cut_by(cut, lateness_s=0.5), WindowLimits(key_rows=40))
    came = 0
    for each in arrivals:
        windowing.take(each)
        came += len(each.rows)
        for _ in range(2):
            (told,) = windowing.progress()
            assert came == told.rows == told.in_windows + told.open + told.late + told.overflow
            list(drain(windowing))


@quick
@given(streams(), cuts())
def test_asking_late_gives_the_same_windows(arrivals: list[Arrival], cut: Cut) -> None:
    windowing = Windowing(cut_by(cut), WindowLimits())
    for each in arrivals:
        windowing.take(each)
    assert list(drain(windowing)) == windows_of(cut, arrivals)
    assert windowing.ready() == ()


@quick
@given(streams(), cuts())
def test_each_arrival_is_spent_once_when_all_of_its_rows_are_done_with(arrivals: list[Arrival], cut: Cut) -> None:
    windowing = Windowing(cut_by(cut), WindowLimits())
    fold(windowing, arrivals)
    (told,) = windowing.progress()
    ends = np.cumsum([len(each.rows) for each in sorted(arrivals, key=lambda each: each.order)])
    ordered = sorted(arrivals, key=lambda each: each.order)
    assert list(windowing.spent(key())) == [
        each.position for each, end in zip(ordered, ends, strict=True) if end <= told.in_windows
    ]
    assert windowing.spent(key()) == []


def test_an_event_across_the_edge_is_split_by_row() -> None:
    seen = windows_of(counts(5), [arrival(0, 0, 3), arrival(1, 1, 4), arrival(2, 9, 9)])
    (window,) = seen
    times = [arrival(0, 0).time, arrival(1, 1).time]
    assert window.members == (RowRange("/app", "e0", 0, 3, times[0]), RowRange("/app", "e1", 0, 2, times[1]))
    assert (window.first, window.end, window.time) == (0, 5, times[1])
    assert (window.start_ns, window.end_ns) == (START_NS, START_NS + SECOND)


def test_an_event_larger_than_a_window_fills_several_and_leaves_its_tail() -> None:
    windowing = Windowing(cut_by(counts(4)), WindowLimits())
    seen = fold(windowing, [arrival(0, 0, 4003), arrival(1, 3, 1)])
    assert [(window.first, window.end) for window in seen] == [(at, at + 4) for at in range(0, 4000, 4)]
    assert [part.first_row for window in seen for part in window.members] == list(range(0, 4000, 4))
    (told,) = windowing.progress()
    assert (told.in_windows, told.open, told.needed_rows) == (4000, 4, 0)


def test_a_window_may_be_made_of_many_events() -> None:
    (window,) = windows_of(counts(1000), [arrival(at, at / 100) for at in range(1300)])
    assert len(window.members) == 1000


@pytest.mark.parametrize(
    ("times", "fates"),
    [
        pytest.param([0, 5, 3, 2.999], "TTTL", id="at the watermark is in time, before it is late"),
        pytest.param([9, 6, 10, 7, 8], "TLTLT", id="a clock that runs backwards"),
        pytest.param([0, 3600, 0, 3601, 3599], "TTLTT", id="an event an hour late"),
        pytest.param([1, 1, 1, 1], "TTTT", id="equal times"),
    ],
)
def test_fates(times: list[float], fates: str) -> None:
    windowing = Windowing(cut_by(counts(100)), WindowLimits())
    taken = [windowing.take(arrival(at, time, 2)).fate for at, time in enumerate(times)]
    assert taken == [Fate.TAKEN if fate == "T" else Fate.LATE for fate in fates]
    (told,) = windowing.progress()
    assert told.late == 2 * fates.count("L")
    assert list(windowing.spent(key())) == [at for at, fate in enumerate(fates) if fate == "L"]


def test_rows_at_the_watermark_are_not_settled_yet() -> None:
    windowing = Windowing(cut_by(counts(2), lateness_s=0), WindowLimits())
    assert fold(windowing, [arrival(0, 0), arrival(1, 1), arrival(2, 1)]) == []
    assert len(fold(windowing, [arrival(3, 1.001)])) == 1


def test_equal_times_are_told_apart_by_source_and_id() -> None:
    sent = [("/b", "1"), ("/a", "2"), ("/a", "1"), ("/b", "0")]
    arrivals = [arrival(at, 0, source=source, id=name) for at, (source, name) in enumerate(sent)]
    (window,) = windows_of(counts(4), [*arrivals, arrival(4, 9)])
    assert [(part.source, part.id) for part in window.members] == sorted(sent)


@pytest.mark.parametrize(
    ("cut", "ranges"),
    [
        pytest.param(counts(4, 2), [(0, 4), (2, 6), (4, 8)], id="every two rows"),
        pytest.param(counts(4, 3), [(0, 4), (3, 7)], id="every three rows"),
        pytest.param(counts(8, 1), [(0, 8), (1, 9)], id="every row"),
    ],
)
def test_sliding_windows_of_rows(cut: Cut, ranges: list[tuple[int, int]]) -> None:
    seen = windows_of(cut, [*(arrival(at, at / 10, 3) for at in range(3)), arrival(3, 9)])
    assert [(window.first, window.end) for window in seen] == ranges


def offsets(cut: SpanCut, times: Sequence[float]) -> list[tuple[float, float, int]]:
    """The windows as start and end, in seconds since the first event's minute, and rows."""
    base_ns = START_NS // (60 * SECOND) * 60 * SECOND
    arrivals = [arrival(at, time + (base_ns - START_NS) / SECOND) for at, time in enumerate(times)]
    return [
        ((window.start_ns - base_ns) / SECOND, (window.end_ns - base_ns) / SECOND, window.end - window.first)
        for window in windows_of(cut, arrivals, lateness_s=0)
    ]


@pytest.mark.parametrize(
    ("cut", "times", "windows"),
    [
        pytest.param(spans(10), [1, 9.999, 10, 25], [(0, 10, 2), (10, 20, 1)], id="an end is not in its span"),
        pytest.param(spans(10), [1, 10], [(0, 10, 1)], id="a watermark at the end closes"),
        pytest.param(spans(10), [1, 9.999], [], id="a watermark before it does not"),
        pytest.param(spans(10), [1, 95, 101], [(0, 10, 1), (90, 100, 1)], id="spans without a row are passed over"),
        pytest.param(spans(10, 5), [7, 30], [(0, 10, 1), (5, 15, 1)], id="sliding"),
        pytest.param(
            spans(10, 4), [7, 50, 70], [(0, 10, 1), (4, 14, 1), (44, 54, 1), (48, 58, 1)], id="sliding over a gap"
        ),
    ],
)
def test_windows_of_event_time(cut: SpanCut, times: list[float], windows: list[tuple[float, float, int]]) -> None:
    assert offsets(cut, times) == windows


def test_a_year_without_rows_is_passed_over_at_once_and_counted() -> None:
    year_s = 365 * 86400
    windowing = Windowing(cut_by(spans(1)), WindowLimits())
    seen = fold(windowing, [arrival(0, 0), arrival(1, year_s), arrival(2, year_s + 9)])
    (told,) = windowing.progress()
    assert len(seen) == 2
    assert told.empty_windows == year_s - 1
    assert told.closes_ns == START_NS + (year_s + 10) * SECOND


def test_what_a_key_still_needs_is_told() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits())
    windowing.take(arrival(0, 0, 3))
    (told,) = windowing.progress()
    assert (told.needed_rows, told.windows, told.watermark_ns) == (7, 0, START_NS - 2 * SECOND)


def test_rows_are_told_apart_by_group() -> None:
    arrivals = [arrival(at, at, 2, group=group) for at, group in enumerate(["v2", "v1", "v2"])]
    (window,) = windows_of(counts(6), [*arrivals, arrival(3, 99)])
    assert window.groups == ("v2", "v2", "v1", "v1", "v2", "v2")


def test_keys_do_not_mix() -> None:
    arrivals = [arrival(at, at, endpoint="even" if at % 2 == 0 else "odd") for at in range(12)]
    for window in windows_of(counts(3), arrivals):
        assert {int(part.id[1:]) % 2 == 0 for part in window.members} == {window.key == key("even")}


@pytest.mark.parametrize(
    ("compared", "endpoint", "revision", "group"),
    [
        pytest.param(Compared.NOTHING, "canary", "r2", "", id="nothing"),
        pytest.param(Compared.REVISIONS, "canary", "", "r2", id="revisions"),
        pytest.param(Compared.ENDPOINTS, "", "", "canary", id="endpoints"),
    ],
)
def test_what_is_compared_is_not_in_the_key(compared: Compared, endpoint: str, revision: str, group: str) -> None:
    said = {"namespace": "n", "inferenceservicename": "s", "component": "c", "endpoint": "canary", "revision": "r2"}
    event = CloudEvent(id="1", source="/s", type="t", extensions=said)
    assert key_of(event, compared) == (WindowKey(ServiceKey("n", "s", "c", endpoint), revision), group)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(arrival(1, 9, 2), id="a position that came before"),
        pytest.param(replace(arrival(2, 9), rows=np.ones((2, 3))), id="another width"),
        pytest.param(arrival(2, 9, 0), id="no row"),
    ],
)
def test_what_is_no_next_arrival_is_refused_and_changes_nothing(bad: Arrival) -> None:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    fold(windowing, [arrival(1, 0, 2)])
    before = windowing.progress()
    with pytest.raises(ValueError, match="arrival"):
        windowing.take(bad)
    assert windowing.progress() == before


def test_an_unknown_key_has_nothing() -> None:
    windowing = Windowing(cut_by(counts(3)), WindowLimits())
    assert (windowing.next_window(key()), windowing.spent(key()), windowing.ready()) == (None, (), ())


def test_a_window_owns_its_rows() -> None:
    sent = arrival(0, 0, 4)
    windowing = Windowing(cut_by(counts(4)), WindowLimits())
    windowing.take(sent)
    windowing.take(arrival(1, 9))
    window = windowing.next_window(key())
    assert window is not None
    assert not np.shares_memory(window.rows, sent.rows)


@pytest.mark.parametrize("cut", [counts(500), counts(500, 30), spans(7), spans(9, 2)], ids=str)
def test_many_small_events_are_held_as_one_and_give_the_same_windows(cut: Cut) -> None:
    """Enough of them that they are packed; each name would break a careless packing."""
    arrivals = [
        arrival(at, at / 50, 1 + at % 3, id=f'é"\\{at}\ud800', source=f"/s{at % 2}", group="ab"[at % 2])
        for at in range(1500)
    ]
    seen = windows_of(cut, arrivals)
    assert [window.rows for window in seen] == [
        b"".join(row for _, row in rows) for rows in expected_windows(cut, arrivals)
    ]
    named = {(each.source, each.id): each for each in arrivals}
    assert all(named[part.source, part.id].time == part.time for window in seen for part in window.members)
    assert all(name == "ab"[int(name == "b")] for window in seen for name in window.groups)


@pytest.mark.parametrize(("rows", "most"), [(1, 2.0), (16, 1.4), (256, 1.1)], ids=["1 row", "16 rows", "256 rows"])
def test_a_key_holds_less_than_twice_its_rows(rows: int, most: float) -> None:
    values, windowing = np.random.default_rng(1).random((rows, 18)), Windowing(cut_by(counts(1 << 20)), WindowLimits())
    count = 25_600 // max(rows, 8)
    tracemalloc.start()
    for at in range(count):
        windowing.take(replace(arrival(at, at), rows=values.copy(), id=f"4a3b1c5e-0000-4000-8000-{at:012d}"))
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_bytes < most * count * values.nbytes


def ahead(sent: Arrival, ahead_s: float) -> Arrival:
    """The same from a sender whose clock is ahead of the receiver's."""
    return replace(sent, came_ns=sent.time_ns - round(ahead_s * SECOND))


@pytest.mark.parametrize(
    ("came", "fate", "watermark_s"),
    [
        pytest.param(lambda sent: sent, Fate.LATE, 238, id="when it came is not known"),
        pytest.param(lambda sent: ahead(sent, 240), Fate.TAKEN, -2, id="ahead"),
        pytest.param(lambda sent: ahead(sent, -3600), Fate.LATE, 238, id="on its way for an hour"),
    ],
)
def test_a_clock_that_is_ahead_makes_no_one_else_late(
    came: Callable[[Arrival], Arrival], fate: Fate, watermark_s: float
) -> None:
    windowing = Windowing(cut_by(counts(100)), WindowLimits())
    windowing.take(came(arrival(0, 240)))
    assert windowing.progress()[0].watermark_ns == arrival(0, watermark_s).time_ns
    assert windowing.take(arrival(1, 0)).fate is fate


def test_a_clock_that_is_ahead_makes_no_one_late_for_want_of_room() -> None:
    windowing = Windowing(cut_by(spans(10)), WindowLimits(key_rows=12))
    at_s = -(START_NS // SECOND % 10)
    sent = [arrival(0, at_s, 10), ahead(arrival(1, at_s + 250, 10), 250), arrival(2, at_s + 1, 2)]
    assert [windowing.take(each).fate for each in sent] == [Fate.TAKEN, Fate.OVERFLOW, Fate.TAKEN]


def test_a_clock_that_is_ahead_makes_no_other_key_idle() -> None:
    windowing = Windowing(cut_by(counts(10)), WindowLimits(idle_s=100))
    windowing.take(arrival(0, 0, endpoint="a"))
    assert windowing.take(ahead(arrival(1, 240, endpoint="b"), 240)).evicted == ()


@pytest.mark.parametrize("events", [3, 100], ids=["few", "enough to be packed"])
def test_events_that_speak_of_one_inference_have_an_order_of_their_own(events: int) -> None:
    def asked_at_last(arrivals: Sequence[Arrival]) -> list[Seen]:
        windowing = Windowing(cut_by(counts(3)), WindowLimits())
        for each in sorted(arrivals, key=lambda each: each.position):
            windowing.take(each)
        return list(drain(windowing))

    sent = [
        arrival(2 * at + by, at // 2, 1 + by, source="/app", id="r", part=f"/{part}-{at:03}")
        for at in range(events)
        for by, part in enumerate(["knn", "iforest"])
    ]
    flipped = [replace(each, position=each.position ^ 1) for each in sent]
    last = arrival(2 * events, 999)
    windows = asked_at_last([*sent, last])
    assert windows == asked_at_last([*flipped, last]) == windows_of(counts(3), [*sent, last])
    assert len(windows) == events
