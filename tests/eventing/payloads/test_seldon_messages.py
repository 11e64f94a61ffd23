"""Seldon's messages in each of their forms, and feedback."""

import math
from typing import Any

import pytest

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Kind, Limits, Protocol
from wayside.eventing.payloads.protocols import seldon

LIMITS = Limits()


def _data(**members: Any) -> dict[str, Any]:
    return {"data": members}


def _tftensor(dtype: Any, sizes: list[Any], **members: Any) -> dict[str, Any]:
    shape = {"dim": [{"size": size} for size in sizes]}
    return _data(tftensor={"dtype": dtype, "tensorShape": shape, **members})


@pytest.mark.parametrize(
    ("body", "datatypes", "rows"),
    [
        (_data(tensor={"shape": [2, 2], "values": [0, 0, 1, 1]}), ["FP64"], [[0, 0], [1, 1]]),
        (_data(tensor={"shape": [2], "values": ["Infinity", 1.5]}), ["FP64"], [math.inf, 1.5]),
        (_data(ndarray=[[1, 2], [3, 4]]), ["INT64"], [[1, 2], [3, 4]]),
        (_data(ndarray=[{"a": 1, "b": "x"}]), ["INT64", "BYTES"], [{"a": 1, "b": "x"}]),
        (
            _data(names=["a", "b"], ndarray=[[1, "x"], [2, "y"]]),
            ["INT64", "BYTES"],
            [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ),
        (_data(names=["a", "a"], ndarray=[[1, "x"]]), ["INT64", "BYTES"], [{"0": 1, "1": "x"}]),
        (_data(names=["a"], ndarray=["s", "t"]), ["BYTES"], ["s", "t"]),
        ({"strData": "hi"}, ["BYTES"], ["hi"]),
        ({"binData": "aGk="}, ["BYTES"], [{"b64": "aGk="}]),
        ({"jsonData": {"a": [1, 2]}}, ["JSON"], [{"a": [1, 2]}]),
        ({"jsonData": [{"a": 1, "b": 2}]}, ["INT64", "INT64"], [{"a": 1, "b": 2}]),
        ({"jsonData": None}, ["JSON"], [None]),
        (_tftensor("DT_FLOAT", ["1", "2"], floatVal=[1.5, "-Infinity"]), ["FP32"], [[1.5, -math.inf]]),
        (_tftensor(2, [2], doubleVal=[1.5, 2]), ["FP64"], [1.5, 2]),
        (_tftensor("DT_INT64", ["2"], int64Val=["1", "-2"]), ["INT64"], [1, -2]),
        (_tftensor("DT_UINT8", ["3"], intVal=[7]), ["UINT8"], [7, 7, 7]),
        (_tftensor("DT_HALF", ["2"], halfVal=[15360, 16384]), ["FP16"], [1.0, 2.0]),
        (_tftensor("DT_BFLOAT16", ["1"], half_val=[16256]), ["BF16"], [1.0]),
        (_tftensor("DT_BOOL", ["2"], boolVal=[True, False]), ["BOOL"], [True, False]),
        (_tftensor("DT_STRING", ["2"], stringVal=["aGk=", "/w=="]), ["BYTES"], ["hi", {"b64": "/w=="}]),
        (_tftensor("DT_FLOAT", ["1"], tensorContent="AACAPw=="), ["FP32"], [1.0]),
        (_tftensor("DT_INT32", [], intVal=[3]), ["INT32"], [3]),
    ],
)
def test_forms_of_data(body: Any, datatypes: list[str], rows: list[Any]) -> None:
    assert seldon.claims(body)
    payload = seldon.read(body, None, LIMITS)
    assert (payload.protocol, payload.kind) == (Protocol.SELDON, Kind.REQUEST)
    assert [column.datatype for column in payload.columns] == datatypes
    assert payload.row_values() == rows


def test_names_label_the_entries_of_a_row() -> None:
    payload = seldon.read({"meta": {"puid": "p"}, **_data(names=["a", "b"], ndarray=[[1, 2]])}, Kind.RESPONSE, LIMITS)
    assert (payload.kind, payload.id, payload.names) == (Kind.RESPONSE, "p", ("a", "b"))


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_names_that_do_not_fit_are_left_out_and_noted(names: list[str]) -> None:
    payload = seldon.read(_data(names=names, ndarray=[[1, 2]]), None, LIMITS)
    assert payload.names == ()
    assert payload.columns[0].note == f"names are left out: there are {len(names)} for shape [1, 2]"


_REQUEST = _data(ndarray=[[1.0], [2.0]])
_RESPONSE = {"meta": {"puid": "p1"}, **_data(ndarray=[[0.1], [0.2]])}


@pytest.mark.parametrize(
    ("body", "rows", "puid"),
    [
        (
            {"request": _REQUEST, "response": _RESPONSE, "reward": 1, "truth": _data(ndarray=[1, 0])},
            [{"truth": 1, "reward": 1.0}, {"truth": 0, "reward": 1.0}],
            "p1",
        ),
        ({"request": _REQUEST, "reward": 0.5}, [0.5, 0.5], None),
        ({"response": {"meta": {"puid": "p2"}}, "reward": 1}, [1.0], "p2"),
        ({"truth": _data(names=["y"], ndarray=[3])}, [3], None),
        ({"truth": {"jsonData": [{"y": 1}]}, "reward": "NaN"}, None, None),
    ],
)
def test_feedback(body: Any, rows: Any, puid: str | None) -> None:
    assert seldon.claims(body)
    payload = seldon.read(body, None, LIMITS)
    assert (payload.kind, payload.id) == (Kind.FEEDBACK, puid)
    assert rows is None or payload.row_values() == rows


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ([], None, "a Seldon message is an object"),
        ({}, None, "message has none of data"),
        ({"data": {}}, None, "message has none of data"),
        (_data(ndarray={"a": 1}), None, "'ndarray': it is an object, expected a list of rows"),
        (_data(tensor=[1]), None, "'tensor': it is a list, expected an object"),
        (_data(tensor={"shape": [3], "values": [1]}), None, "'tensor': 1 value do"),
        (_data(tensor={"shape": [1], "values": ["x"]}), None, "is no FP64"),
        (_data(tensor={"shape": [1], "values": "x"}), None, "'values' is a text"),
        ({"binData": "?"}, None, "is not base64"),
        ({"binData": 1}, None, "'binData' is a number"),
        ({"strData": 1}, None, "'strData' is a number"),
        ({"status": {"status": "FAILURE", "info": "boom"}}, None, "a failure: 'boom'"),
        ({"request": _REQUEST}, None, "neither a truth nor a reward"),
        ({"request": _REQUEST, "reward": True}, None, "'reward' is true or false"),
        ({"request": _REQUEST, "reward": 10**400}, None, "'reward' is beyond FP64"),
        ({"request": _REQUEST, "reward": 1}, Kind.REQUEST, "a request was expected, and the body is a feedback"),
        (_REQUEST, Kind.VERDICT, "no verdict"),
        (_data(tftensor=1), None, "expected a TensorProto"),
        (_tftensor("DT_COMPLEX64", ["1"]), None, "dtype 'DT_COMPLEX64' is none of"),
        (_tftensor("DT_FLOAT", ["2"], floatVal=[1, 2, 3]), None, "3 values do not fill"),
        (_tftensor("DT_FLOAT", ["2"]), None, "0 values do not fill"),
        (_tftensor("DT_FLOAT", ["999999", "999999"], floatVal=[1]), None, "1 values are to fill 999998000001 places"),
        (_tftensor("DT_FLOAT", ["x"]), None, "a dimension without a size"),
        (_tftensor("DT_FLOAT", ["-1"]), None, "a dimension without a size"),
        (_tftensor("DT_FLOAT", ["1"], tensorContent="AAA="), None, "needs 4 bytes, data has 2"),
        (_tftensor("DT_FLOAT", ["1"], tensorContent=5), None, "'tensorContent' is not base64"),
        (_tftensor("DT_STRING", ["1"], stringVal=["?"]), None, "'stringVal' is not base64"),
        (_tftensor("DT_STRING", ["1"], tensorContent="AAA="), None, "send 'stringVal'"),
        (_tftensor("DT_HALF", ["1"], halfVal=[65536]), None, "not 16 bits"),
        (_tftensor("DT_INT8", ["1"], intVal=[128]), None, "beyond INT8"),
        (_data(tftensor={"dtype": 1, "tensorShape": {"unknownRank": True}}), None, "'tensorShape' is no shape"),
    ],
)
def test_refusals(body: Any, kind: Kind | None, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        seldon.read(body, kind, LIMITS)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"data": {}}, {"data": [1]}, {"reward": 1}, {"request": {}}, {"meta": {}}]
)
def test_other_documents_are_not_claimed(body: Any) -> None:
    assert not seldon.claims(body)
