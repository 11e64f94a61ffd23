"""A phase is judged by what it promised: each rule can fail, and honest runs do not fail by chance."""

from dataclasses import replace

import numpy as np
import pytest

from wayside.detectors.drift.settings import Budget
from wayside.eventing.alert import AlertEvidence
from wayside.eventing.window_findings import MovedFeature, Spending
from wayside.eventing.window_verdict import Stretch
from wayside.local.demo.expectations import Promise, see
from wayside.local.demo.facts import AlertFacts, PhaseFacts, Span, WindowFacts, count_alerts, count_windows
from wayside.local.demo.ledger import PhaseRow, Route, RouteSummary
from wayside.local.demo.phases import WINDOW_ROWS, Kind, faults_of, total_rows
from wayside.local.demo.scenario import SCENARIOS
from wayside.sinks.alerts import Alert
from wayside.sinks.windows import WindowRow

MOVED = frozenset(("radius", "area", "perimeter"))
PROMISE = Promise(0.01, 5_000, Budget.parse("1 per day"), MOVED, "cells are smaller")
THROUGH = RouteSummary("p", Route.THROUGH, 800, 800, 3_600, 0.012, 0.2)
DIRECT = RouteSummary("p", Route.DIRECT, 160, 160, 700, 0.010, 0.2)


def facts(kind: Kind, flagged: int = 36, drift: int = 0, alerts: AlertFacts | None = None) -> PhaseFacts:
    phase, told = PhaseRow("p", "P", kind.value, 0.0, 10.0), alerts or AlertFacts(0, 0, 0)
    return PhaseFacts(phase, THROUGH, DIRECT, 3_600, flagged, WindowFacts(17, drift), told)


OPENED = AlertFacts(1, 0, 0, ("radius", "area", "perimeter", "texture"))
SHIFTED = facts(Kind.SHIFT, 30, 16, OPENED)
GOOD = [facts(Kind.ORDINARY), facts(Kind.OUTLIERS, 3_500, 17, OPENED), SHIFTED, facts(Kind.FAULT)]


@pytest.mark.parametrize("fact", GOOD)
def test_a_phase_that_went_as_it_should_is_seen(fact: PhaseFacts) -> None:
    assert see(fact, PROMISE).ok


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (facts(Kind.ORDINARY, flagged=120), "ordinary rows were flagged"),
        (facts(Kind.ORDINARY, flagged=0), "ordinary rows were flagged"),
        (facts(Kind.ORDINARY, drift=5), "5 of 17 ordinary windows say drift"),
        (replace(facts(Kind.ORDINARY), alerts=AlertFacts(0, 1, 0)), "did not resolve"),
        (replace(facts(Kind.ORDINARY), alerts=AlertFacts(2, 0, 0)), "2 alerts opened"),
        (replace(SHIFTED, alerts=AlertFacts(0, 1, 0)), "0 alerts opened, where one should"),
        (replace(SHIFTED, alerts=AlertFacts(2, 0, 0, OPENED.features)), "2 alerts opened, where one should"),
        (replace(SHIFTED, alerts=AlertFacts(1, 0, 0, ("radius", "texture"))), "names texture, where cells are smaller"),
        (replace(SHIFTED, alerts=AlertFacts(1, 0, 0)), "names no feature"),
        (facts(Kind.OUTLIERS, flagged=1_000), "only 28% of the rows were flagged"),
        (facts(Kind.SHIFT, drift=3), "only 3 of 17 windows"),
        (replace(facts(Kind.ORDINARY), dropped=1), "1 events were dropped"),
        (replace(facts(Kind.ORDINARY), scored=0), "no rows scored"),
        (replace(facts(Kind.FAULT), through=replace(THROUGH, p50_s=0.2)), "200 ms"),
        (replace(facts(Kind.FAULT), through=replace(THROUGH, answered=799)), "1 requests failed"),
        (replace(facts(Kind.FAULT), direct=replace(DIRECT, p50_s=None)), "no answer to compare"),
    ],
)
def test_each_rule_can_fail(fact: PhaseFacts, words: str) -> None:
    seen = see(fact, PROMISE)
    assert not seen.ok
    assert words in seen.words


def test_honest_rates_stay_within_the_range() -> None:
    low, high = PROMISE.flagged_range(3_600)
    rng = np.random.default_rng(3)
    k = int(5_001 * 0.01)
    flagged = rng.binomial(3_600, rng.beta(k, 5_001 - k, size=20_000))
    assert np.mean((flagged < low) | (flagged > high)) < 1e-3
    assert (low, high) < (36, 90)


def test_windows_may_drift_as_often_as_the_budget_allows() -> None:
    """In event time, or by how many there are."""
    assert PROMISE.drift_limit(10, 17) == 1
    assert PROMISE.drift_limit(7 * 86400, 500) == 19
    assert replace(PROMISE, budget=Budget.parse("0.01 per window")).drift_limit(10, 500) == 15


def window(first: int, start: int, stop: int, drift: bool = False, any_feature: bool | None = None) -> WindowRow:
    whose = ("n", "s", "c", "", "", "drift")
    numbers = (first, first + 200, at(stop), 0.5, 0.01, 0.1, drift)
    return WindowRow(*whose, *numbers, any_feature=any_feature, start=at(start), stop=at(stop))


def at(second: int) -> str:
    return f"2026-11-21T10:00:{second:02d}Z"


def alert(opened: int, resolved: int | None, *features: tuple[str, bool]) -> Alert:
    moved = [MovedFeature(name, drift, 0.5, 0.001, None, None) for name, drift in features]
    evidence = AlertEvidence("v", 0, 200, Stretch(at(0), at(1)), 0.5, 0.001, Spending(0.1, 0.1, 0.2), moved)
    times = (at(opened), at(opened), None if resolved is None else at(resolved))
    return Alert("a", "n", "s", "c", "", "", "drift", "d", "warning", *times, 1, 0, evidence)


def test_windows_and_alerts_belong_to_the_phase_of_their_time() -> None:
    spans = [(0, 1), (2, 5), (6, 11), (12, 15)]
    windows = [window(200 * n, *span, n == 2, any_feature=n < 2) for n, span in enumerate(spans)]
    ten = 1_795_255_210_000_000_000
    before, after = Span(ten - 10**10, ten), Span(ten, None)
    assert count_windows(windows, before) == WindowFacts(2, 0, 2)
    assert count_windows(windows, after) == WindowFacts(1, 0, 0)  # the first one began before
    found = alert(5, 11, ("radius", True), ("texture", False))
    assert count_alerts([found], before) == AlertFacts(1, 0, 0, ("radius",))
    assert count_alerts([found], after) == AlertFacts(0, 1, 1)


@pytest.mark.parametrize("model", SCENARIOS)
def test_the_script_has_whole_windows_and_its_names_exist(model: str) -> None:
    phases = SCENARIOS[model].phases
    assert all(phase.rows % WINDOW_ROWS == 0 and phase.rows >= 5 * WINDOW_ROWS for phase in phases)
    assert total_rows(phases) == sum(phase.rows for phase in phases)
    assert {step.name for step in faults_of(["outlier", "drift", "broker"])} == {"broker", "outlier"}
    assert {step.name for step in faults_of(["outlier", "drift", "elasticsearch"])} == {
        *("drift", "outlier", "elasticsearch"),
    }
