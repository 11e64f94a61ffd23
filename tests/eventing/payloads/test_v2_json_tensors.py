"""V2 bodies as JSON: tensors, content types, binary tails, gRPC's JSON."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, Limits
from wayside.eventing.payloads.protocols import v2_json

LIMITS = Limits()


def _tensor(shape: Any, data: Any, name: Any = "x", datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def _inputs(*tensors: Any) -> dict[str, Any]:
    return {"inputs": list(tensors)}


def _binary(shape: Any, size: Any, name: str = "x", datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("tensors", "rows"),
    [
        ([_tensor([2, 2], [1, 2, 3, 4])], [[1, 2], [3, 4]]),
        ([_tensor([2, 2], [[1, 2], [3, 4]])], [[1, 2], [3, 4]]),
        ([_tensor([2], [1, 2])], [1, 2]),
        ([_tensor([2, 1], [1, 2])], [[1], [2]]),
        ([_tensor([2, 1, 2], [1, 2, 3, 4])], [[[1, 2]], [[3, 4]]]),
        ([_tensor([0, 4], [])], []),
        ([_tensor([2], [1, 2], "a"), _tensor([2], ["p", "q"], "b", "BYTES")], [{"a": 1, "b": "p"}, {"a": 2, "b": "q"}]),
        ([_tensor([1, 2], [1, 2], "a"), _tensor([1], [3], "b")], [{"a": [1, 2], "b": 3}]),
        ([_tensor([2], [1, 2], datatype="int32")], [1, 2]),
        ([_tensor(-1, "a text", datatype="BYTES")], ["a text"]),
        ([{"name": "x", "shape": [2], "data": [1, 2]}], [1, 2]),
        ([{"name": "x", "datatype": "FP32", "data": [[1, 2]]}], [[1, 2]]),
        ([{"name": "x", "shape": [2, 1], "datatype": "FP32", "contents": {"fp32_contents": [1, "NaN"]}}], None),
    ],
)
def test_tensors_give_one_value_a_row(tensors: list[Any], rows: list[Any] | None) -> None:
    body = _inputs(*tensors)
    assert v2_json.claims(body)
    payload = v2_json.read(body, None, LIMITS)
    assert payload.named
    assert rows is None or payload.row_values() == rows


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_flat_and_nested_data_are_the_same_rows(shape: list[int], data: st.DataObject) -> None:
    size = math.prod(shape)
    flat = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=size, max_size=size))
    nested = np.array(flat, dtype=object).reshape(shape).tolist()
    for values in (flat, nested):
        payload = v2_json.read(_inputs(_tensor(shape, values, datatype="INT64")), None, LIMITS)
        assert payload.row_values() == nested
        assert payload.columns[0].shape == tuple(shape)


def test_a_response_has_its_model_and_id() -> None:
    body = {"id": "d3", "model_name": "m", "model_version": "1", "outputs": [_tensor([], [2], "predict", "INT64")]}
    payload = v2_json.read(body, None, LIMITS)
    assert (payload.kind, payload.id, payload.model, payload.row_values()) == (Kind.RESPONSE, "d3", "m", [2])


def test_wanted_outputs_do_not_make_a_request_a_response() -> None:
    body = {**_inputs(_tensor([1], [1])), "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    assert v2_json.read(body, None, LIMITS).kind is Kind.REQUEST
    with pytest.raises(MalformedPayload, match="tensor 'y': it has no data"):
        v2_json.read(body, Kind.RESPONSE, LIMITS)


@pytest.mark.parametrize(
    ("request_type", "tensor_type", "datatype", "found"),
    [
        (None, "str", "BYTES", "str"),
        ("pd", "datetime", "BYTES", "datetime"),
        ("str", None, "BYTES", "str"),
        ("pd", None, "BYTES", None),
        ("np", "np", "BYTES", None),
        (None, "image/png", "BYTES", "image/png"),
        ("str", "str", "FP32", None),
    ],
)
def test_content_types_of_mlserver(request_type: Any, tensor_type: Any, datatype: str, found: str | None) -> None:
    data = ["2024-01-01"] if datatype == "BYTES" else [1.0]
    body = _inputs(_tensor([1], data, datatype=datatype, parameters={"content_type": tensor_type}))
    (column,) = v2_json.read({**body, "parameters": {"content_type": request_type}}, None, LIMITS).columns
    assert column.content_type == found


def test_binary_tensors_take_their_share_of_the_tail_in_order() -> None:
    tensors = [_binary([2], 8, "a"), _tensor([2], [True, False], "b", "BOOL"), _binary([2], 10, "c", "BYTES")]
    tail = struct.pack("<2f", 1.5, math.inf) + b"\x02\0\0\0hi\0\0\0\0"
    payload = v2_json.read(_inputs(*tensors), None, LIMITS, memoryview(tail))
    assert payload.row_values() == [{"a": 1.5, "b": True, "c": "hi"}, {"a": math.inf, "b": False, "c": ""}]


@pytest.mark.parametrize(
    ("tensors", "tail", "reason"),
    [
        ([_binary([2], 8)], b"1234567", "'binary_data_size' is 8, and 7 bytes are left"),
        ([_binary([2], 8)], b"123456789", "1 bytes behind the JSON object belong to no tensor"),
        ([_tensor([1], [1])], b"tail", "4 bytes behind"),
        ([_binary([3], 8)], b"12345678", "tensor 'x': FP32 of shape"),
        ([_binary([1], -1)], b"", "is no number of bytes"),
        ([_binary([1], True)], b"1", "is no number of bytes"),
        ([_binary("2", 4)], b"1234", "binary data needs a shape"),
        ([_binary([1.0], 4)], b"1234", "binary data needs a shape"),
        ([{"name": "x", "shape": [1], "parameters": {"binary_data_size": 4}}], b"1234", "binary data needs a datatype"),
        ([_binary([1], 5, datatype="BYTES")], b"\xff\0\0\0a", "BYTES element at byte 0"),
    ],
)
def test_tails_that_do_not_fit(tensors: list[Any], tail: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        v2_json.read(_inputs(*tensors), None, LIMITS, memoryview(tail))


@pytest.mark.parametrize(
    ("output", "more", "values"),
    [
        ({"datatype": "INT64", "shape": ["2"], "contents": {"int64Contents": ["1", "-2"]}}, {}, [1, -2]),
        (
            {"datatype": "UINT64", "shape": [1], "contents": {"uint64_contents": ["18446744073709551615"]}},
            {},
            [2**64 - 1],
        ),
        ({"datatype": "BYTES", "shape": ["1"], "contents": {"bytesContents": ["aGk="]}}, {}, ["hi"]),
        ({"datatype": "BYTES", "shape": ["1"], "contents": {"bytesContents": ["/w=="]}}, {}, [{"b64": "/w=="}]),
        ({"datatype": "BOOL", "shape": ["1"], "contents": {"boolContents": [True]}}, {}, [True]),
        ({"datatype": "FP32", "shape": ["1"], "contents": {"fp32Contents": ["-Infinity"]}}, {}, [-math.inf]),
        ({"datatype": "INT32", "shape": ["1"]}, {"rawOutputContents": ["AQAAAA=="]}, [1]),
        ({"datatype": "INT32", "shape": [1]}, {"raw_output_contents": ["AQAAAA=="]}, [1]),
    ],
)
def test_grpc_as_json(output: Any, more: Any, values: list[Any]) -> None:
    payload = v2_json.read({"modelName": "m", "outputs": [{"name": "y", **output}], **more}, None, LIMITS)
    assert (payload.model, payload.row_values()) == ("m", values)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "body is an object"),
        ({"inputs": {}}, "'inputs' is an object, expected a list of tensors"),
        ({"inputs": []}, "'inputs' is empty"),
        ({"outputs": None}, "'outputs' is null"),
        (_inputs(None), "tensor 0 is null, expected an object"),
        (_inputs({}), "tensor 0 has no name"),
        (_inputs(_tensor([1], [1], 1)), "tensor 0 has no name"),
        (_inputs(_tensor([1], [1], datatype="FLOAT")), "tensor 'x': datatype is 'FLOAT', not one of"),
        (_inputs(_tensor([1], [1], datatype="JSON")), "not one of"),
        (_inputs(_tensor([1], None)), "tensor 'x': it has no data"),
        (_inputs(_tensor([1], {"a": 1})), "tensor 'x': .* is no FP64"),
        (_inputs(_tensor([1, 3, 224, 224], [])), "tensor 'x': there is no data for shape"),
        (_inputs(_tensor([2], [1, 2], "a"), _tensor([3], [1, 2, 3], "b")), "columns differ in rows"),
        (_inputs(_tensor([1], [1]), _tensor([1], [2])), "two columns share a name"),
        (_inputs(_tensor([1], None, parameters={"shared_memory_region": "r"})), "shared memory"),
        (_inputs(_tensor([1], None, contents={})), "'contents' is not an object with one list"),
        (_inputs(_tensor([1], None, contents={"x_contents": [1]})), "'contents' has no member 'x_contents'"),
        (_inputs(_tensor([1], None, contents={"bytes_contents": ["?"]})), "is not base64"),
        ({**_inputs(_tensor([1], [1])), "raw_input_contents": ["AA=="]}, "more raw contents than tensors"),
        ({**_inputs(_tensor([1], None)), "raw_input_contents": "AA=="}, "expected a list of base64"),
        (_inputs(*[_tensor([1], [1], str(n)) for n in range(5)]), "5 tensors, the limit is 4"),
        (_inputs(_tensor([2], [1], "n" * 500)), "^.{100,150}$"),
    ],
)
def test_refusals(body: Any, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        v2_json.read(body, None, Limits(columns=4))


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"inputs": [[1, 2]]},
        {"inputs": [{"a": [1]}]},
        {"inputs": [{"name": "Ann", "age": 3}]},
        {"inputs": [{"name": "Ann", "data": "text"}]},
        {"inputs": {"name": [1]}},
        {"instances": [{"name": "x", "shape": [1], "data": [1]}]},
    ],
)
def test_v1_is_not_claimed(body: Any) -> None:
    assert not v2_json.claims(body)
