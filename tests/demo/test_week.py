"""A simulated week of the demo's ordinary traffic keeps its budget; what is shifted opens one alert that names why."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import ks_2samp, poisson

from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.settings import Budget, CountCut, WindowSettings
from wayside.detectors.drift.stream import WindowStream
from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.kinds.protocol import Execution
from wayside.detectors.tabular.table import Table
from wayside.eventing.alert import AlertState, read_alert
from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_verdict import read_window_verdict
from wayside.local.demo.population import Array, Population
from wayside.local.demo.scenario import SCENARIOS
from wayside.sinks.windows import any_feature_alarm

WINDOW_ROWS, WEEK_WINDOWS, DAY_S = 200, 7 * 24, 86400
BUDGET = Budget(1.0, DAY_S)
START_NS = parse_time("2026-11-16T00:00:00Z")
KEY = WindowKey(ServiceKey("default", "demo", "predictor", ""))
EVENT_ROWS = 100


@pytest.fixture(scope="module", params=SCENARIOS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def judge(model: str) -> WindowJudge:
    """As the demo fits it, for windows of an hour."""
    population = SCENARIOS[model].load(20261121)
    rows = population.stream("fit drift").ordinary(6_000).rows
    plan = WindowPlan(WindowSettings(CountCut(WINDOW_ROWS, WINDOW_ROWS), BUDGET, lateness_s=0.0))
    artifact = fit_artifact("ks", Table.of(rows, population.names), FitSettings(name="drift", windows=plan)).artifact
    return WindowJudge.of(artifact, artifact.identity(), Execution())


def arrivals(rows: Array, start: int, step_ns: int) -> Iterator[Arrival]:
    """Events of so many rows, one after the other."""
    for number in range(len(rows) // EVENT_ROWS):
        at = START_NS + (start + number) * step_ns
        part = rows[number * EVENT_ROWS : (number + 1) * EVENT_ROWS]
        name = f"e{start + number}"
        yield Arrival(start + number, KEY, "demo", name, at, format_time(at), part)


def test_a_week_keeps_its_budget(model: str, judge: WindowJudge) -> None:
    population = SCENARIOS[model].load(20261121)
    rows = population.stream("a week").ordinary((WEEK_WINDOWS + 1) * WINDOW_ROWS).rows
    step_ns = 7 * DAY_S * 10**9 * EVENT_ROWS // (WEEK_WINDOWS * WINDOW_ROWS)
    judged = list(WindowStream(judge).run(arrivals(rows, 0, step_ns)))
    verdicts = [read_window_verdict(each.verdict) for each in judged]
    assert len(judged) >= WEEK_WINDOWS
    assert sum(verdict.spending.spent for verdict in verdicts if verdict.spending) == pytest.approx(7, rel=0.02)
    assert sum(each.is_drift for each in judged) <= poisson.ppf(1 - 1e-4, 7)
    assert sum(each.outcome == "unjudged" for each in judged) == 0
    assert sum(bool(any_feature_alarm(verdict)) for verdict in verdicts) > WEEK_WINDOWS / 3, "the rule of most services"


def test_a_shift_opens_one_alert_which_names_what_moved(model: str, judge: WindowJudge) -> None:
    """At the demo's own pace, a window about a second; ordinary traffic resolves it."""
    population = SCENARIOS[model].load(20261121)
    parts = [
        population.stream("before").ordinary,
        population.stream("shift").shifted,
        population.stream("again").ordinary,
    ]
    rows = np.concatenate([draw(10 * WINDOW_ROWS).rows for draw in parts])
    judged = list(WindowStream(judge).run(arrivals(rows, 0, 10**9 // 2)))
    alerts = [read_alert(event)[0] for each in judged for event in each.alerts]
    assert [alert.state for alert in alerts if alert.state is not AlertState.UPDATED] == [
        AlertState.OPENED,
        AlertState.RESOLVED,
    ]
    for alert in alerts:
        told = [feature.name for feature in alert.evidence.features if feature.is_drift]
        assert told
        assert set(told[:3]) <= SCENARIOS[model].moved
    assert drifts(judged) == [10 <= number < 20 for number in range(len(judged))]


def drifts(judged: list[Judged]) -> list[bool]:
    return [each.is_drift for each in judged]


def test_the_features_that_are_said_to_move_are_those_that_do(model: str) -> None:
    population: Population = SCENARIOS[model].load(3)
    ordinary, shifted = population.stream("a").ordinary(4_000).rows, population.stream("b").shifted(4_000).rows
    names = population.names or tuple(map(str, range(population.features)))
    distances = {name: float(ks_2samp(ordinary[:, at], shifted[:, at]).statistic) for at, name in enumerate(names)}
    assert min(distances[name] for name in SCENARIOS[model].moved) > 0.15
    assert all(name in SCENARIOS[model].moved for name, distance in distances.items() if distance > 0.29)
