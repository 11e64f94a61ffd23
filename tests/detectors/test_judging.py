"""Windows judged one after another: what is told, what is spent, what is kept for the next."""

import json
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.settings import Budget, MissingValues
from wayside.detectors.kinds.protocol import WindowTest
from wayside.eventing.alert import AlertState, Severity, read_alert
from wayside.eventing.schemas import schema
from wayside.eventing.vocabulary import ALERT_OPENED, DRIFT, REVISION
from wayside.eventing.window_findings import MissingRows

from .judging_side import (
    IDENTITY,
    KEY,
    REFERENCE,
    CountingDetector,
    SaidDetector,
    judge_of,
    judged_all,
    said,
    told,
    window_of,
)

_HOURLY = 1 / 24  # of a false alarm a day: the level of a window an hour long, below the limit of 0.05


def test_a_verdict_names_its_window_its_level_and_its_reference() -> None:
    (judged,) = judged_all(judge_of(), [said(0.5, 0)])
    verdict = told(judged)
    assert (judged.outcome, judged.is_drift, judged.alerts) == ("no_drift", False, ())
    assert (judged.verdict.type, judged.verdict.extensions[REVISION]) == (DRIFT, KEY.revision)
    assert (verdict.key, verdict.revision) == (KEY.service, KEY.revision)
    assert (verdict.p_value, verdict.distance) == (0.5, 0.5)
    assert verdict.threshold == pytest.approx(_HOURLY)
    assert verdict.reference == REFERENCE.digest
    data = json.loads(judged.verdict.data)["data"]
    assert data["window"] == {
        "first": 0,
        "end": 2,
        "rows": 2,
        "from": "2023-11-14T22:13:20.000000000Z",
        "to": "2023-11-14T23:13:20.000000000Z",
    }
    assert data["budget"] == {"level": verdict.threshold, "spent": verdict.threshold, "total": verdict.threshold}


@pytest.mark.parametrize(
    ("p_value", "outcome"), [(_HOURLY, "drift"), (np.nextafter(_HOURLY, 1), "no_drift"), (0.0, "drift")]
)
def test_drift_is_a_p_value_at_most_the_level(p_value: float, outcome: str) -> None:
    level = told(judged_all(judge_of(), [said(0.5, 0)])[0]).threshold
    (judged,) = judged_all(judge_of(), [said(p_value * level / _HOURLY, 0)])
    assert judged.outcome == outcome


def test_the_same_window_and_state_give_the_same_bytes() -> None:
    windows = [said(p, hour) for hour, p in enumerate([0.5, 0.001, 0.5, 0.5])]
    first, second = judged_all(judge_of(), windows), judged_all(judge_of(), windows)
    assert [(j.verdict, j.alerts, j.state.to_bytes()) for j in first] == [
        (j.verdict, j.alerts, j.state.to_bytes()) for j in second
    ]


def test_what_is_spent_adds_up_to_the_time() -> None:
    found = judged_all(judge_of(), [said(0.5, hour) for hour in range(24)])
    spendings = [told(judged).spending for judged in found]
    assert sum(each.spent for each in spendings if each) == pytest.approx(1.0)
    assert spendings[-1] is not None
    assert spendings[-1].total == pytest.approx(1.0)


def test_a_level_that_the_test_cannot_resolve_is_kept_until_it_can_and_spent_at_once() -> None:
    judge = judge_of(budget=Budget.parse("0.24 per day"))  # 0.01 an hour
    found = judged_all(judge, [said(0.021, hour, least=0.02) for hour in range(4)])
    assert [judged.outcome for judged in found] == ["unjudged", "no_drift", "unjudged", "no_drift"]
    assert [told(judged).spending.spent for judged in found] == pytest.approx([0, 0.02, 0, 0.02])  # type: ignore[union-attr]
    verdict = told(found[0])
    assert verdict.p_value == 0.021
    assert "below the least p-value that the test can tell" in str(verdict.error)
    assert json.loads(found[0].verdict.data)["data"]["is_drift"] is None


