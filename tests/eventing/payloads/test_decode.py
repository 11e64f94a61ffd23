"""Which reader a body gets: by what is declared, by its first bytes, by its members; and what an event says of it."""

import gzip
import json
import struct
from typing import Any

import pytest

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import record_id
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import kind_of, message_of, message_of_http
from wayside.eventing.payloads.payload import Kind, Limits, Message, Payload, Protocol, describe, row_ids
from wayside.eventing.vocabulary import REQUEST, RESPONSE

PNG = bytes.fromhex("89504e470d0a1a0a0000000d494844520000001c0000001c0800000000")
PACKED = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
BINARY = json.dumps({"inputs": [PACKED]}).encode() + struct.pack("<2f", 1, 2)
GRPC = bytes.fromhex("0a016d2a180a01781204465033321a01022a0a32080000803f00000040")
STREAM = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"4"}}]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize(
    ("message", "protocol", "kind", "rows"),
    [
        (Message(b'{"instances":[[1],[2]]}'), "v1", "request", 2),
        (Message(b'{"predictions":[1,2]}'), "v1", "response", 2),
        (Message(b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]}'), "v2", "request", 1),
        (Message(b'{"data":{"ndarray":[[1],[2]]}}', Kind.RESPONSE), "seldon", "response", 2),
        (Message(b'{"request":{"data":{"ndarray":[[1]]}},"reward":1}'), "seldon", "feedback", 1),
        (Message(b'{"data":{"is_outlier":[0,1]},"meta":{}}'), "detector", "verdict", 2),
        (Message(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'), "openai", "request", 1),
        (Message(STREAM), "openai", "response", 1),
        (Message(b"\n" + STREAM, content_type="application/json"), "openai", "response", 1),
        (Message(BINARY), "v2", "request", 2),
        (Message(BINARY, header_length=len(BINARY) - 8), "v2", "request", 2),
        (Message(GRPC, Kind.REQUEST, content_type="application/x-protobuf"), "v2-grpc", "request", 2),
        (Message(GRPC, Kind.RESPONSE, Protocol.V2_GRPC), "v2-grpc", "response", 2),
        (Message(b"\0" + struct.pack(">I", len(GRPC)) + GRPC, Kind.REQUEST, content_type="application/grpc+proto"),
         "v2-grpc", "request", 2),
        (Message(b'{"instances":[1]}', content_type="application/grpc"), "v1", "request", 1),
        (Message(PNG, content_type="application/octet-stream"), "image", "request", 1),
        (Message(gzip.compress(b'{"instances":[1]}', mtime=0)), "v1", "request", 1),
        (Message(b'{"a":1,"b":"x"}', None, Protocol.JSON), "json", "request", 1),
        (Message(b"[1,2,3]", Kind.RESPONSE, Protocol.JSON), "json", "response", 1),
        (Message(b"[[1,2],[3,4]]", None, Protocol.JSON), "json", "request", 2),
        (Message(b"0.75", Kind.RESPONSE, Protocol.JSON), "json", "response", 1),
    ],
)  # fmt: skip
def test_a_body_finds_its_reader(message: Message, protocol: str, kind: str, rows: int) -> None:
    payload = decode(message)
    assert (payload.protocol, payload.kind, payload.rows) == (protocol, kind, rows)
    assert len(payload.row_values()) == rows
    json.dumps(describe(payload))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(b""), "body is empty"),
        (Message(b" \n"), "body is empty"),
        (Message(b"plain words"), "not JSON"),
        (Message(b"[1,2]"), "a bare list; declare 'json'"),
        (Message(b"[" + b"1," * 400 + b"1]"), "a bare list"),
        (Message(b"3"), "the body is a number"),
        (Message(b"{}"), "its members are none"),
        (Message(b'{"error":"model is not ready"}'), "the body is an error: 'model is not ready'"),
        (Message(b'{"method":"POST","url":"u"}'), "its members are 'method', 'url'"),
        (Message(b'{"instances":[1]}', Kind.RESPONSE), "a response was expected"),
        (Message(STREAM, Kind.REQUEST), "a request was expected, and the body is a stream"),
        (Message(b'{"instances":[1]}', None, Protocol.SELDON), "Seldon|none of"),
        (Message(BINARY, None, Protocol.V1), "binary tensors are V2's, and v1 was declared"),
        (Message(BINARY, header_length=10**9), "Content-Length is 1000000000"),
        (Message(GRPC, content_type="application/protobuf"), "declare which"),
        (Message(b'{"instances":[1]}', content_encoding="br"), "'br' is not read"),
        (Message(b'{"instances":[1,2,3]}'), "3 rows, the limit is 2"),
    ],
)
def test_what_is_none_is_refused_with_a_reason(message: Message, reason: str) -> None:
    with pytest.raises(MalformedPayload, match=reason):
        decode(message, Limits(rows=2))


