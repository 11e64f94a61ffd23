"""Detectors' results: alibi-detect's, from Seldon's logs, and Wayside's own."""

import json
from typing import Any

import pytest

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, Limits, Protocol
from wayside.eventing.payloads.protocols import detector_results

LIMITS = Limits()
OUTLIER = {
    "data": {
        "is_outlier": [0, 1],
        "instance_score": [0.1, None],
        "feature_score": None,
        "p_value": [0.5, 0.0],
        "threshold": 0.2,
    },
    "meta": {"name": "knn", "detector_type": "knn", "artifact_digest": "00", "alpha": 0.01},
}


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (
            OUTLIER["data"],
            [
                {"is_outlier": 0, "instance_score": 0.1, "p_value": 0.5, "threshold": 0.2},
                {"is_outlier": 1, "instance_score": None, "p_value": 0.0, "threshold": 0.2},
            ],
        ),
        (
            {"is_outlier": [[0, 1]], "feature_score": [[0.1, 0.9]]},
            [{"is_outlier": [0, 1], "feature_score": [0.1, 0.9]}],
        ),
        ({"is_outlier": 1, "instance_score": [0.5]}, [{"is_outlier": 1, "instance_score": 0.5}]),
        ({"is_outlier": []}, []),
        ({"is_adversarial": [1], "threshold": None}, [1]),
        (
            {"is_drift": 0, "distance": [0.1, 0.2], "p_val": [0.9, 0.8], "threshold": 0.05},
            [{"is_drift": 0, "distance": [0.1, 0.2], "p_val": [0.9, 0.8], "threshold": 0.05}],
        ),
        ({"is_drift": [0, 1], "p_val": [0.9, 0.8]}, [{"is_drift": [0, 1], "p_val": [0.9, 0.8]}]),
        ({"is_drift": 1, "members": [{"id": "a"}]}, [{"is_drift": 1, "members": [{"id": "a"}]}]),
    ],
)
def test_results(data: Any, rows: list[Any]) -> None:
    for tree in ({"data": data, "meta": {"name": "d"}}, json.dumps({"data": data, "meta": {"name": "d"}})):
        assert detector_results.claims(tree)
        payload = detector_results.read(tree, None, LIMITS)
        assert (payload.protocol, payload.kind, payload.model) == (Protocol.DETECTOR, Kind.VERDICT, "d")
        assert payload.row_values() == rows


@pytest.mark.parametrize(
    ("tree", "kind", "reason"),
    [
        ([], None, "an object with 'data'"),
        ({"data": []}, None, "an object with 'data'"),
        ({"data": {}}, None, "'data' has none of is_outlier, is_adversarial, is_drift"),
        ({"data": {"is_outlier": None}}, None, "'data' has none of"),
        ({"data": {"is_outlier": "yes"}}, None, "a decision is a text"),
        ({"data": {"is_outlier": [0, 1], "instance_score": [0.5]}}, None, "columns differ in rows"),
        ({"data": {"is_outlier": [0], **{str(n): n for n in range(64)}}}, None, "65 members, the limit is 64"),
        ({"data": {"is_outlier": [0, 1], "why": "x"}}, None, "'why' is a text, expected a number"),
        ({"data": {"is_outlier": [0], **{str(n): n for n in range(9)}}}, None, "9 members that are no lists"),
        (OUTLIER, Kind.REQUEST, "a request was expected, and the body is a detector's result"),
        ('{"data": {"is_outlier": [0]', None, "body is not JSON"),
        ('{"is_outlier": 1, "is_outlier": 1}', None, "given twice"),
        (json.dumps(json.dumps(OUTLIER)), None, "an object with 'data'"),
    ],
)
def test_refusals(tree: Any, kind: Kind | None, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        detector_results.read(tree, kind, LIMITS)


@pytest.mark.parametrize(
    "tree", [None, "text", "{}", '["is_outlier"]', {}, {"data": {"ndarray": [1]}}, {"data": {"anchor": []}, "meta": {}}]
)
def test_other_documents_are_not_claimed(tree: Any) -> None:
    assert not detector_results.claims(tree)