def test_windows_at_one_moment_have_nothing_to_spend_after_the_first() -> None:
    found = judged_all(judge_of(), [said(0.5, 0), said(0.0, 1, hours=0), said(0.5, 1, hours=1)])
    assert [judged.outcome for judged in found] == ["no_drift", "unjudged", "no_drift"]
    assert "no event time has passed" in str(told(found[1]).error)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[0.5, 0.0]], "1 rows to test, and 2 are the least"),
        ([[-1.0, 0.0], [0.5, 0.0]], "its numbers ran out"),
        ([[0.5, 0.0], [np.nan, 0.0], [np.inf, 0.0]], "2 of 3 rows miss a value that the test needs: over half"),
        ([[np.nan, 0.0], [np.nan, 0.0]], "2 of 2 rows miss a value"),
    ],
    ids=["few", "failed", "most-dropped", "all-dropped"],
)
def test_a_window_that_cannot_be_judged_says_why_and_keeps_its_level(rows: list[list[float]], reason: str) -> None:
    found = judged_all(judge_of(level_limit=0.5), [window_of(rows, 0, 3600), said(0.5, 1)])
    verdict = told(found[0])
    assert (found[0].outcome, verdict.is_judged, verdict.p_value, verdict.distance) == ("unjudged", False, None, None)
    assert reason in str(verdict.error)
    assert told(found[1]).threshold == pytest.approx(2 * _HOURLY)


@pytest.mark.parametrize("p_value", [np.nan, np.inf])
def test_an_outcome_that_is_no_number_is_no_verdict(p_value: float) -> None:
    class Broken(SaidDetector):
        def test(self, window: object) -> WindowTest:
            return WindowTest(0.5, p_value, np.empty(0), np.empty(0))

    (judged,) = judged_all(judge_of(Broken()), [said(0.5, 0)])
    assert "its p-value is no number" in str(told(judged).error)


def test_numbers_that_json_cannot_hold_are_told_as_near_as_it_can() -> None:
    class Extreme(SaidDetector):
        def test(self, window: object) -> WindowTest:
            return WindowTest(np.inf, 1.5, np.array([np.nan, -np.inf]), np.array([np.nan, -0.0]))

    (judged,) = judged_all(judge_of(Extreme()), [said(0.5, 0)])
    verdict = told(judged)
    assert (verdict.p_value, verdict.distance) == (1.0, np.finfo(np.float64).max)
    assert list(verdict.feature_distance) == [0.0, -np.finfo(np.float64).max]
    assert b'"feature_p_val":[1.0,0.0]' in judged.verdict.data


@pytest.mark.parametrize(
    ("policy", "takes_missing", "missing"),
    [
        (MissingValues.KEEP, True, MissingRows(1, 0)),
        (MissingValues.KEEP, False, MissingRows(1, 1)),
        (MissingValues.DROP, True, MissingRows(1, 1)),
        (MissingValues.DROP, False, MissingRows(1, 1)),
        (MissingValues.REFUSE, False, MissingRows(1, 1)),
    ],
)
def test_rows_that_miss_a_value_are_counted(policy: MissingValues, takes_missing: bool, missing: MissingRows) -> None:
    class Taking(SaidDetector):
        def test(self, window: object) -> WindowTest:
            rows = window.rows  # type: ignore[attr-defined]
            return replace(super().test(window), statistic=float(len(rows)))  # type: ignore[arg-type]

    Taking.takes_missing = takes_missing
    window = window_of([[0.5, 0.0], [np.nan, 0.0], [0.5, 0.0], [0.5, 0.0]], 0, 3600)
    (judged,) = judged_all(judge_of(Taking(), missing=policy), [window])
    assert told(judged).findings.missing == missing
    assert told(judged).distance == 4 - missing.dropped


def test_a_memory_moves_on_and_starts_again_after_drift() -> None:
    found = judged_all(judge_of(CountingDetector()), [said(p, hour) for hour, p in enumerate([0.5, 0.5, 1e-9, 0.5])])
    memories = [judged.state.memory for judged in found]
    assert [float(memory["rows"][0, 0]) for memory in memories if memory] == [2, 4, 0, 2]
    assert [memory["last"].tolist() for memory in memories if memory][2:] == [[0, 0], [0.5, 0.5]]


def test_a_memory_stays_where_a_window_is_not_tested() -> None:
    windows = [said(0.5, 0), window_of([[0.5, 0.0]], 3600, 3600), window_of([[-1, 0.0]] * 2, 3600, 7200)]
    memories = [judged.state.memory for judged in judged_all(judge_of(CountingDetector()), windows)]
    assert [float(memory["rows"][0, 0]) for memory in memories if memory] == [2, 2, 2]


def test_several_tests_are_told_by_name_and_corrected() -> None:
    class Several(SaidDetector):
        pass

    p_values = {"ks": 0.015, "mmd": 0.001, "lsdd": 0.9}
    Several.parts = {name: WindowTest(0.1, p, np.empty(0), np.empty(0)) for name, p in p_values.items()}
    (judged,) = judged_all(judge_of(Several()), [said(0.003, 0)])
    assert [(each.name, each.is_drift, each.p_value) for each in told(judged).findings.tests] == [
        ("ks", True, 0.03),
        ("mmd", True, 0.003),
        ("lsdd", False, 0.9),
    ]


