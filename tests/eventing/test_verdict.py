"""Verdicts as events: equal at every delivery, read back whole, and never read from what is no verdict."""

import json
import math
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.pairs.subject import Role, Subject, role_of, subject_of
from wayside.eventing.verdict import DetectorIdentity, RowVerdict, finite_or_none, read_row_verdict
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    DRIFT,
    OUTLIER,
    REQUEST,
    RESPONSE,
    SELDON_REQUEST,
    ServiceKey,
    request_time,
)
from wayside.eventing.window_verdict import RowRange, WindowVerdict, read_window_verdict

_KEY = ServiceKey("ns", "digits", "predictor", "")
_DETECTOR = DetectorIdentity("knn", "knn", "ab" * 32, 0.01)
_SUBJECT = CloudEvent(
    id="1", source="/logger", type=REQUEST, time="2024-01-02T03:04:05.5Z", extensions=_KEY.extensions(), data=b"{}"
)
_ROWS = RowVerdict(OUTLIER, [1.5, None], [0.25, 0.001], [False, True], 3.5)
_TIME = "2024-01-02T03:04:05Z"
_WINDOW = WindowVerdict(
    key=_KEY,
    first=100,
    end=200,
    time="2024-01-02T03:04:05Z",
    is_drift=True,
    p_value=0.01,
    threshold=0.05,
    distance=0.5,
    feature_distance=[0.5, 0.25],
    feature_p_value=[0.01, 0.5],
    members=[RowRange("/logger", "1", 3, 50, _TIME), RowRange("/logger", "2", 0, 53, _TIME)],
)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def test_a_row_verdict_names_its_subject_and_takes_its_time() -> None:
    event = _ROWS.event(_SUBJECT, _DETECTOR)
    assert (event.type, event.time, event.source) == (OUTLIER, _SUBJECT.time, "/wayside/detectors/knn")
    assert subject_of(event) == Subject("/logger", "1") == subject_of(_SUBJECT)
    assert ServiceKey.of(event) == _KEY
    assert request_time(event) == _SUBJECT.time
    assert json.loads(event.data)["data"]["is_outlier"] == [0, 1]


def test_the_same_subject_gives_the_same_event() -> None:
    first = _ROWS.event(_SUBJECT, _DETECTOR)
    assert first == _ROWS.event(_SUBJECT.with_extensions(knativebrokerttl="254"), _DETECTOR)
    assert first.digest == _ROWS.event(_SUBJECT, _DETECTOR).digest
    assert _WINDOW.event(_DETECTOR) == _WINDOW.event(_DETECTOR)


def test_whatever_tells_verdicts_apart_is_in_the_id() -> None:
    others = [
        _ROWS.event(replace(_SUBJECT, id="2"), _DETECTOR),
        _ROWS.event(replace(_SUBJECT, source="/other"), _DETECTOR),
        _ROWS.event(replace(_SUBJECT, type=RESPONSE), _DETECTOR),
        _ROWS.event(_SUBJECT, replace(_DETECTOR, name="iforest")),
        _ROWS.event(_SUBJECT, replace(_DETECTOR, digest="cd" * 32)),
        _ROWS.event(_SUBJECT, _DETECTOR),
        _WINDOW.event(_DETECTOR),
        replace(_WINDOW, first=101).event(_DETECTOR),
        replace(_WINDOW, end=201).event(_DETECTOR),
        replace(_WINDOW, key=replace(_KEY, service="x")).event(_DETECTOR),
        replace(_WINDOW, members=_WINDOW.members[:1]).event(_DETECTOR),
    ]
    assert len({event.id for event in others}) == len(others)


@given(st.sampled_from([OUTLIER, ADVERSARIAL]), st.lists(st.tuples(st.none() | _NUMBERS, _NUMBERS, st.booleans())))
def test_a_row_verdict_reads_back(kind: str, rows: list[tuple[float | None, float, bool]]) -> None:
    verdict = RowVerdict(kind, [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], 2.5)
    assert read_row_verdict(verdict.event(_SUBJECT, _DETECTOR)) == verdict


