"""Levels: what accrues, what is spent, and that nothing is spent twice or lost."""

import json
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.judging.levels import Accrual, Levels, spent
from wayside.detectors.drift.settings import Budget, CountCut, WindowSettings

_S = 1_000_000_000
_HOUR = 3600 * _S


def levels_of(budget: str, level_limit: float = 0.05) -> Levels:
    return Levels.of(WindowSettings(CountCut(10, 10), Budget.parse(budget), level_limit=level_limit))


def levels_spent(levels: Levels, windows: list[tuple[int, int]], judged: list[bool]) -> tuple[list[float], Accrual]:
    """The level of each window, 0 where it is not judged, and what is left."""
    accrual, found = Accrual(), []
    for (start_ns, end_ns), is_judged in zip(windows, judged, strict=True):
        accrual = levels.accrued(accrual, start_ns, end_ns)
        found.append(levels.level(accrual) if is_judged else 0.0)
        accrual = spent(accrual) if is_judged else accrual
    return found, accrual


@pytest.mark.parametrize(
    ("budget", "windows", "expected"),
    [
        ("0.01 per window", [(0, 5), (5, 5), (90, 95)], [0.01, 0.01, 0.01]),
        ("0.5 per window", [(0, 5), (5, 9)], [0.5, 0.5]),
        ("0.24 per day", [(0, _HOUR), (_HOUR, 3 * _HOUR)], [0.01, 0.02]),
        ("0.24 per day", [(0, _HOUR), (2 * _HOUR, 3 * _HOUR)], [0.01, 0.02]),
        ("0.24 per day", [(0, 2 * _HOUR), (_HOUR, 3 * _HOUR), (2 * _HOUR, 4 * _HOUR)], [0.02, 0.01, 0.01]),
        ("0.24 per day", [(0, _HOUR), (0, _HOUR), (_HOUR, 2 * _HOUR)], [0.01, 0.0, 0.01]),
        ("0.24 per day", [(5 * _HOUR, 6 * _HOUR), (0, _HOUR), (6 * _HOUR, 7 * _HOUR)], [0.01, 0.0, 0.01]),
        ("0.24 per day", [(0, _HOUR), (_HOUR, 100 * _HOUR), (100 * _HOUR, 101 * _HOUR)], [0.01, 0.05, 0.01]),
        ("1000 per second", [(0, _S), (_S, 2 * _S)], [0.05, 0.05]),
    ],
    ids=[
        "a-window",
        "above-the-limit",
        "by-time",
        "a-gap-counts",
        "overlapping",
        "twice",
        "backwards",
        "pause",
        "fast",
    ],
)
def test_a_windows_level(budget: str, windows: list[tuple[int, int]], expected: list[float]) -> None:
    found, _ = levels_spent(levels_of(budget), windows, [True] * len(windows))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("budget", "each"), [("0.24 per day", 0.01), ("0.01 per window", 0.01)])
def test_what_is_not_spent_is_kept_up_to_the_limit(budget: str, each: float) -> None:
    windows = [(hour * _HOUR, (hour + 1) * _HOUR) for hour in range(12)]
    found, left = levels_spent(levels_of(budget), windows[:3], [True, False, True])
    assert found == pytest.approx([each, 0.0, 2 * each])
    assert left.unspent == 0
    found, left = levels_spent(levels_of(budget), windows, [False] * 11 + [True])
    assert found[-1] == pytest.approx(0.05)


_TIMES = st.integers(0, 10**15)
_WINDOWS = st.lists(st.tuples(_TIMES, _TIMES).map(lambda ends: (min(ends), max(ends))), min_size=1, max_size=30)


@given(_WINDOWS, st.data())
def test_levels_add_up_to_the_rate_times_the_time(windows: list[tuple[int, int]], data: st.DataObject) -> None:
    judged = data.draw(st.lists(st.booleans(), min_size=len(windows), max_size=len(windows)))
    levels = levels_of("1 per year", level_limit=0.999999)
    found, left = levels_spent(levels, windows, judged)
    covered = max(0, max(end for _, end in windows) - windows[0][0])
    assert isclose(sum(found) + levels.rate * left.unspent, levels.rate * covered, rel_tol=1e-12, abs_tol=1e-300)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.data())
def test_no_nanosecond_is_spent_twice_or_lost(steps: list[int], data: st.DataObject) -> None:
    """Below the limit the units themselves add up: no rounding at all."""
    levels, accrual, units, end = levels_of("1 per year"), Accrual(), 0, 1000
    for step in steps:
        start, end = end, end + step
        accrual = levels.accrued(accrual, start, end)
        if data.draw(st.booleans()):
            units, accrual = units + accrual.unspent, spent(accrual)
    assert units + accrual.unspent == sum(steps)


@given(_WINDOWS, st.sampled_from(["1 per week", "3 per second", "0.02 per window", "1000 per day"]))
def test_no_level_is_above_the_limit_or_below_nothing(windows: list[tuple[int, int]], budget: str) -> None:
    levels = levels_of(budget)
    accrual = Accrual()
    for start_ns, end_ns in windows:
        accrual = levels.accrued(accrual, start_ns, end_ns)
        assert 0.0 <= levels.level(accrual) <= levels.limit
        assert accrual.unspent <= levels.limit_units


@pytest.mark.parametrize(
    "budget", [Budget(5e-324), Budget(5e-324, 3e8), Budget(1e300, 1e-300), Budget(1e-300, 1e-300)], ids=str
)
def test_budgets_beyond_all_sense_still_give_levels(budget: Budget) -> None:
    levels = Levels.of(WindowSettings(CountCut(10, 10), budget))
    accrual = levels.accrued(levels.accrued(Accrual(), 0, 10**18), 0, 2 * 10**18)
    assert 0.0 <= levels.level(accrual) <= 0.05


@pytest.mark.parametrize("accrual", [Accrual(), Accrual(0, 0), Accrual(-5, 7), Accrual(2**62, 2**62)], ids=str)
def test_an_accrual_reads_back(accrual: Accrual) -> None:
    assert Accrual.of_json(json.loads(json.dumps(accrual.to_json()))) == accrual


@pytest.mark.parametrize("value", [None, [], [1], [1, None], [1, -1], ["1", 1], [1.5, 1], [1, 2, 3], {"a": 1}, "ab"])
def test_what_is_no_accrual(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Accrual.of_json(value)