def test_an_alert_opens_with_the_window_that_drifted_and_resolves() -> None:
    reference = np.random.default_rng(0).normal(size=(100, 2))
    windows = [said(p, hour, first=2 * hour) for hour, p in enumerate([0.5, 0.03, 0.5, 0.5])]
    found = judged_all(judge_of(reference=reference), windows)
    assert [len(judged.alerts) for judged in found] == [0, 1, 0, 1]
    opened, detector = read_alert(found[1].alerts[0])
    assert detector == IDENTITY
    assert (opened.state, opened.severity, opened.windows, opened.opened) == (
        AlertState.OPENED,
        Severity.WARNING,
        1,
        windows[1].time,
    )
    assert opened.evidence.verdict == found[1].verdict.id
    assert opened.evidence.features == told(found[1]).findings.features != ()
    assert set(opened.records) == {("/logger", "e2", 0), ("/logger", "e3", 0)}
    resolved, _ = read_alert(found[3].alerts[0])
    assert (resolved.state, resolved.alert, resolved.resolved) == (AlertState.RESOLVED, opened.alert, windows[3].time)
    assert found[1].alerts[0].type == ALERT_OPENED
    assert found[3].state.alert is None


def test_without_a_summary_of_the_reference_an_alert_has_records_and_no_features() -> None:
    found = judged_all(judge_of(), [said(0.0, 0)])
    alert, _ = read_alert(found[0].alerts[0])
    assert (alert.evidence.features, alert.records) == ((), (("/logger", "e0", 0), ("/logger", "e1", 0)))


def test_everything_told_is_valid_by_its_schema() -> None:
    drift, alerts = Draft202012Validator(schema("drift")), Draft202012Validator(schema("alert"))
    reference = np.random.default_rng(0).normal(size=(100, 2))
    windows = [said(p, hour) for hour, p in enumerate([0.5, 0.0, 0.5, -1.0, 0.5, 0.5])]
    for judged in judged_all(judge_of(reference=reference), windows):
        drift.validate(json.loads(judged.verdict.data))
        for alert in judged.alerts:
            alerts.validate(json.loads(alert.data))


def test_a_verdict_of_many_members_is_written_quickly() -> None:
    window = window_of(np.full((1000, 2), 0.5), 0, 3600)
    judge = judge_of()
    state = judge.begin()
    judge.judge(window, state)
    began = process_time()
    for _ in range(10):
        judged = judge.judge(window, state)
    assert process_time() - began < 1.0  # some 2 ms each on the machine this was written on
    assert len(told(judged).members) == 1000


def test_all_members_are_at_hand_where_the_verdict_leaves_some_out() -> None:
    window = window_of(np.full((20_001, 2), 0.5), 0, 3600)
    judge = judge_of()
    judged = judge.judge(window, judge.begin())
    assert judged.members == window.members
    assert (len(told(judged).members), told(judged).members_left_out) == (2000, 18_001)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"[]\n",
        b"\xff",
        b"[" * 100_000,
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":null}x',
        b'{"accrual":[null,-1],"total":0.0,"alert":null,"memory":null}\n',
        b'{"accrual":[null,0],"total":"0","alert":null,"memory":null}\n',
        b'{"accrual":[null,0],"total":0.0,"alert":{},"memory":null}\n',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":null}\n12345678',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":[["rows",[2]]]}\n12345678',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":[["rows",[1]]]}\n1234567',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":[["rows",[-1]]]}\n12345678',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":[[1,[1]]]}\n12345678',
        b'{"accrual":[null,0],"total":0.0,"alert":null,"memory":5}\n',
    ],
)
def test_bytes_that_are_no_state(content: bytes) -> None:
    with pytest.raises(ValueError, match="no state of a series"):
        SeriesState.from_bytes(content)


def test_a_state_reads_back() -> None:
    reference = np.random.default_rng(0).normal(size=(100, 2))
    for detector in (SaidDetector(), CountingDetector()):
        judge = judge_of(detector, reference=reference)
        for state in (judge.begin(), judged_all(judge, [said(0.5, 0), said(0.0, 1)])[1].state):
            assert SeriesState.from_bytes(state.to_bytes()).to_bytes() == state.to_bytes()
            assert len(state.to_bytes()) < 8192
