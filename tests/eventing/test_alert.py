"""Alerts as events: one id for all events of one alert, read back whole, and never read from anything else."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.alert import AlertEvent, AlertState, Severity, alert_id, read_alert
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.subject import role_of
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    ALERT_UPDATED,
    ALERTS,
    REVISION,
    VERDICTS,
    ServiceKey,
    request_time,
)

from .verdict_strategies import ALERT, DETECTOR, DETECTORS, TIME, UNJUDGED, WINDOW, alert_events

_LATER = "2024-01-02T04:00:00Z"


def in_state(state: AlertState) -> AlertEvent:
    if state is AlertState.RESOLVED:
        return replace(ALERT, state=state, resolved=_LATER, quiet=2)
    return replace(ALERT, state=state)


@given(alert_events(), DETECTORS)
def test_an_alert_reads_back(alert: AlertEvent, detector: DetectorIdentity) -> None:
    event = alert.event(detector)
    assert read_alert(event) == (alert, detector)
    assert alert.event(detector) == event


@pytest.mark.parametrize(
    ("state", "type_", "time"),
    [
        (AlertState.OPENED, ALERT_OPENED, TIME),
        (AlertState.UPDATED, ALERT_UPDATED, TIME),
        (AlertState.RESOLVED, ALERT_RESOLVED, _LATER),
    ],
)
def test_an_alerts_event_has_its_type_and_its_windows_time(state: AlertState, type_: str, time: str) -> None:
    event = in_state(state).event(DETECTOR)
    assert (event.type, event.time, request_time(event), event.source) == (type_, time, time, DETECTOR.source)
    assert ServiceKey.of(event) == ALERT.key
    assert event.extensions[REVISION] == ALERT.revision
    assert (event.extensions["detector"], event.extensions["artifactdigest"]) == (DETECTOR.name, DETECTOR.digest)


def test_what_an_alert_says() -> None:
    body = json.loads(ALERT.event(DETECTOR).data)
    data = body["data"]
    assert list(data) == [
        *("detector", "digest", "alert", "state", "severity", "namespace", "service", "component", "endpoint"),
        *("revision", "opened", "updated", "resolved", "windows", "quiet", "evidence", "records"),
    ]
    assert data["evidence"]["window"] == {"first": 100, "end": 200, "rows": 100, "from": TIME, "to": TIME}
    assert data["evidence"]["verdict"] == WINDOW.event(DETECTOR).id
    assert data["records"] == [["/logger", "1", 3], ["/logger", "2", 0]]
    assert body["meta"] == DETECTOR.meta()


def test_the_events_of_an_alert_share_its_id_and_have_their_own() -> None:
    events = [in_state(state).event(DETECTOR) for state in AlertState]
    assert len({event.id for event in events}) == 3
    assert {read_alert(event)[0].alert for event in events} == {ALERT.alert}


def test_an_alerts_id_is_its_series_its_detectors_and_its_first_windows() -> None:
    verdicts = [
        WINDOW,
        replace(WINDOW, first=99),
        replace(WINDOW, revision=""),
        replace(WINDOW, key=replace(WINDOW.key, endpoint="canary")),
        replace(WINDOW, members=WINDOW.members[:1]),
    ]
    detectors = [replace(DETECTOR, name="other"), replace(DETECTOR, digest="cd" * 32)]
    ids = [*(alert_id(each, DETECTOR) for each in verdicts), *(alert_id(WINDOW, each) for each in detectors)]
    assert len(set(ids)) == len(ids)
    assert alert_id(WINDOW, DETECTOR) == alert_id(replace(WINDOW, p_value=0.5, findings=UNJUDGED.findings), DETECTOR)


def test_an_alert_is_no_part_of_a_record_and_no_verdict() -> None:
    assert not ALERTS & VERDICTS
    assert [role_of(in_state(state).event(DETECTOR)) for state in AlertState] == [None, None, None]


def _with(event: CloudEvent, **changed: Any) -> CloudEvent:
    body = json.loads(event.data)
    body["data"].update(changed)
    return replace(event, data=json.dumps(body).encode())


_EVIDENCE = ALERT.evidence.to_json()


@pytest.mark.parametrize(
    "changed",
    [
        {"alert": 1},
        {"state": "closed"},
        {"state": "resolved"},
        {"severity": "high"},
        {"namespace": "other"},
        {"endpoint": None},
        {"revision": "digits-00001"},
        {"opened": "noon"},
        {"updated": None},
        {"resolved": 5},
        {"windows": -1},
        {"quiet": 0.5},
        {"evidence": None},
        {"evidence": {}},
        {"evidence": {**_EVIDENCE, "window": {"first": 1, "end": 2}}},
        {"evidence": {**_EVIDENCE, "p_val": "0.5"}},
        {"evidence": {**_EVIDENCE, "features": None}},
        {"records": {}},
        {"records": [1]},
        {"records": [["s", "i"]]},
        {"records": [["s", "i", -1]]},
        {"records": [["s", 1, 1]]},
    ],
)
def test_parts_that_are_no_alert(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent, match="alert lacks a part or holds a bad value"):
        read_alert(_with(ALERT.event(DETECTOR), **changed))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"data":1,"meta":{}}', b"[" * 100_000, b"\xff"])
def test_data_that_is_no_alert(data: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read_alert(replace(ALERT.event(DETECTOR), data=data))


def test_a_verdict_is_no_alert() -> None:
    with pytest.raises(MalformedEvent):
        read_alert(WINDOW.event(DETECTOR))
    with pytest.raises(MalformedEvent, match="of another alert than its data"):
        read_alert(replace(ALERT.event(DETECTOR), type=ALERT_RESOLVED))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["window", "p_val", "x"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*json.loads(ALERT.event(DETECTOR).data)["data"]]), _JSON))
def test_no_value_raises_anything_but_malformed(changed: dict[str, Any]) -> None:
    with suppress(MalformedEvent):
        read_alert(_with(ALERT.event(DETECTOR), **changed))


def test_severities_are_those_of_prometheus() -> None:
    assert [severity.value for severity in Severity] == ["warning", "critical"]
