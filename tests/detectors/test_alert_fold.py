"""Alerts as a fold over verdicts: opened once, told again only where there is something new, resolved once."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.detectors.drift.alerting.alerts import Alerting, OpenAlert
from wayside.eventing.alert import AlertEvent, AlertState, Severity, read_alert
from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_findings import Findings, MovedFeature, Spending
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict

_KEY = ServiceKey("ns", "digits", "predictor", "")
_DETECTOR = DetectorIdentity("drift", "ks", "ab" * 32, 0.01)
_LEVEL = 0.01


def time_of(at: int) -> str:
    return format_time((1_700_000_000 + 60 * at) * 1_000_000_000)


def feature(name: str, is_drift: bool = True) -> MovedFeature:
    return MovedFeature(name, is_drift, 0.5, 0.001, (1.0,) * 5, (2.0,) * 5)


def verdict(at: int, said: str, features: str = "") -> WindowVerdict:
    """The `at`-th window: `.` quiet, `d` drifted, `D` drifted far below its level, `?` not judged. Of `features` those
    in capitals are told as drifted."""
    p_value = {".": 0.5, "d": 0.009, "D": 1e-9, "?": 0.5}[said]
    return WindowVerdict(
        key=_KEY,
        first=at * 10,
        end=at * 10 + 10,
        time=time_of(at),
        is_drift=said in "dD",
        p_value=p_value,
        threshold=_LEVEL,
        distance=1 - p_value,
        feature_distance=[],
        feature_p_value=[],
        members=[RowRange("/logger", f"e{at}", 0, 10, time_of(at))],
        error="too few rows" if said == "?" else None,
        stretch=Stretch(time_of(at), time_of(at)),
        spending=Spending(_LEVEL, _LEVEL, at * _LEVEL),
        findings=Findings(tuple(feature(name, name.isupper()) for name in features)),
    )


def folded(
    verdicts: Sequence[WindowVerdict], resolve_after: int = 2, settling_rows: int = 0
) -> list[AlertEvent | None]:
    """What is told at each window; the state goes through JSON in between."""
    alerting, standing, told = Alerting(_DETECTOR, resolve_after, settling_rows), None, []
    for each in verdicts:
        standing, alert = alerting.fold(standing, each, [("/logger", each.members[0].id, 0)])
        told.append(alert)
        standing = standing and OpenAlert.of_json(json.loads(json.dumps(standing.to_json())))
    return told


def states(said: str, resolve_after: int = 2, settling_rows: int = 0) -> str:
    """O(pened), U(pdated), R(esolved) or - at each window."""
    told = folded([verdict(at, each) for at, each in enumerate(said)], resolve_after, settling_rows)
    return "".join("-" if alert is None else alert.state.value[0].upper() for alert in told)


@pytest.mark.parametrize(
    ("said", "resolve_after", "expected"),
    [
        ("....", 2, "----"),
        (".d....", 2, "-O-R--"),
        (".d..", 1, "-OR-"),
        (".d...d...", 3, "-O--RO--R"),
        ("d.d.d..", 2, "O-----R"),
        ("dd..", 2, "O--R"),
        ("ddd..", 2, "O-U-R"),
        ("ddddddd..", 2, "O-U-----R"),
        ("D..", 2, "O-R"),
        ("dD..", 2, "OU-R"),
        ("Ddd..", 2, "O---R"),
        ("d.dd.d..", 2, "O------R"),
        ("d?.?.", 2, "O---R"),
        ("d.?.", 2, "O--R"),
        ("??d???", 2, "--O---"),
        ("d..d..", 2, "O-RO-R"),
        ("d?d?d..", 2, "O---U-R"),
    ],
)
def test_when_an_alert_is_told(said: str, resolve_after: int, expected: str) -> None:
    assert states(said, resolve_after) == expected


@pytest.mark.parametrize(
    ("said", "settling_rows", "expected"),
    [
        ("d.....", 20, "O-R---"),
        ("d.....", 21, "O--R--"),
        ("d...d....", 40, "O-------R"),
        ("d.?.?.", 30, "O----R"),
    ],
)
def test_quiet_windows_of_fewer_rows_than_a_detector_settles_in_resolve_nothing(
    said: str, settling_rows: int, expected: str
) -> None:
    assert states(said, 2, settling_rows) == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (["A", "A", "A"], "O-U"),
        (["A", "B", "A"], "OUU"),
        (["A", "", "B"], "O-U"),
        (["Aa", "Ab", "ab"], "O-U"),
        (["AB", "BA", "A"], "O-U"),
        (["", "A", "AB"], "OUU"),
    ],
)
def test_a_feature_is_news_once(features: list[str], expected: str) -> None:
    """The third drift in a row is news of its own: it makes the alert critical."""
    told = folded([verdict(at, "d", names) for at, names in enumerate(features)])
    assert "".join("-" if alert is None else alert.state.value[0].upper() for alert in told) == expected


def test_what_an_alert_says_at_each_step() -> None:
    verdicts = [verdict(at, said, "A") for at, said in enumerate("dd.d..")]
    told = [alert for alert in folded([verdict(0, "d", "A"), verdict(1, "D", "A"), *verdicts[2:]]) if alert]
    opened, updated, resolved = told
    assert (opened.state, opened.severity, opened.windows, opened.quiet) == (AlertState.OPENED, Severity.WARNING, 1, 0)
    assert (updated.severity, updated.windows, updated.updated) == (Severity.CRITICAL, 2, time_of(1))
    assert (resolved.severity, resolved.windows, resolved.quiet) == (Severity.CRITICAL, 3, 2)
    assert (resolved.opened, resolved.updated, resolved.resolved) == (time_of(0), time_of(3), time_of(5))
    assert (resolved.evidence.verdict, resolved.records) == (verdict(3, "d").id(_DETECTOR), (("/logger", "e3", 0),))
    assert len({each.alert for each in told}) == 1


def test_what_drifts_beyond_the_bound_updates_nothing() -> None:
    names = [chr(ord("A") + at % 26) * (1 + at // 26) for at in range(100)]
    alerting, standing, updates = Alerting(_DETECTOR, 2), None, 0
    for at, name in enumerate(names):
        base = verdict(at, "D")
        findings = Findings((feature(name),))
        standing, alert = alerting.fold(standing, WindowVerdict(**{**_fields(base), "findings": findings}))
        updates += alert is not None
    assert updates == 64
    assert standing is not None
    assert len(standing.told) == 64


def _fields(value: WindowVerdict) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


_SAID = st.lists(st.tuples(st.sampled_from(".dD?"), st.text("ABCab", max_size=3)), max_size=20)


def told_events(said: list[tuple[str, str]], resolve_after: int) -> list[CloudEvent]:
    told = folded([verdict(at, *each) for at, each in enumerate(said)], resolve_after)
    return [alert.event(_DETECTOR) for alert in told if alert]


@given(_SAID, st.integers(1, 4))
def test_every_alert_is_opened_once_and_resolved_at_most_once(said: list[tuple[str, str]], resolve_after: int) -> None:
    told = [read_alert(event)[0] for event in told_events(said, resolve_after)]
    by_alert: dict[str, list[AlertState]] = {}
    for alert in told:
        by_alert.setdefault(alert.alert, []).append(alert.state)
    for at, found in enumerate(by_alert.values()):
        assert found[0] is AlertState.OPENED
        assert found.count(AlertState.OPENED) == 1
        assert AlertState.RESOLVED not in found[:-1]
        assert found[-1] is AlertState.RESOLVED or at == len(by_alert) - 1, "one is open at a time"


@given(_SAID, st.integers(1, 4))
def test_no_update_is_told_without_a_change(said: list[tuple[str, str]], resolve_after: int) -> None:
    verdicts = [verdict(at, *each) for at, each in enumerate(said)]
    severity, known = Severity.WARNING, set[str]()
    for each, alert in zip(verdicts, folded(verdicts, resolve_after), strict=True):
        now = (
            {feature.name for feature in each.findings.features if feature.is_drift}
            if each.outcome == "drift"
            else set()
        )
        if alert is not None and alert.state is AlertState.UPDATED:
            assert alert.severity is not severity or now - known
        if alert is not None and alert.state is AlertState.OPENED:
            known = set()
        known |= now
        severity = severity if alert is None else alert.severity


@given(_SAID, st.integers(1, 4))
def test_the_same_verdicts_give_the_same_bytes(said: list[tuple[str, str]], resolve_after: int) -> None:
    first = told_events(said, resolve_after)
    assert first == told_events(said, resolve_after)
    assert len({event.id for event in first}) == len(first)


@given(_SAID, st.integers(1, 4))
def test_windows_in_alerts_are_those_that_drifted(said: list[tuple[str, str]], resolve_after: int) -> None:
    told = [read_alert(event)[0] for event in told_events([*said, *[(".", "")] * 4], resolve_after)]
    resolved = [alert for alert in told if alert.state is AlertState.RESOLVED]
    assert sum(alert.windows for alert in resolved) == sum(each in "dD" for each, _ in said)
    assert all(alert.quiet == resolve_after for alert in resolved)


@pytest.mark.parametrize("value", [None, {}, [], {"alert": {}, "told": [], "in_a_row": 1}])
def test_what_is_no_open_alert(value: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        OpenAlert.of_json(value)
