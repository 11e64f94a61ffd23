"""Drift that lasts keeps its alert open, also where the detector starts again after each alarm; its end resolves it."""

from typing import Any

import numpy as np
import pytest

from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.settings import Budget, CountCut, SpanCut
from wayside.detectors.kinds.ks import KolmogorovSmirnov
from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.eventing.alert import read_alert
from wayside.eventing.errors import ConfigurationError

from .judging_side import CountingDetector, SaidDetector, judge_of, judged_all, window_of
from .sequential_streams import errors, p_values, three_columns


def judge_with(detector: Any, size: int) -> WindowJudge:
    return judge_of(detector, cut=CountCut(size, size), budget=Budget(1e-3))


def states(judge: WindowJudge, rows: np.ndarray, size: int) -> list[tuple[int, str]]:
    """The alerts' states, and the first row of the windows that they were told at."""
    windows = [window_of(rows[at : at + size], at, at + size - 1, at) for at in range(0, len(rows), size)]
    found = zip(windows, judged_all(judge, windows), strict=True)
    return [(window.first, read_alert(event)[0].state.value) for window, judged in found for event in judged.alerts]


def moved(rows: np.ndarray) -> np.ndarray:
    rows[:, 0] += 1.0
    return rows


@pytest.fixture
def detectors(error_detectors: dict, row_detectors: dict, outlier_rate: Any) -> dict:
    return {**error_detectors, **row_detectors, "outlier-rate": outlier_rate}


@pytest.mark.parametrize("size", [20, 100])
@pytest.mark.parametrize("kind", ["adwin", "ddm", "kswin", "cusum", "cvm-online", "mmd-online", "outlier-rate"])
def test_an_alert_lasts_as_long_as_the_drift(detectors: dict, kind: str, size: int) -> None:
    make = {"outlier-rate": lambda count, seed, drifts: p_values(count, seed, 0.1 if drifts else 0.01)}.get(
        kind, _errors if kind in ("adwin", "ddm", "kswin") else _columns
    )
    stream = np.concatenate([make(1000, 21, False), make(2400, 22, True), make(3000, 23, False)])
    told = states(judge_with(detectors[kind], size), stream, size)
    assert [state for _, state in told if state != "updated"] == ["opened", "resolved"]
    (opened, _), (resolved, _) = told[0], told[-1]
    assert 1000 <= opened < 1600
    assert 3400 <= resolved < 6400


def _errors(count: int, seed: int, drifts: bool) -> np.ndarray:
    return errors(count, 0.4 if drifts else 0.1, seed)


def _columns(count: int, seed: int, drifts: bool) -> np.ndarray:
    rows = three_columns(count, seed)
    return moved(rows) if drifts else rows


@pytest.mark.parametrize("kind", ["adwin", "ddm", "kswin", "cusum", "cvm-online", "mmd-online", "outlier-rate"])
def test_settling_takes_rows_and_not_without_end(detectors: dict, kind: str) -> None:
    for level in (0.05, 1e-3, 1e-9):
        assert 40 <= detectors[kind].settling_rows(level, 100) <= 5000


@pytest.mark.parametrize("cut", [CountCut(10, 5), SpanCut(60.0, 15.0)], ids=["rows", "time"])
def test_overlapping_windows_would_show_a_memory_rows_twice(cut: Any) -> None:
    with pytest.raises(ConfigurationError, match="hold rows more than once: leave --step out"):
        judge_of(CountingDetector(), cut=cut)
    assert judge_of(SaidDetector(), cut=cut).begin().memory is None


def test_one_column_is_judged_and_told_by_its_name() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 1))
    detector = KolmogorovSmirnov.fit(
        Sample.untimed(rows), KolmogorovSmirnov.options(), WindowFitContext(window_rows=50)
    )
    judge = judge_of(detector, rows, cut=CountCut(50, 50), budget=Budget(1e-3))
    (judged,) = judged_all(judge, [window_of(rows[:50] + 3, 0, 49)])
    (alert, _) = read_alert(judged.alerts[0])
    assert [feature.name for feature in alert.evidence.features] == ["0"]


def test_a_key_that_came_back_opens_another_alert() -> None:
    """A key that was evicted begins at row 0 again: its window has the same range by position."""
    judge = judge_of(budget=Budget(0.01))
    windows = [window_of([[1e-6, 0.0], [0.5, 0.5]], 0, 60), window_of([[1e-6, 0.0], [0.5, 0.5]], 3600, 3660)]
    events = [f"again-{at}" for at in range(2)]
    members = [
        type(part)(part.source, event, 0, 1, part.time) for part, event in zip(windows[1].members, events, strict=True)
    ]
    again = type(windows[1])(
        **{**{name: getattr(windows[1], name) for name in windows[1].__dataclass_fields__}, "members": members}
    )
    one, other = (judge.judge(window, judge.begin()).alerts[0] for window in (windows[0], again))
    assert read_alert(one)[0].alert != read_alert(other)[0].alert
    assert one.id != other.id
