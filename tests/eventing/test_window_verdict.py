"""Window verdicts as events: what a window was judged by is told, and read back whole or not at all."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.schemas import schema
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.vocabulary import REVISION, ServiceKey
from wayside.eventing.window_findings import Findings, MovedFeature, Spending
from wayside.eventing.window_verdict import RowRange, WindowVerdict, read_window_verdict

from .verdict_strategies import DETECTOR, DETECTORS, KEY, TIME, UNJUDGED, WINDOW, window_verdicts


@given(window_verdicts(), DETECTORS)
def test_a_window_verdict_reads_back(verdict: WindowVerdict, detector: DetectorIdentity) -> None:
    event = verdict.event(detector)
    again = read_window_verdict(event)
    assert again == verdict
    assert again.event(detector) == event


def test_what_a_window_verdict_says() -> None:
    data = json.loads(WINDOW.event(DETECTOR).data)["data"]
    assert list(data) == [
        *("is_drift", "p_val", "threshold", "distance", "feature_distance", "feature_p_val", "window", "budget"),
        *("reference", "features", "missing", "tests", "comparison", "members"),
    ]
    assert data["window"] == {
        "first": 100,
        "end": 200,
        "rows": 100,
        "from": "2024-01-02T03:00:00Z",
        "to": "2024-01-02T03:04:05Z",
    }
    assert data["budget"] == {"level": 0.05, "spent": 0.05, "total": 1.25}
    assert data["features"][1] == {
        "name": "colour",
        "is_drift": 0,
        "distance": 0.2,
        "p_val": 0.1,
        "reference": {"red": 0.5, "blue": 0.25},
        "window": {"red": 0.25, "blue": 0.5},
    }
    assert data["missing"] == {"rows": 3, "dropped": 2}
    assert data["tests"][0] == {"name": "ks", "is_drift": 1, "p_val": 0.02, "distance": 0.5}
    assert data["comparison"]["groups"][0]["error"] == "2 rows are the least"


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [(WINDOW, "drift"), (replace(WINDOW, is_drift=False), "no_drift"), (UNJUDGED, "unjudged")],
)
def test_the_outcome_of_a_window(verdict: WindowVerdict, outcome: str) -> None:
    assert read_window_verdict(verdict.event(DETECTOR)).outcome == verdict.outcome == outcome


def test_a_window_that_was_not_judged_is_neither_drift_nor_none() -> None:
    data = json.loads(UNJUDGED.event(DETECTOR).data)["data"]
    assert (data["is_drift"], data["p_val"], data["distance"]) == (None, None, None)
    assert data["error"] == "1 rows to test, and 2 are the least"


def test_members_that_need_not_be_there_are_not() -> None:
    plain = replace(WINDOW, revision="", stretch=None, spending=None, reference="", findings=Findings())
    event = plain.event(DETECTOR)
    data = json.loads(event.data)["data"]
    assert not {"error", "budget", "reference", "features", "missing", "tests", "comparison"} & set(data)
    assert REVISION not in event.extensions
    assert read_window_verdict(event) == plain


def test_a_revision_is_part_of_the_key() -> None:
    others = [WINDOW, *(replace(WINDOW, revision=revision) for revision in ("", "digits-00001", "a/b"))]
    assert len({each.event(DETECTOR).id for each in others}) == len({each.series for each in others}) == 4
    assert WINDOW.event(DETECTOR).extensions[REVISION] == "digits-00002"


@pytest.mark.parametrize(
    ("key", "revision"),
    [
        (ServiceKey("a", "b", "c", "d/e"), ""),
        (ServiceKey("a", "b", "c", "d"), "e"),
        (ServiceKey("a", "b", "c", ""), "d/e"),
    ],
)
def test_no_two_series_share_a_name(key: ServiceKey, revision: str) -> None:
    series = {replace(WINDOW, key=key, revision=revision).series for _ in range(2)}
    assert len(series) == 1
    assert series.isdisjoint({replace(WINDOW, key=KEY, revision=revision).series})
    assert series.pop().count("/") == 3 + bool(revision)


def test_a_zero_has_no_sign() -> None:
    feature = MovedFeature("a", True, -0.0, -0.0, (-0.0,) * 5, {"x": -0.0})
    verdict = replace(
        WINDOW,
        p_value=-0.0,
        threshold=-0.0,
        distance=-0.0,
        feature_distance=[-0.0],
        feature_p_value=[-0.0],
        spending=Spending(-0.0, -0.0, -0.0),
        findings=Findings((feature,)),
    )
    assert b"-0.0" not in verdict.event(DETECTOR).data


def _of_members(count: int, name: str = "") -> WindowVerdict:
    return replace(WINDOW, members=[RowRange("/logger", f"{at}{name}", 0, 1, TIME) for at in range(count)])


@pytest.mark.parametrize(
    ("verdict", "ends"),
    [
        pytest.param(_of_members(20_000), None, id="as many as are told"),
        pytest.param(_of_members(20_001), 1000, id="one too many"),
        pytest.param(_of_members(50_000, "-4a3b1c5e-0000-4000-8000"), 1000, id="many single rows"),
        pytest.param(_of_members(300, "x" * 60_000), 18, id="long names"),
        pytest.param(_of_members(5000, "\u0416" * 512), 500, id="names of a kilobyte"),
    ],
)
def test_members_that_no_carrier_takes_are_left_out(verdict: WindowVerdict, ends: int | None) -> None:
    event = verdict.event(DETECTOR)
    again = read_window_verdict(event)
    assert len(event.data) < 5 << 20
    assert (again.range, again.event(DETECTOR)) == (verdict.range, event)
    if ends is None:
        assert again == verdict
        return
    assert list(again.members) == [*verdict.members[:ends], *verdict.members[-ends:]]
    assert again.members_left_out == len(verdict.members) - 2 * ends
    told = [[each.source, each.id, each.first_row, each.end_row, each.time] for each in verdict.members]
    assert again.members_digest == hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()
    Draft202012Validator(schema("drift")).validate(json.loads(event.data))


def _with(event: CloudEvent, **changed: Any) -> CloudEvent:
    body = json.loads(event.data)
    body["data"].update(changed)
    return replace(event, data=json.dumps(body).encode())


@pytest.mark.parametrize(
    "changed",
    [
        {"is_drift": None},
        {"p_val": None},
        {"distance": None},
        {"error": 1},
        {"error": "x", "p_val": "1"},
        {"budget": {"level": 1}},
        {"budget": []},
        {"reference": None},
        {"features": {}},
        {"features": [{}]},
        {"features": [{**WINDOW.findings.features[0].to_json(), "window": "abc"}]},
        {"features": [{**WINDOW.findings.features[0].to_json(), "window": {"x": None}}]},
        {"missing": {"rows": -1, "dropped": 0}},
        {"missing": 3},
        {"members_left_out": -1},
        {"members_digest": 5},
        {"tests": [{"name": 1}]},
        {"comparison": {"stable": "a", "rows": 1, "groups": 5}},
        {"window": {"first": 0, "end": 1, "from": "noon", "to": "noon"}},
        {"window": {"first": 0, "end": 1, "from": "2024-01-02T03:04:05Z"}},
    ],
)
def test_parts_that_are_no_window_verdict(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent, match="window verdict lacks a part or holds a bad value"):
        read_window_verdict(_with(WINDOW.event(DETECTOR), **changed))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "groups", "x"]), inner),
    max_leaves=6,
)
_NAMES = ["error", "budget", "reference", "features", "missing", "tests", "comparison", "window", "is_drift", "p_val"]


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON))
def test_no_value_raises_anything_but_malformed(changed: dict[str, Any]) -> None:
    with suppress(MalformedEvent):
        read_window_verdict(_with(WINDOW.event(DETECTOR), **changed))
