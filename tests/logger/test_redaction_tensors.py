"""V2's binary tensors and gRPC messages: the named tensors replaced or cut out, the others byte for byte."""

import gzip
import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from redaction_stage import MASK, answer_with, event_with, hashed, redacted

from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import INFERENCE_HEADER_LENGTH, REDACTION
from wayside.logger.redaction.redactor import WITHHELD

sys.path.insert(0, str(Path(__file__).parents[1] / "eventing" / "payloads"))

from open_inference_messages import ModelInferRequest, ModelInferResponse, parameters  # found by the line above

GRPC = "application/grpc"


def _binary(name: str, size: int, shape: list[int], datatype: str = "INT32", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size, **more}}


_AGES = struct.pack("<2i", 35, 36)
_OTHERS = struct.pack("<4f", 0.1, 0.2, 0.3, 0.4)
_TREE = {"inputs": [_binary("age", 8, [2]), _binary("x", 16, [2, 2], "FP32")], "outputs": [{"name": "y"}]}


def _event(tree: Any, tail: bytes, *, tells_length: bool = True, metadata: str = "{}") -> CloudEvent:
    head = json.dumps(tree).encode()
    told = {INFERENCE_HEADER_LENGTH: str(len(head))} if tells_length else {}
    return event_with(head + tail, "application/octet-stream", metadata=metadata, **told)


def _seen(event: CloudEvent) -> dict[str, list[Any]]:
    payload = decode(message_of(event))
    return {column.name: column.row_values() for column in payload.columns}


_X = [list(struct.unpack("<2f", _OTHERS[at : at + 8])) for at in (0, 8)]


@pytest.mark.parametrize("tells_length", [True, False])
@pytest.mark.parametrize(
    ("left", "ages"),
    [("drop", None), ("mask", [MASK, MASK]), ("hash", [hashed(35), hashed(36)])],
)
def test_binary_tensors_are_replaced_and_sizes_fit(left: str, ages: list[str] | None, tells_length: bool) -> None:
    event = redacted(_event(_TREE, _AGES + _OTHERS, tells_length=tells_length), f"column:age={left}")
    assert _seen(event) == ({} if ages is None else {"age": ages}) | {"x": _X}
    assert event.data.endswith(_OTHERS)
    assert _AGES not in event.data
    assert (INFERENCE_HEADER_LENGTH in event.extensions) is tells_length


def test_a_length_that_stands_in_metadata_alone_is_told_anew() -> None:
    head = json.dumps(_TREE).encode()
    metadata = json.dumps({"Inference-Header-Content-Length": [str(len(head))]})
    event = redacted(_event(_TREE, _AGES + _OTHERS, tells_length=False, metadata=metadata), "column:age=mask")
    assert _seen(event)["x"] == _X


def test_tensors_in_json_and_behind_it_may_be_mixed() -> None:
    tree = {"inputs": [{"name": "age", "shape": [2], "datatype": "INT8", "data": [1, 2]}, _TREE["inputs"][1]]}
    event = redacted(_event(tree, _OTHERS), "column:age=mask")
    assert _seen(event) == {"age": [MASK, MASK], "x": _X}


def test_bytes_elements_are_hashed_as_their_texts() -> None:
    packed = struct.pack("<I", 3) + b"Ann" + struct.pack("<I", 1) + b"\xff"
    event = redacted(_event({"inputs": [_binary("age", len(packed), [2], "BYTES")]}, packed), "column:age=hash")
    assert _seen(event) == {"age": [hashed("Ann"), hashed({"b64": "/w=="})]}


@pytest.mark.parametrize(
    ("tree", "tail", "rule"),
    [
        ({"inputs": [_binary("age", 9, [2])]}, _AGES, "column:age=mask"),
        ({"inputs": [_binary("age", 4, [1])]}, _AGES, "column:age=mask"),
        ({"inputs": [_binary("age", 4, [1])]}, _AGES, "column:other=mask"),
        ({"inputs": [_binary("age", 8, [3])]}, _AGES, "column:age=mask"),
        ({"inputs": [_binary("age", 8, ["2"])]}, _AGES, "column:age=hash"),
        ({"inputs": [_binary("age", 8, [2], "INT99")]}, _AGES, "column:age=mask"),
        ({"inputs": [_binary("age", -1, [2])]}, _AGES, "column:other=mask"),
        ({"inputs": [_binary("age", 8, [2])], "outputs": [_binary("y", 8, [2])]}, _AGES * 2, "column:age=mask"),
        ({"inputs": [_binary(["age"], 8, [2])]}, _AGES + b"x", "column:age=mask"),  # type: ignore[arg-type]
        ({"inputs": [_binary("age", 8, [2])]}, _AGES, "pointer:/inputs/0/data/1=mask"),
        ({"inputs": [_binary("age", 8, [2])]}, _AGES, "pointer:/inputs/*/data=mask"),
        ({"inputs": [_binary("age", 8, [2])]}, _AGES, "pointer:/inputs/0=drop"),
        ({"inputs": [_binary("age", 8, [2])]}, _AGES, "pointer:/inputs=drop"),
        ({"inputs": [_binary("age", 8, [2])]}, _AGES, "pointer:/*=drop"),
        ({"age": 1}, _AGES, "column:age=mask"),
    ],
)
def test_a_tail_that_cannot_be_told_apart_is_withheld(tree: Any, tail: bytes, rule: str) -> None:
    event = redacted(_event(tree, tail), rule)
    assert event.data == b""
    assert event.extensions[REDACTION] == WITHHELD
    assert INFERENCE_HEADER_LENGTH not in event.extensions