@given(
    st.integers(0, 2**62 - 1),
    st.integers(0, 2**62 - 1),
    st.booleans(),
    _NUMBERS,
    st.lists(_NUMBERS),
    st.text('aé/"', min_size=1),
)
def test_a_window_verdict_reads_back(
    first: int, rows: int, is_drift: bool, value: float, features: list[float], name: str
) -> None:
    verdict = replace(
        _WINDOW,
        first=first,
        end=first + rows,
        is_drift=is_drift,
        p_value=value,
        feature_distance=features,
        members=[RowRange(name, name, first, first + rows, _TIME)],
    )
    assert read_window_verdict(verdict.event(_DETECTOR)) == verdict


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(st.tuples(st.none() | _NUMBERS, st.booleans()), min_size=width, max_size=width), min_size=1
        )
    ),
    st.floats(0.0, 2 * _DETECTOR.alpha),
)
def test_a_row_verdict_by_feature_reads_back_and_flags_a_row_by_its_p_value(
    rows: list[list[tuple[float | None, bool]]], p_value: float
) -> None:
    flags = [[flag for _, flag in row] for row in rows]
    is_flagged = p_value <= _DETECTOR.alpha
    verdict = RowVerdict(
        *(OUTLIER, [1.0] * len(rows), [p_value] * len(rows), [is_flagged] * len(rows), 2.5),
        feature_scores=[[score for score, _ in row] for row in rows],
        feature_decisions=flags,
    )
    event = verdict.event(_SUBJECT, _DETECTOR)
    assert read_row_verdict(event) == verdict
    assert json.loads(event.data)["data"]["is_outlier"] == flags


@pytest.mark.parametrize("rows", [0, 4095, 4096, 4097, 10_000])
def test_long_verdicts_are_written_as_short_ones(rows: int) -> None:
    verdict = RowVerdict(
        *(OUTLIER, [row / 7 for row in range(rows)], [1 / (row + 1) for row in range(rows)], [True] * rows, 2.5),
        feature_scores=[[float(row), None] for row in range(rows)],
    )
    data = verdict.event(_SUBJECT, _DETECTOR).data
    assert data.startswith(b'{"data":%b,"meta":' % json.dumps(verdict.data(), separators=(",", ":")).encode())


def test_only_a_verdict_with_a_row_without_a_score_has_errors() -> None:
    data = json.loads(_ROWS.event(_SUBJECT, _DETECTOR).data)["data"]
    assert (data["instance_score"], data["error"][0], "no finite score" in data["error"][1]) == (
        [1.5, None],
        None,
        True,
    )
    assert "error" not in replace(_ROWS, scores=[1.5, 2.5]).data()


def test_a_row_verdict_is_what_its_constructor_would_have_checked() -> None:
    event = _ROWS.event(_SUBJECT, replace(_DETECTOR, online=True, version="1.2"))
    assert CloudEvent(**asdict(event)) == event
    meta = json.loads(event.data)["meta"]
    assert (meta["online"], meta["data_type"], meta["version"]) == (True, "tabular", "1.2")


_BAD_DATA = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"data"',
    b"{}",
    b'{"data":[]}',
    b'{"data":null}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("data", _BAD_DATA)
def test_data_that_is_no_verdict(data: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read_row_verdict(replace(_ROWS.event(_SUBJECT, _DETECTOR), data=data))
    with pytest.raises(MalformedEvent):
        read_window_verdict(replace(_WINDOW.event(_DETECTOR), data=data))


def _with(event: CloudEvent, **changed: Any) -> CloudEvent:
    body = json.loads(event.data)
    body["data"].update(changed)
    return replace(event, data=json.dumps(body).encode())


_NO_NUMBERS = [None, "1", True, [], {}, math.nan, math.inf, 10**400]


@pytest.mark.parametrize(
    "changed",
    [
        {"instance_score": [1.0]},
        {"instance_score": 1.0},
        {"instance_score": "ab"},
        {"is_outlier": ["no", "yes"]},
        {"is_outlier": [0, 2]},
        {"is_outlier": [0, None]},
        {"p_value": [None, 0.5]},
        {"p_value": {}},
        *({"p_value": [0.5, bad]} for bad in _NO_NUMBERS),
        *({"threshold": bad} for bad in _NO_NUMBERS),
        {"is_outlier": [[0], 1]},
        {"is_outlier": [[0]]},
        {"is_outlier": [[0]] * 3},
        {"is_outlier": [[0], [None]]},
    ],
)
def test_columns_that_are_no_row_verdict(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        read_row_verdict(_with(_ROWS.event(_SUBJECT, _DETECTOR), **changed))


_NO_POSITIONS = [None, "1", True, -1, 1.5, 2**63, [], math.inf]


@pytest.mark.parametrize(
    "changed",
    [
        *({"window": {"first": bad, "end": 2}} for bad in _NO_POSITIONS),
        {"window": {"first": 1}},
        {"window": [1, 2]},
        *({"p_val": bad} for bad in _NO_NUMBERS),
        {"is_drift": "yes"},
        {"feature_distance": "abc"},
        {"feature_p_val": [None]},
        {"members": None},
        {"members": [1]},
        {"members": ["abcd"]},
        {"members": [["s", "i", 0, 1]]},
        {"members": [["s", "i", 0, 1, _TIME, 2]]},
        {"members": [["s", "i", 0, 1, "yesterday"]]},
        {"members": [["s", "i", 0, 1, None]]},
        {"members": [[1, "i", 0, 1, _TIME]]},
        *({"members": [["s", "i", 0, bad, _TIME]]} for bad in _NO_POSITIONS),
    ],
)
def test_parts_that_are_no_window_verdict(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        read_window_verdict(_with(_WINDOW.event(_DETECTOR), **changed))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["first", "end", "x"]), inner),
    max_leaves=6,
)
_NAMES = ["is_outlier", "instance_score", "p_value", "threshold", "window", "members", "is_drift", "feature_distance"]


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_no_value_raises_anything_but_malformed(changed: dict[str, Any]) -> None:
    with suppress(MalformedEvent):
        read_row_verdict(_with(_ROWS.event(_SUBJECT, _DETECTOR), **changed))
    with suppress(MalformedEvent):
        read_window_verdict(_with(_WINDOW.event(_DETECTOR), **changed))


