"""Pointers and columns in JSON bodies: what is left of each value, and that all else keeps every byte."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redaction_stage import MASK, answer_with, event_with, hashed, redacted, redacted_json

from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import REDACTION
from wayside.logger.redaction.redactor import APPLIED
from wayside.logger.redaction.residue import canonical

_BODY = (
    b'{"id": "r", "instances": [ {"ssn": "1-2", "x": 1.50 , "deep": [{"y":1E2}]}, {"x":-0.0,"ssn":[1,2]} ] , "n": null}'
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("pointer:/instances/*/ssn=mask", _BODY.replace(b'"1-2"', b'"***"').replace(b"[1,2]", b'"***"')),
        ("pointer:/instances/*/ssn=drop", _BODY.replace(b'"ssn": "1-2",', b"").replace(b',"ssn":[1,2]', b"")),
        ("pointer:/instances/1=mask", _BODY.replace(b'{"x":-0.0,"ssn":[1,2]}', b'"***"')),
        ("pointer:/instances/0=drop", _BODY.replace(b'{"ssn": "1-2", "x": 1.50 , "deep": [{"y":1E2}]}', b"null")),
        ("pointer:/instances/1/ssn/0=drop", _BODY.replace(b"[1,2]", b"[null,2]")),
        ("pointer:/*/0/deep/*/*=mask", _BODY.replace(b"1E2", b'"***"')),
        ("pointer:/n=mask", _BODY.replace(b"null", b'"***"')),
        ("pointer:/n=drop", _BODY.replace(b' , "n": null', b" ")),
        ("pointer:/id=hash", _BODY.replace(b'"r"', f'"{hashed("r")}"'.encode())),
        ("pointer:/instances/0/x=hash", _BODY.replace(b"1.50", f'"{hashed(1.5)}"'.encode())),
        ("pointer:/instances/1/ssn=hash", _BODY.replace(b"[1,2]", f'"{hashed([1, 2])}"'.encode())),
        ("column:ssn=mask", _BODY.replace(b'"1-2"', b'"***"').replace(b"[1,2]", b'["***","***"]')),
        ("column:y=drop", _BODY.replace(b'{"y":1E2}', b"{}")),
    ],
)
def test_what_is_not_redacted_keeps_every_byte(rule: str, expected: bytes) -> None:
    event = redacted(event_with(_BODY), rule)
    assert event.data == expected
    assert event.extensions[REDACTION] == APPLIED


@pytest.mark.parametrize(
    "rule",
    [
        *(
            "pointer:/absent=mask",
            "pointer:/instances/2=mask",
            "pointer:/instances/00=mask",
            "pointer:/instances/-=mask",
        ),
        *("pointer:/instances/x=drop", "pointer:/id/0=drop", "pointer:/n/a=drop", "column:absent=drop"),
        *("column:1-2=mask", "pointer:/=drop", "header:x-user=mask"),
    ],
)
def test_a_body_in_which_nothing_is_found_is_the_very_event(rule: str) -> None:
    event = event_with(_BODY)
    assert redacted(event, rule) is event


@pytest.mark.parametrize(
    ("pointer", "body", "expected"),
    [
        ("/a~1b", {"a/b": 1, "c": 2}, {"c": 2}),
        ("/a~0b", {"a~b": 1}, {}),
        ("/~01", {"~1": 1}, {}),
        ("/", {"": 1, "a": 2}, {"a": 2}),
        ("/0", {"0": 1}, {}),
        ("/*", {"*": 1, "a": 2}, {}),
        ("/*", [1, [2]], [None, None]),
        ("/é\\n", {"é\\n": 1, "é": 2}, {"é": 2}),
    ],
)
def test_pointers_are_rfc_6901s(pointer: str, body: Any, expected: Any) -> None:
    assert redacted_json(body, f"pointer:{pointer}=drop") == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (("pointer:/a=hash", "pointer:/a=mask"), {"a": MASK, "b": {"c": 1}}),
        (("pointer:/a=mask", "column:a=drop"), {"b": {"c": 1}}),
        (("pointer:/b/c=drop", "pointer:/b=hash"), {"a": 1, "b": hashed({"c": 1})}),
        (("pointer:/b=mask", "pointer:/b/c=drop"), {"a": 1, "b": MASK}),
        (("pointer:/b=drop", "column:c=mask"), {"a": 1}),
    ],
)
def test_where_rules_meet_the_one_that_leaves_less_counts(rules: tuple[str, ...], expected: Any) -> None:
    assert redacted_json({"a": 1, "b": {"c": 1}}, *rules) == expected


_TABLE: list[tuple[str, Any, Any, Any, Any]] = [
    (
        "V1 rows",
        {"instances": [{"age": 35, "b": 1}, {"b": 2, "age": None}]},
        {"instances": [{"b": 1}, {"b": 2}]},
        {"instances": [{"age": MASK, "b": 1}, {"b": 2, "age": MASK}]},
        {"instances": [{"age": hashed(35), "b": 1}, {"b": 2, "age": hashed(None)}]},
    ),
    (
        "V1 answers",
        {"predictions": [{"age": [35, 36]}]},
        {"predictions": [{}]},
        {"predictions": [{"age": [MASK, MASK]}]},
        {"predictions": [{"age": [hashed(35), hashed(36)]}]},
    ),
    (
        "TensorFlow Serving's columns",
        {"inputs": {"age": [[35], [36]], "b": [1, 2]}},
        {"inputs": {"b": [1, 2]}},
        {"inputs": {"age": [[MASK], [MASK]], "b": [1, 2]}},
        {"inputs": {"age": [[hashed(35)], [hashed(36)]], "b": [1, 2]}},
    ),
    (
        "V2",
        {"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [35]}, {"name": "b"}]},
        {"inputs": [{"name": "b"}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "BYTES", "data": [MASK]}, {"name": "b"}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "BYTES", "data": [hashed(35)]}, {"name": "b"}]},
    ),
    (
        "V2 as pandas' frame by MLServer",
        {
            "parameters": {"content_type": "pd"},
            "outputs": [
                {
                    "name": "age",
                    "shape": [1, 1],
                    "datatype": "FP64",
                    "parameters": {"content_type": "np"},
                    "data": [3.5],
                }
            ],
        },
        {"parameters": {"content_type": "pd"}, "outputs": []},
        {
            "parameters": {"content_type": "pd"},
            "outputs": [{"name": "age", "shape": [1, 1], "datatype": "BYTES", "parameters": {}, "data": [MASK]}],
        },
        {
            "parameters": {"content_type": "pd"},
            "outputs": [{"name": "age", "shape": [1, 1], "datatype": "BYTES", "parameters": {}, "data": [hashed(3.5)]}],
        },
    ),
    (
        "Seldon's ndarray",
        {"data": {"names": ["age", "b"], "ndarray": [[35, 1], [36, 2]]}},
        {"data": {"names": ["age", "b"], "ndarray": [[None, 1], [None, 2]]}},
        {"data": {"names": ["age", "b"], "ndarray": [[MASK, 1], [MASK, 2]]}},
        {"data": {"names": ["age", "b"], "ndarray": [[hashed(35), 1], [hashed(36), 2]]}},
    ),
    (
        "Seldon's tensor",
        {"data": {"names": ["b", "age"], "tensor": {"shape": [2, 2], "values": [1, 35, 2, 36]}}},
        {"data": {"names": ["b", "age"], "tensor": {"shape": [2, 2], "values": [1, None, 2, None]}}},
        {"data": {"names": ["b", "age"], "tensor": {"shape": [2, 2], "values": [1, MASK, 2, MASK]}}},
        {"data": {"names": ["b", "age"], "tensor": {"shape": [2, 2], "values": [1, hashed(35), 2, hashed(36)]}}},
    ),
    (
        "pandas' orientation split",
        {"dataframe_split": {"columns": ["age"], "data": [[35]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[None]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[MASK]]}},
        {"dataframe_split": {"columns": ["age"], "data": [[hashed(35)]]}},
    ),
    (
        "V1 rows in parts",
        {"inputs": [[{"age": 35}, {"b": {"age": {"b64": "AA=="}}}]]},
        {"inputs": [[{}, {"b": {}}]]},
        {"inputs": [[{"age": MASK}, {"b": {"age": MASK}}]]},
        {"inputs": [[{"age": hashed(35)}, {"b": {"age": hashed({"b64": "AA=="})}}]]},
    ),
]


@pytest.mark.parametrize(
    ("body", "dropped", "masked", "hash_"), [row[1:] for row in _TABLE], ids=[r[0] for r in _TABLE]
)
def test_columns_are_found_by_name(body: Any, dropped: Any, masked: Any, hash_: Any) -> None:
    assert redacted_json(body, "column:age=drop") == dropped
    assert redacted_json(body, "column:age=mask") == masked
    assert redacted_json(body, "column:age=hash") == hash_


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [{"name": "age", "shape": [2], "datatype": "FP32", "data": [1, 2]}]},
        {"inputs": [{"name": "age", "shape": [2, 1], "datatype": "INT8", "data": [[1], [2]]}]},
        {"instances": [{"age": 1}, {"age": 2}]},
        {"inputs": {"age": [1, 2]}},
        {"data": {"names": ["age"], "ndarray": [[1], [2]]}},
    ],
)
def test_a_masked_or_hashed_body_is_still_a_payload(body: Any) -> None:
    for left in ("mask", "hash"):
        event = redacted(event_with(json.dumps(body).encode()), f"column:age={left}")
        assert decode(message_of(event)).rows == 2


def test_the_structure_of_a_tensor_is_no_column() -> None:
    body = {"inputs": [{"name": "b", "shape": [1], "datatype": "BYTES", "data": ["s"], "parameters": {"x": 1}}]}
    event = event_with(json.dumps(body).encode())
    for name in ("name", "shape", "datatype", "data", "parameters"):
        assert redacted(event, f"column:{name}=drop") is event


def test_what_only_looks_like_a_tensor_has_columns_too() -> None:
    assert redacted_json({"instances": [{"name": "Ann", "shape": "round"}]}, "column:name=mask") == {
        "instances": [{"name": MASK, "shape": "round"}]
    }


def test_a_stream_is_edited_event_by_event() -> None:
    body = (
        b': hello\r\nevent: chunk\r\nid: 1\r\ndata: {"choices": [{"delta":{"content":"My name"}}], "n": 1.0}\r\n\r\n'
        b'data:{"choices":[{"delta":{}}]}\n\ndata: [DONE]\n\n'
    )
    event = redacted(answer_with(body, "text/event-stream"), "pointer:/choices/*/delta/content=mask")
    assert event.data == body.replace(b" hello", b"").replace(b"My name", MASK.encode())
    assert event.extensions[REDACTION] == APPLIED


def test_a_stream_is_told_by_its_content() -> None:
    event = redacted(answer_with(b'data: {"a":1}\n\n'), "pointer:/a=drop")
    assert event.data == b"data: {}\n\n"


def test_a_compressed_body_is_inflated_where_something_is_found() -> None:
    event = event_with(gzip.compress(b'{"a":1,"b":2}', mtime=0), contentencoding="gzip")
    found = redacted(event, "pointer:/a=drop")
    assert found.data == b'{"b":2}'
    assert "contentencoding" not in found.extensions
    assert redacted(event, "pointer:/c=drop") is event


def test_a_byte_order_mark_and_space_around_are_kept() -> None:
    body = b'\xef\xbb\xbf \n{"a":1,"b":2} \n'
    assert redacted(event_with(body), "pointer:/a=drop").data == b'\xef\xbb\xbf \n{"b":2} \n'


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1.0), (100, 1e2), (0, -0.0), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}), ("é", "é"), ([1], [1.0])],
)
def test_equal_values_have_equal_hashes(left: Any, right: Any) -> None:
    assert hashed(left) == hashed(right)


def test_unequal_values_have_unequal_hashes() -> None:
    values = [1, "1", True, "true", None, "null", [1], ["1"], {"a": 1}, 1.5, 2**53, 2**53 + 1, float("nan"), "", [], {}]
    assert len({canonical(value) for value in values}) == len(values)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_TREES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
_SECRET = 'secret-\\"\u00e9\n-value'


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[Any, bytes]:
    """Documents in whose rows `ssn` holds a secret somewhere, as any writer could write them."""
    secret = {"ssn": draw(st.sampled_from([_SECRET, [_SECRET], {"deep": [_SECRET]}, [[_SECRET], 1]]))}
    rows = draw(st.lists(st.dictionaries(st.text(max_size=4), _TREES, max_size=3), max_size=3))
    at = draw(st.integers(0, len(rows)))
    order = draw(st.booleans())
    row = {**secret, **draw(st.just(rows[0] if rows else {}))} if order else {"a": draw(_TREES), **secret, "z": [1]}
    tree = {"instances": [*rows[:at], row, *rows[at:]], "other": draw(_TREES)}
    text = json.dumps(tree, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return tree, text.encode("utf-8", "surrogatepass")


@given(_bodies(), st.sampled_from(["drop", "mask", "hash"]), st.booleans())
def test_no_redacted_value_is_ever_left(body: tuple[Any, bytes], left: str, by_pointer: bool) -> None:
    rule = f"pointer:/instances/*/ssn={left}" if by_pointer else f"column:ssn={left}"
    event = redacted(event_with(body[1]), rule)
    for spelling in (_SECRET, json.dumps(_SECRET)[1:-1], json.dumps(_SECRET, ensure_ascii=False)[1:-1]):
        assert spelling.encode() not in event.data


@given(_TREES, st.booleans(), st.sampled_from([None, 2]))
def test_what_rules_do_not_name_is_equal_as_text(tree: Any, as_ascii: bool, indent: int | None) -> None:
    other = json.dumps(tree, ensure_ascii=as_ascii, indent=indent)
    body = f'{{"before": {other} , "x": [{other},{{"y":1}}],"after":{other}}}'.encode("utf-8", "surrogatepass")
    event = redacted(event_with(body), "pointer:/x/1/y=mask")
    assert event.data in (b"", body.replace(b'{"y":1}]', b'{"y":"***"}]'))
