"""Where nothing drifts, as many windows are told as drifted as the budget says: no fewer than half, no more than it."""

import numpy as np
import pytest

from wayside.detectors.artifacts.artifact import Windowed
from wayside.detectors.drift.judging.judge import WindowJudge
from wayside.detectors.drift.settings import Budget, CountCut, WindowSettings
from wayside.detectors.drift.transforms.columns import ColumnsTransform
from wayside.detectors.drift.windowing.values import Window
from wayside.detectors.kinds.ks import KolmogorovSmirnov
from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.detectors.tabular.schema import Schema

from .judging_side import IDENTITY, REFERENCE, told, window_of

_STREAMS, _WINDOWS, _ROWS = 4, 90, 50
_SCHEMA = Schema.of_width(2)


@pytest.fixture(scope="module")
def detectors() -> list[KolmogorovSmirnov]:
    """One a stream, each with a reference of its own."""
    context = WindowFitContext(window_rows=_ROWS)
    references = [np.random.default_rng([seed, 1]).normal(size=(20 * _ROWS, 2)) for seed in range(_STREAMS)]
    return [KolmogorovSmirnov.fit(Sample.untimed(rows), KolmogorovSmirnov.options(), context) for rows in references]


def judge_around(detector: KolmogorovSmirnov, budget: str) -> WindowJudge:
    settings = WindowSettings(CountCut(_ROWS, _ROWS), Budget.parse(budget), level_limit=0.5)
    return WindowJudge.around(detector, Windowed(settings, ColumnsTransform(_SCHEMA), REFERENCE), _SCHEMA, IDENTITY)


def irregular(rng: np.random.Generator) -> list[Window]:
    """Windows after pauses of very different lengths, some of them at the same moment; 50 minutes each on average."""
    ends = np.cumsum(rng.choice([0.0, 300.0, 1200.0, 10_500.0], _WINDOWS))
    starts = np.concatenate([[0.0], ends[:-1]])
    rows = rng.normal(size=(_WINDOWS, _ROWS, 2))
    return [
        window_of(rows[at], start, end, at * _ROWS) for at, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


@pytest.mark.parametrize("budget", ["2.4 per day", "0.1 per window"])
def test_false_alarms_keep_their_budget(detectors: list[KolmogorovSmirnov], budget: str) -> None:
    alarms, expected, hours = 0, 0.0, 0.0
    for seed, detector in enumerate(detectors):
        judge, windows = judge_around(detector, budget), irregular(np.random.default_rng(seed))
        state = judge.begin()
        for window in windows:
            judged = judge.judge(window, state)
            state, alarms = judged.state, alarms + judged.is_drift
        spending = told(judged).spending
        assert spending is not None
        expected += spending.total
        hours += (windows[-1].end_ns - windows[0].start_ns) / 3.6e12
    assert expected == pytest.approx(hours / 10 if "day" in budget else 0.1 * _STREAMS * _WINDOWS, rel=1e-3)
    spread = 3 * np.sqrt(expected)  # Poisson, and a reference redrawn for every stream
    assert 0.5 * expected - spread <= alarms <= 1.2 * expected + spread
