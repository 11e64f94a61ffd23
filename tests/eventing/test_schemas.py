"""The JSON Schemas of verdicts and alerts: what Wayside makes is valid, and what it would not make is not."""

import copy
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from wayside.eventing.event import CloudEvent
from wayside.eventing.schemas import NAMES, schema
from wayside.eventing.verdict import DetectorIdentity, RowRange, RowVerdict, WindowVerdict
from wayside.eventing.vocabulary import ADVERSARIAL, OUTLIER, REQUEST, ServiceKey
from wayside.sinks.alerts import Alert, WindowRow, alerts_of

_VALIDATORS = {name: Draft202012Validator(schema(name)) for name in NAMES}
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_SHARES = st.floats(0, 1)
_POSITIONS = st.integers(0, (1 << 63) - 1)
_ENDS = st.integers(1, (1 << 63) - 1)
_NAMES = st.text(min_size=1, max_size=3)
_TIMES = st.sampled_from(["2024-01-02T03:04:05Z", "2024-01-02T03:04:05.123456789+05:30", "2024-01-02t03:04:05z"])
_KEYS = st.builds(ServiceKey, st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))
_DETECTORS = st.builds(DetectorIdentity, _NAMES, st.just("knn"), st.just("ab" * 32), _SHARES)
_MEMBERS = st.builds(RowRange, _NAMES, _NAMES, _POSITIONS, _ENDS, _TIMES)
_WINDOWS = st.builds(
    WindowVerdict,
    key=_KEYS,
    first=_POSITIONS,
    end=_ENDS,
    time=_TIMES,
    is_drift=st.booleans(),
    p_value=_SHARES,
    threshold=_SHARES,
    distance=_NUMBERS,
    feature_distance=st.lists(_NUMBERS, min_size=1, max_size=3),
    feature_p_value=st.lists(_SHARES, min_size=1, max_size=3),
    members=st.lists(_MEMBERS, min_size=1, max_size=3),
)
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
@given(st.lists(st.tuples(st.none() | _NUMBERS, _SHARES, st.booleans()), max_size=4), _NUMBERS, _DETECTORS)
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


@given(_WINDOWS, _DETECTORS)
def test_window_verdicts_are_valid(verdict: WindowVerdict, detector: DetectorIdentity) -> None:
    _VALIDATORS["drift"].validate(json.loads(verdict.event(detector).data))


@given(st.lists(st.tuples(st.booleans(), _SHARES, _TIMES), max_size=6))
def test_alerts_are_valid(windows: list[tuple[bool, float, str]]) -> None:
    rows = [WindowRow("ns", "s", "", "", "ks", 0, 9, time, p, 0.05, 0.5, drift) for drift, p, time in windows]
    for alert in alerts_of(rows):
        _VALIDATORS["alert"].validate(asdict(alert))


_ROW_DATA = json.loads(RowVerdict(OUTLIER, [1.5, None], [0.2, 0.0], [False, True], 3.5).event(_SUBJECT, _DETECTOR).data)
_MEMBER = RowRange("/logger", "1", 3, 50, "2024-01-02T03:04:05Z")
_WINDOW = WindowVerdict(
    ServiceKey("ns", "s", "", ""), 0, 9, "2024-01-02T03:04:05Z", True, 0.01, 0.05, 0.5, [0.5], [0.01], [_MEMBER]
)
_WINDOW_DATA = json.loads(_WINDOW.event(_DETECTOR).data)
_ALERT = asdict(Alert("ns", "s", "", "", "ks", "2024-01-02T03:04:05Z", None, 0.01, 1))


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
        ("drift", _WINDOW_DATA, ("data", "feature_p_val"), []),
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
        ("alert", _ALERT, ("opened",), None),
        ("alert", _ALERT, ("opened",), "2024-01-02"),
        ("alert", _ALERT, ("windows",), 0),
        ("alert", _ALERT, ("p_value",), 2),
        ("alert", _ALERT, ("severity",), "high"),
    ],
)
def test_bad_ones_are_not(name: str, document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    _VALIDATORS[name].validate(document)
    changed = copy.deepcopy(document)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValidationError):
        _VALIDATORS[name].validate(changed)
    inner.pop(place[-1])
    if place[-1] != "severity":
        with pytest.raises(ValidationError):
            _VALIDATORS[name].validate(changed)
