"""The JSON Schemas of verdicts and alerts: what Wayside makes is valid, and what it would not make is not."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from wayside.eventing.alert import AlertEvent, AlertState
from wayside.eventing.event import CloudEvent
from wayside.eventing.schemas import NAMES, schema
from wayside.eventing.verdict import DetectorIdentity, RowVerdict
from wayside.eventing.vocabulary import ADVERSARIAL, OUTLIER, REQUEST
from wayside.eventing.window_verdict import WindowVerdict

from .verdict_strategies import ALERT, DETECTORS, NUMBERS, SHARES, UNJUDGED, WINDOW, alert_events, window_verdicts

_VALIDATORS = {name: Draft202012Validator(schema(name)) for name in NAMES}
_SUBJECT = CloudEvent(id="1", source="/logger", type=REQUEST, time="2024-01-02T03:04:05.5Z")
_DETECTOR = DetectorIdentity("knn", "knn", "ab" * 32, 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"urn:wayside:schema:{name}"


def test_there_is_no_other() -> None:
    with pytest.raises(ValueError, match="choose one of"):
        schema("../verdict")


@pytest.mark.parametrize(("name", "type_"), [("outlier", OUTLIER), ("adversarial", ADVERSARIAL)])
@given(st.lists(st.tuples(st.none() | NUMBERS, SHARES, st.booleans()), max_size=4), NUMBERS, DETECTORS)
def test_row_verdicts_are_valid(
    name: str,
    type_: str,
    rows: list[tuple[float | None, float, bool]],
    threshold: float,
    detector: DetectorIdentity,
) -> None:
    verdict = RowVerdict(type_, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], threshold)
    _VALIDATORS[name].validate(json.loads(verdict.event(_SUBJECT, detector).data))


def test_row_verdicts_by_feature_are_valid() -> None:
    verdict = RowVerdict(OUTLIER, [1.5], [0.2], [True], 3.5, [[1.0, None]], [[False, True]])
    _VALIDATORS["outlier"].validate(json.loads(verdict.event(_SUBJECT, _DETECTOR).data))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("data", "feature_score", [0.5]), ("data", "error", [1]), ("meta", "online", "no"), ("meta", "version", 1)],
)
def test_what_need_not_be_there_is_still_of_its_type(part: str, name: str, value: object) -> None:
    document = copy.deepcopy(_ROW_DATA)
    document[part][name] = value
    with pytest.raises(ValidationError):
        _VALIDATORS["outlier"].validate(document)


@settings(max_examples=40)
@given(window_verdicts(), DETECTORS)
def test_window_verdicts_are_valid(verdict: WindowVerdict, detector: DetectorIdentity) -> None:
    _VALIDATORS["drift"].validate(json.loads(verdict.event(detector).data))


@settings(max_examples=40)
@given(alert_events(), DETECTORS)
def test_alerts_are_valid(alert: AlertEvent, detector: DetectorIdentity) -> None:
    _VALIDATORS["alert"].validate(json.loads(alert.event(detector).data))


_ROW_DATA = json.loads(RowVerdict(OUTLIER, [1.5, None], [0.2, 0.0], [False, True], 3.5).event(_SUBJECT, _DETECTOR).data)
_WINDOW_DATA = json.loads(WINDOW.event(_DETECTOR).data)
_UNJUDGED_DATA = json.loads(UNJUDGED.event(_DETECTOR).data)
_ALERT = json.loads(ALERT.event(_DETECTOR).data)
_RESOLVED = json.loads(
    replace(ALERT, state=AlertState.RESOLVED, resolved="2024-01-02T03:04:05Z", quiet=2).event(_DETECTOR).data
)


@pytest.mark.parametrize(
    ("name", "document", "place", "value"),
    [
        ("outlier", _ROW_DATA, ("data", "is_outlier"), None),
        ("outlier", _ROW_DATA, ("data", "is_outlier"), [2]),
        ("outlier", _ROW_DATA, ("data", "is_outlier"), 1),
        ("outlier", _ROW_DATA, ("data", "is_outlier"), [1, [0, 1]]),
        ("outlier", _ROW_DATA, ("data", "is_outlier"), [[0, 2]]),
        ("outlier", _ROW_DATA, ("data", "instance_score"), ["high"]),
        ("outlier", _ROW_DATA, ("data", "p_value"), [1.5]),
        ("outlier", _ROW_DATA, ("data", "p_value"), [None]),
        ("outlier", _ROW_DATA, ("data", "threshold"), "3"),
        ("outlier", _ROW_DATA, ("meta", "alpha"), "1"),
        ("outlier", _ROW_DATA, ("meta",), None),
        ("outlier", _ROW_DATA, ("meta", "alpha"), 1.5),
        ("outlier", _ROW_DATA, ("meta", "name"), ""),
        ("outlier", _ROW_DATA, ("meta", "artifact_digest"), "sha256:" + "ab" * 32),
        ("outlier", _ROW_DATA, ("meta", "artifact_digest"), "ab" * 31),
        ("drift", _WINDOW_DATA, ("data", "is_drift"), [1]),
        ("drift", _WINDOW_DATA, ("data", "p_val"), -0.1),
        ("drift", _WINDOW_DATA, ("data", "threshold"), 2),
        ("drift", _WINDOW_DATA, ("data", "feature_p_val"), None),
        ("drift", _WINDOW_DATA, ("data", "window"), {"first": 0, "end": 0}),
        ("drift", _WINDOW_DATA, ("data", "members"), [["", "i", 0, 1, "2024-01-02T03:04:05Z"]]),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 0, "2024-01-02T03:04:05Z"]]),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 1, "\u0662024-01-02T03:04:05Z"]]),
        ("drift", _WINDOW_DATA, ("data", "distance"), None),
        ("drift", _WINDOW_DATA, ("data", "window"), {"first": 0}),
        ("drift", _WINDOW_DATA, ("data", "window"), {"first": -1, "end": 1}),
        ("drift", _WINDOW_DATA, ("data", "members"), []),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 1]]),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 1, "noon"]]),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 1.5, "2024-01-02T03:04:05Z"]]),
        ("drift", _WINDOW_DATA, ("data", "members"), [["s", "i", 0, 1, "2024-01-02T03:04:05Z", 5]]),
        ("drift", _WINDOW_DATA, ("data", "is_drift"), None),
        ("drift", _WINDOW_DATA, ("data", "p_val"), None),
        ("drift", _UNJUDGED_DATA, ("data", "is_drift"), 0),
        ("drift", _WINDOW_DATA, ("data", "budget", "spent"), 2),
        ("drift", _WINDOW_DATA, ("data", "budget", "total"), -1),
        ("drift", _WINDOW_DATA, ("data", "window", "rows"), None),
        ("drift", _WINDOW_DATA, ("data", "features", 0, "p_val"), 1.5),
        ("drift", _WINDOW_DATA, ("data", "features", 0, "reference"), [1.0]),
        ("drift", _WINDOW_DATA, ("data", "features", 1, "window"), {"red": 2}),
        ("drift", _WINDOW_DATA, ("data", "missing", "dropped"), -1),
        ("drift", _WINDOW_DATA, ("data", "tests", 0, "name"), None),
        ("drift", _WINDOW_DATA, ("data", "comparison", "stable"), None),
        ("drift", _WINDOW_DATA, ("data", "comparison", "groups", 0, "is_drift"), None),
        ("alert", _ALERT, ("data", "alert"), "x"),
        ("alert", _ALERT, ("data", "state"), "closed"),
        ("alert", _ALERT, ("data", "state"), "resolved"),
        ("alert", _RESOLVED, ("data", "resolved"), None),
        ("alert", _RESOLVED, ("data", "quiet"), 0),
        ("alert", _ALERT, ("data", "severity"), "high"),
        ("alert", _ALERT, ("data", "opened"), None),
        ("alert", _ALERT, ("data", "opened"), "2024-01-02"),
        ("alert", _ALERT, ("data", "windows"), 0),
        ("alert", _ALERT, ("data", "digest"), "sha256"),
        ("alert", _ALERT, ("data", "evidence", "p_val"), 2),
        ("alert", _ALERT, ("data", "evidence", "window"), {"first": 0}),
        ("alert", _ALERT, ("data", "evidence", "budget"), None),
        ("alert", _ALERT, ("data", "records"), [["s", "i", 0]] * 21),
        ("alert", _ALERT, ("data", "records"), [["s", "i"]]),
        ("alert", _ALERT, ("meta",), None),
    ],
)
def test_bad_ones_are_not(name: str, document: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    _VALIDATORS[name].validate(document)
    changed = copy.deepcopy(document)
    inner: Any = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValidationError):
        _VALIDATORS[name].validate(changed)
    inner.pop(place[-1])
    with pytest.raises(ValidationError):
        _VALIDATORS[name].validate(changed)
