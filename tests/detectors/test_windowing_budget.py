"""The time that windows may spend: shared by the rows of an event, whole over all windows, whatever comes between."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.judging.levels import Accrual, Levels, spent
from wayside.detectors.drift.settings import Budget, CountCut, Cut, WindowLimits, WindowSettings
from wayside.detectors.drift.windowing.values import Arrival
from wayside.detectors.drift.windowing.windowing import Windowing

from .judging_side import judge_of
from .window_arrivals import SECOND, START_NS, Seen, arrival, counts, cut_by, cuts, drain, fold, key, quick, streams

_WEEK_NS = 7 * 24 * 3600 * SECOND
_EVENT_S = 600


def events(number: int, rows: int) -> list[Arrival]:
    """One every ten minutes, and one that settles them."""
    return [*(arrival(at, _EVENT_S * at, rows) for at in range(number)), arrival(number, _EVENT_S * number + 9)]


def levels_of(windows: Iterable[Seen], budget: str) -> list[float]:
    """What each window may spend, where each spends it."""
    levels, accrual, found = Levels.of(WindowSettings(CountCut(50, 50), Budget.parse(budget))), Accrual(), []
    for window in windows:
        accrual = levels.accrued(accrual, window.start_ns, window.budget_ns)
        found.append(levels.level(accrual))
        accrual = spent(accrual)
    return found


@pytest.mark.parametrize("rows", [50, 256, 500, 8192])
def test_windows_cut_from_one_event_share_its_time(rows: int) -> None:
    windows = fold(Windowing(cut_by(counts(50)), WindowLimits()), events(8, rows))
    levels = levels_of(windows, "1 per week")
    within_first = sum(window.end <= rows for window in windows)
    assert levels[:within_first] == [0.0] * within_first
    assert min(levels[within_first:]) > 0
    passed_ns = windows[-1].budget_ns - START_NS
    assert sum(levels) == pytest.approx(passed_ns / _WEEK_NS, rel=1e-9)
    left_rows = 8 * rows - windows[-1].end
    assert passed_ns == _EVENT_S * SECOND * (7 * rows - left_rows) // rows


def test_windows_cut_from_one_event_are_judged() -> None:
    judge = judge_of(cut=CountCut(50, 50), budget=Budget.parse("1 per week"))
    windowing, state, outcomes = Windowing(judge.settings, WindowLimits()), judge.begin(), []
    for sent in events(8, 256):
        windowing.take(replace(sent, rows=np.column_stack([np.full(len(sent.rows), 0.5), np.zeros(len(sent.rows))])))
        while (window := windowing.next_window(key())) is not None:
            judged = judge.judge(window, state)
            state = judged.state
            outcomes.append(judged.outcome)
    assert outcomes == ["unjudged"] * 5 + ["no_drift"] * 35
    assert state.total == pytest.approx(_EVENT_S * SECOND * (7 * 256 - 48) // 256 / _WEEK_NS, rel=1e-9)


def expected_ns(arrivals: Sequence[Arrival], end: int) -> int:
    """By definition: time passes evenly with the rows of each moment."""
    times = sorted(each.time_ns for each in arrivals for _ in each.rows)
    time_ns = times[end - 1]
    earlier = [each for each in times if each < time_ns]
    if not earlier:
        return time_ns
    share = Fraction(end - len(earlier), times.count(time_ns))
    return earlier[-1] + int((time_ns - earlier[-1]) * share)


@quick
@given(streams(), cuts())
def test_time_passes_evenly_with_the_rows_of_a_moment(arrivals: list[Arrival], cut: Cut) -> None:
    for window in fold(Windowing(cut_by(cut), WindowLimits()), arrivals):
        by_rows = isinstance(cut, CountCut)
        assert window.budget_ns == (expected_ns(arrivals, window.end) if by_rows else window.end_ns)


@quick
@given(streams(), cuts(), st.sets(st.integers(0, 40)))
def test_a_restart_loses_no_time(arrivals: list[Arrival], cut: Cut, restarts: set[int]) -> None:
    undisturbed = fold(Windowing(cut_by(cut), WindowLimits()), arrivals)
    windowing, journal, seen = Windowing(cut_by(cut), WindowLimits()), dict[int, Arrival](), list[Seen]()
    for sent in arrivals:
        journal[sent.position] = sent
        windowing.take(sent)
        seen += drain(windowing)
        if sent.position in restarts:
            for position in windowing.spent(key()):
                del journal[position]
            snapshot = windowing.snapshot(key())
            windowing = Windowing(cut_by(cut), WindowLimits())
            windowing.restore(key(), snapshot, journal.values())
    assert seen == undisturbed


@pytest.mark.parametrize("cut_first", [0, 3, 9, 10, 60, 100])
def test_packs_of_small_events_keep_the_time_before_them(cut_first: int) -> None:
    """A restart after some windows are cut, in the middle of a pack and of a moment."""
    sent = [arrival(at, at // 3) for at in range(1000)]
    windowing, again = (Windowing(cut_by(counts(7)), WindowLimits()) for _ in range(2))
    for each in sent:
        windowing.take(each)
    windows = list(islice(drain(windowing), cut_first))
    spent = {*windowing.spent(key())}
    again.restore(key(), windowing.snapshot(key()), [each for each in sent if each.position not in spent])
    windows += drain(again)
    assert len(windows) == 141  # of the 993 rows that are settled
    assert [window.budget_ns for window in windows] == [expected_ns(sent, window.end) for window in windows]


def test_many_events_of_one_second_share_it() -> None:
    sent = [arrival(at, at // 10 * 10, 50) for at in range(40)]
    windows = fold(Windowing(cut_by(counts(50)), WindowLimits()), [*sent, arrival(40, 99)])
    steps = [after.budget_ns - before.budget_ns for before, after in pairwise(windows[9:])]
    assert steps == [SECOND] * 30