def event(**more: Any) -> CloudEvent:
    return CloudEvent("1", "/s", more.pop("type", REQUEST), **more)


@pytest.mark.parametrize(
    ("extensions", "length"),
    [
        ({}, None),
        ({"inferenceheaderlength": "12"}, 12),
        ({"inferenceheaderlength": "twelve"}, None),
        ({"inferenceheaderlength": "9" * 5000}, None),
        ({"metadata": '{"Inference-Header-Content-Length":["12"]}'}, 12),
        ({"metadata": '{"Inference-Header-Content-Length":[]}'}, None),
        ({"metadata": '{"Inference-Header-Content-Length":12}'}, None),
        ({"metadata": "[" * 100_000}, None),
        ({"metadata": '["Inference-Header-Content-Length"]'}, None),
    ],
)
def test_the_length_of_a_header_comes_with_the_event(extensions: dict[str, str], length: int | None) -> None:
    assert message_of(event(extensions=extensions)).header_length == length


def test_a_response_does_not_go_by_the_headers_of_its_request() -> None:
    metadata = {"metadata": '{"Inference-Header-Content-Length":["12"]}'}
    assert message_of(event(type=RESPONSE, extensions=metadata)).header_length is None


def test_an_event_says_how_its_data_is_read() -> None:
    extensions = {"contentencoding": "gzip", "payloadprotocol": "json"}
    data = gzip.compress(b"[[1,2]]", mtime=0)
    message = message_of(event(extensions=extensions, data=data, datacontenttype="application/json"))
    assert message == Message(data, Kind.REQUEST, Protocol.JSON, "application/json", "gzip")
    assert message_of(event(extensions={"payloadprotocol": "v9"})).protocol is None


def test_headers_say_how_a_body_is_read() -> None:
    headers = {"grpc-encoding": "gzip", "content-type": "application/grpc", "inference-header-content-length": " 7 "}
    assert message_of_http(b"x", headers, Kind.RESPONSE, Protocol.V2) == Message(
        b"x", Kind.RESPONSE, Protocol.V2, "application/grpc", "gzip", 7
    )


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        (REQUEST, "request"),
        ("io.seldon.serving.inference.response", "response"),
        ("seldon.iris.default.response", "response"),
        ("io.seldon.serving.feedback", "feedback"),
        ("dev.wayside.inference.drift", "verdict"),
        ("seldon.outlier", "verdict"),
        ("com.example.order", None),
    ],
)
def test_a_type_tells_the_kind_by_its_last_word(event_type: str, kind: str | None) -> None:
    assert kind_of(event_type) == kind


def test_rows_are_known_by_their_event() -> None:
    assert row_ids("/s", "1", 2) == [record_id("/s", "1", 0), record_id("/s", "1", 1)]


def test_columns_make_objects_of_rows_and_differ_in_nothing_but_name() -> None:
    payload = decode(Message(b'{"inputs":{"a":[1,2],"b":["x","y"]}}'))
    assert payload.row_values() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert payload.names == ("a", "b")
    with pytest.raises(MalformedPayload, match="share a name"):
        Payload(Protocol.V1, Kind.REQUEST, (payload.columns[0], payload.columns[0]))
    with pytest.raises(MalformedPayload, match="no columns"):
        Payload(Protocol.V1, Kind.REQUEST, ())