def test_pointers_that_reach_no_binary_tensor_are_applied() -> None:
    event = redacted(_event({**_TREE, "id": "me"}, _AGES + _OTHERS), "pointer:/id=mask", "pointer:/inputs/2=drop")
    assert b'"id": "***"' in event.data
    assert _seen(event) == {"age": [35, 36], "x": _X}


# gRPC


def _contents(name: str = "age", of: str = "INT32", **contents: Any) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": of,
        "shape": [2],
        "parameters": parameters(content_type="np", unit="years"),
        "contents": contents or {"int_contents": [35, 36]},
    }


_TYPED = ModelInferRequest(
    model_name="m",
    id="9",
    inputs=[_contents(), _contents("x", "FP32", fp32_contents=[0.5, 1.5])],
    outputs=[{"name": "y"}],
)
_RAW = ModelInferRequest(
    inputs=[
        {"name": "x", "datatype": "FP32", "shape": [2]},
        {"name": "age", "datatype": "INT32", "shape": [2]},
    ],
    raw_input_contents=[struct.pack("<2f", 0.5, 1.5), _AGES],
)


def _framed(message: bytes, *, compressed: bool = False) -> bytes:
    message = gzip.compress(message, mtime=0) if compressed else message
    return bytes([compressed]) + len(message).to_bytes(4) + message


_FORMS = {
    "bare": lambda message: message,
    "framed": _framed,
    "compressed": lambda message: _framed(message, compressed=True),
}


@pytest.mark.parametrize("form", list(_FORMS))
@pytest.mark.parametrize("message", [_TYPED, _RAW], ids=["typed", "raw"])
@pytest.mark.parametrize(
    ("left", "ages"),
    [("drop", None), ("mask", [MASK, MASK]), ("hash", [hashed(35), hashed(36)])],
)
def test_grpc_tensors_are_replaced(form: str, message: Any, left: str, ages: list[str] | None) -> None:
    body = _FORMS[form](message.SerializeToString())
    event = redacted(event_with(body, GRPC), f"column:age={left}")
    assert _seen(event) == ({} if ages is None else {"age": ages}) | {"x": [0.5, 1.5]}
    assert _AGES not in event.data


def test_every_other_field_of_a_grpc_message_is_kept() -> None:
    event = redacted(event_with(_TYPED.SerializeToString(), GRPC), "column:age=mask")
    expected = ModelInferRequest()
    expected.CopyFrom(_TYPED)
    age = expected.inputs[0]
    age.datatype = "BYTES"
    del age.parameters[0]
    age.contents.Clear()
    age.contents.bytes_contents.extend([b"***", b"***"])
    assert ModelInferRequest.FromString(event.data) == expected


def test_a_grpc_answer_has_its_raw_contents_in_another_field() -> None:
    message = ModelInferResponse(outputs=_RAW.inputs, raw_output_contents=_RAW.raw_input_contents)
    event = redacted(answer_with(_framed(message.SerializeToString()), "application/grpc+proto"), "column:age=mask")
    assert _seen(event) == {"age": [MASK, MASK], "x": [0.5, 1.5]}


def test_a_grpc_message_in_which_nothing_is_found_is_the_very_event() -> None:
    event = event_with(_framed(_RAW.SerializeToString(), compressed=True), GRPC, contentencoding="gzip")
    assert redacted(event, "column:other=mask") is event


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (_framed(_RAW.SerializeToString()), "pointer:/inputs=drop"),
        (_framed(_RAW.SerializeToString())[:-1], "column:age=mask"),
        (_framed(_RAW.SerializeToString()) * 2, "column:age=mask"),
        (b"\0\0\0\0\x05hello", "column:age=mask"),
        (ModelInferRequest(model_name="m").SerializeToString(), "column:age=mask"),
        (
            ModelInferRequest(inputs=[{"name": "age", "datatype": "X", "shape": [1]}]).SerializeToString(),
            "column:x=mask",
        ),
    ],
)
def test_what_is_no_message_of_v2s_is_withheld(body: bytes, rule: str) -> None:
    event = redacted(event_with(body, GRPC), rule)
    assert (event.data, event.extensions[REDACTION]) == (b"", WITHHELD)
