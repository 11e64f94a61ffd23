"""V1 bodies: rows, objects, columns, base64, and the oddities of KServe's frame servers."""

from typing import Any

import pytest

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, Limits, Protocol
from wayside.eventing.payloads.protocols import v1

LIMITS = Limits()
PNG = "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAw0lEQVR4nGNgGFggVVj4"


@pytest.mark.parametrize(
    ("body", "kind", "rows"),
    [
        ({"instances": [[6.8, 2.8], [6.0, 3.4]]}, "request", [[6.8, 2.8], [6.0, 3.4]]),
        ({"instances": [1.5, "a", None, {"x": 1}]}, "request", [1.5, "a", None, {"x": 1}]),
        ({"instances": []}, "request", []),
        ({"inputs": []}, "request", []),
        ({"parameters": {}, "instances": [[1]], "inputs": []}, "request", [[1]]),
        ({"signature_name": "s", "instances": ["q"]}, "request", ["q"]),
        ({"predictions": [1, 2]}, "response", [1, 2]),
        ({"predictions": [{"label": "cat"}]}, "response", [{"label": "cat"}]),
        ({"predictions": {"label": "cat", "score": 0.5}}, "response", [{"label": "cat", "score": 0.5}]),
        ({"predictions": {"a": [1, 2], "b": [3, 4]}}, "response", [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        ({"predictions": [], "explanations": [[0.1]]}, "response", [[0.1]]),
        ({"predictions": [1], "explanations": [[0.1]]}, "response", [1]),
        ({"inputs": "a text", "parameters": {}}, "request", ["a text"]),
        ({"inputs": ["a", "b"]}, "request", ["a", "b"]),
        ({"inputs": {"a": [1, 2], "b": ["x", "y"]}}, "request", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ({"outputs": {"scores": [[0.1, 0.9]], "classes": ["a"]}}, "response", [{"scores": [0.1, 0.9], "classes": "a"}]),
        ({"outputs": [[1.5], [2.5]]}, "response", [[1.5], [2.5]]),
        ({"examples": [{"a": 1}, {"a": 2}]}, "request", [{"a": 1}, {"a": 2}]),
        ({"results": [[["cat", 0.9]], [["dog", 0.6]]]}, "response", [[["cat", 0.9]], [["dog", 0.6]]]),
        ({"inputs": [{"a": [5.1], "b": [3.5]}]}, "request", [{"a": 5.1, "b": 3.5}]),
        ({"inputs": [{"a": [1, 2]}, {"a": [3]}]}, "request", [{"a": 1}, {"a": 2}, {"a": 3}]),
        ({"instances": [{"a": [1, 2]}, {"a": [3, 4]}]}, "request", [{"a": [1, 2]}, {"a": [3, 4]}]),
        ({"inputs": [[{"a": 1}, {"b": 2}]]}, "request", [{"a": 1, "b": 2}]),
        ({"inputs": [[{"a": 1, "b": 2}, {"a": 3, "b": 4}]]}, "request", [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ({"inputs": [[{"a": 1}, {"a": 2, "b": 3}]]}, "request", [[{"a": 1}, {"a": 2, "b": 3}]]),
        ({"inputs": {"b64": "aGk="}}, "request", [{"b64": "aGk="}]),
    ],
)
def test_rows(body: Any, kind: str, rows: list[Any]) -> None:
    assert v1.claims(body)
    payload = v1.read(body, None, LIMITS)
    assert (payload.protocol, payload.kind, payload.rows) == (Protocol.V1, kind, len(rows))
    assert payload.row_values() == rows


@pytest.mark.parametrize(
    ("rows", "content_type"),
    [
        ([{"b64": PNG}, {"b64": PNG}], "image/png"),
        ([{"b64": PNG}, {"b64": "aGk="}], "base64"),
        ([{"b64": "aGk="}], "base64"),
        ([{"b64": ""}], "base64"),
        ([PNG], "base64"),
        ([PNG, "text"], None),
        (["iVBORw0KGgo is text"], None),
        (["aGk="], None),
    ],
)
def test_what_bytes_hold(rows: list[Any], content_type: str | None) -> None:
    for body in ({"instances": rows}, {"instances": [{"data": row} for row in rows]}):
        (column,) = v1.read(body, None, LIMITS).columns
        assert (column.datatype, column.content_type) == ("BYTES", content_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "none of 'instances'"),
        ([], "body is an object, this is a list"),
        (5, "this is a number"),
        ({"instances": {}}, "'instances': it is an object, expected a list of rows"),
        ({"instances": "rows"}, "'instances': it is a text"),
        ({"instances": None}, "it is null"),
        ({"explanations": "cat"}, "'explanations': it is a text"),
        ({"predictions": 3}, "'predictions': it is a number"),
        ({"inputs": {}}, "'inputs': it is an empty object"),
        ({"inputs": None}, "'inputs': it is null"),
        ({"inputs": {"a": [1], "b": 3}}, "column 'b' is a number"),
        ({"inputs": {"a": [1, 2], "b": [3]}}, "columns differ in rows: 'a' has 2, 'b' has 1"),
        ({"instances": [{"b64": "aGk="}, {"b64": "a"}]}, "row 1: 'b64' is not base64"),
        ({"instances": [{"img": {"b64": "*"}}]}, "column 'img': row 0: 'b64' is not base64"),
    ],
)
def test_refusals(body: Any, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        v1.read(body, None, LIMITS)


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ({"instances": [1]}, Kind.RESPONSE, "a response was expected, and the body is the other: it has 'instances'"),
        ({"predictions": [1]}, Kind.REQUEST, "a request was expected"),
        ({"instances": [1]}, Kind.FEEDBACK, "requests and responses, no feedback"),
    ],
)
def test_another_kind_is_refused(body: Any, kind: Kind, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        v1.read(body, kind, LIMITS)


@pytest.mark.parametrize(
    "body", [None, [], "instances", {}, {"data": 1}, {"results": [{"index": 0, "relevance_score": 1}]}]
)
def test_other_documents_are_not_claimed(body: Any) -> None:
    assert not v1.claims(body)


def test_a_bare_answer_is_one_row() -> None:
    payload = v1.read({"predictions": "John F. Kennedy", "prob": 77.9}, None, Limits())
    assert (payload.kind, payload.row_values()) == (Kind.RESPONSE, ["John F. Kennedy"])