def test_an_event_that_is_no_row_verdict_is_not_read_as_one() -> None:
    with pytest.raises(MalformedEvent):
        read_row_verdict(_WINDOW.event(_DETECTOR))


@pytest.mark.parametrize("time", ["", "yesterday"])
def test_a_subject_with_a_time_that_is_none_gets_no_verdict(time: str) -> None:
    with pytest.raises(MalformedEvent):
        _ROWS.event(replace(_SUBJECT, time=time), _DETECTOR)


def test_a_subject_without_a_time_gets_a_verdict_without_one() -> None:
    event = _ROWS.event(replace(_SUBJECT, time=None), _DETECTOR)
    assert (event.time, "requesttime" in event.extensions) == (None, False)
    with pytest.raises(MalformedEvent, match="neither 'time' nor 'requesttime'"):
        request_time(event)


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.5+02:00", "2026-01-02T03:04:05.5+02:00"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000000000Z"),
        ("2026-12-31T23:59:60.25Z", "2027-01-01T00:00:00.250000000Z"),
    ],
)
def test_a_verdicts_time_is_one_that_every_reader_takes(told: str, written: str) -> None:
    event = _ROWS.event(replace(_SUBJECT, time=told), _DETECTOR)
    assert (event.time, event.extensions["requesttime"]) == (written, written)


def test_a_verdict_with_parts_that_were_asked_for_has_an_id_of_its_own() -> None:
    scores, decisions = [[1.0], [2.0]], [[False], [True]]
    verdicts = [
        replace(_ROWS, feature_scores=feature_scores, feature_decisions=feature_decisions)
        for feature_scores in (None, scores)
        for feature_decisions in (None, decisions)
    ]
    ids = [verdict.event(_SUBJECT, _DETECTOR).id for verdict in verdicts]
    assert ids[0] == _ROWS.event(_SUBJECT, _DETECTOR).id
    assert len(set(ids)) == 4


def test_what_is_wrong_with_a_row_is_told_where_it_is_known() -> None:
    rows = replace(_ROWS, scores=[None, None], errors={1: "column 'x': the value is missing"})
    errors = json.loads(rows.event(_SUBJECT, _DETECTOR).data)["data"]["error"]
    assert errors == ["the row has no finite score: it is flagged unseen", "column 'x': the value is missing"]


def test_a_verdict_on_a_request_of_seldons_joins_its_record() -> None:
    seldon = replace(_SUBJECT, type=SELDON_REQUEST, extensions={**_KEY.extensions(), "requestid": "puid"})
    assert subject_of(_ROWS.event(seldon, _DETECTOR)) == subject_of(seldon)
    nameless = replace(_SUBJECT, type=SELDON_REQUEST)
    assert subject_of(_ROWS.event(nameless, _DETECTOR)) == Subject(nameless.source, nameless.id)


def test_a_score_that_is_not_finite_is_none() -> None:
    assert [finite_or_none(value) for value in (1.5, math.nan, math.inf, -math.inf)] == [1.5, None, None, None]


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        (REQUEST, Role.REQUEST),
        (RESPONSE, Role.RESPONSE),
        (OUTLIER, Role.OUTLIER),
        (ADVERSARIAL, Role.ADVERSARIAL),
        (DRIFT, Role.DRIFT),
        ("com.example.other", None),
    ],
)
def test_the_role_of_an_event(kind: str, role: Role | None) -> None:
    assert role_of(replace(_SUBJECT, type=kind)) is role


@pytest.mark.parametrize("missing", ["subjectsource", "subjectid"])
def test_a_verdict_that_names_no_subject_joins_nothing(missing: str) -> None:
    event = _ROWS.event(_SUBJECT, _DETECTOR)
    with pytest.raises(MalformedEvent, match="subject"):
        subject_of(event.with_extensions(**{missing: None}))
    with pytest.raises(MalformedEvent, match="subject"):
        subject_of(event.with_extensions(**{missing: ""}))
