"""gRPC messages that protobuf wrote, read as they were meant; everything else refused with its tensor or byte."""

import gzip
import math
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_inference_messages import ModelInferRequest, ModelInferResponse, parameters

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import INTEGER_RANGES, Packed, pack_elements
from wayside.eventing.payloads.payload import Datatype, Kind, Limits, Payload, Protocol
from wayside.eventing.payloads.protocols.v2_grpc import read

LIMITS = Limits()
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
RAW = {
    "BOOL": ([True, False], b"\x01\x00"),
    "INT8": ([-1, 127], b"\xff\x7f"),
    "INT16": ([-2, 3], struct.pack("<2h", -2, 3)),
    "INT32": ([-2, 3], struct.pack("<2i", -2, 3)),
    "INT64": ([-(2**63), 3], struct.pack("<2q", -(2**63), 3)),
    "UINT8": ([255, 1], b"\xff\x01"),
    "UINT16": ([65535, 1], struct.pack("<2H", 65535, 1)),
    "UINT32": ([2**32 - 1, 1], struct.pack("<2I", 2**32 - 1, 1)),
    "UINT64": ([2**64 - 1, 1], struct.pack("<2Q", 2**64 - 1, 1)),
    "FP16": ([1.5, -0.25], np.array([1.5, -0.25], "<f2").tobytes()),
    "BF16": ([1.5, -0.25], b"\xc0\x3f\x80\xbe"),
    "FP32": ([1.5, -0.25], struct.pack("<2f", 1.5, -0.25)),
    "FP64": ([0.1, -0.2], struct.pack("<2d", 0.1, -0.2)),
    "BYTES": (["a", {"b64": "/w=="}], pack_elements([b"a", b"\xff"])),
}
VALUES = {
    "BOOL": st.booleans(),
    "FP32": st.floats(width=32),
    "FP64": st.floats(),
    "BYTES": st.binary(max_size=20),
} | {
    datatype: st.integers(integers.start, integers.stop - 1) | st.integers(0, 127)
    for datatype, integers in INTEGER_RANGES.items()
}


def tensor(name: str = "x", datatype: str = "FP32", shape: tuple[int, ...] = (2,), **of: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **of}


def request(*inputs: dict[str, Any], raws: tuple[bytes, ...] = (), **of: Any) -> bytes:
    return ModelInferRequest(inputs=inputs, raw_input_contents=raws, **of).SerializeToString()


def response(*outputs: dict[str, Any], raws: tuple[bytes, ...] = (), **of: Any) -> bytes:
    return ModelInferResponse(outputs=outputs, raw_output_contents=raws, **of).SerializeToString()


def framed(message: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


def nested(number: int, value: bytes) -> bytes:
    sizes = []
    size = len(value)
    while size > 127:
        sizes.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *sizes, size]) + value


def read_bare(body: bytes, kind: Kind | None = None) -> Payload:
    return read(body, kind, LIMITS, framed=False)


TWO = tensor(contents={"fp32_contents": [1.5, 2.5]})


@pytest.mark.parametrize("datatype", RAW)
def test_raw_contents_of_every_datatype(datatype: str) -> None:
    values, raw = RAW[datatype]
    payload = read_bare(request(tensor(datatype=datatype), raws=(raw,)))

    assert payload.protocol is Protocol.V2_GRPC
    assert payload.kind is Kind.REQUEST
    assert payload.columns[0].datatype == datatype
    assert payload.row_values() == values
    assert read_bare(response(tensor(datatype=datatype), raws=(raw,))).kind is Kind.RESPONSE


@given(st.sampled_from(sorted(CONTENTS)), st.data())
def test_typed_contents_of_every_datatype_are_packed_as_raw_ones_are(datatype: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[datatype], min_size=1))
    shape = (len(values), 1)
    payload = read_bare(
        request(tensor(datatype=datatype, shape=shape, contents={CONTENTS[datatype]: values})), Kind.REQUEST
    )
    (column,) = payload.columns

    assert column.shape == shape
    assert isinstance(column.values, Packed)
    packed = bytes(column.values.data)
    assert packed == (pack_elements(values) if datatype == "BYTES" else np.array(values, DTYPES[datatype]).tobytes())


DTYPES = {
    "BOOL": "?",
    **{datatype: np.dtype(datatype.lower()).newbyteorder("<") for datatype in INTEGER_RANGES},
    "FP32": "<f4",
    "FP64": "<f8",
}


def test_floats_are_not_copied() -> None:
    body = request(tensor(contents={"fp32_contents": [1.5, 2.5]}), tensor("y"), raws=(bytes(8),))
    for column in read_bare(body, Kind.REQUEST).columns:
        assert isinstance(column.values, Packed)
        assert isinstance(column.values.data, memoryview)
        assert column.values.data.obj is body


def test_what_a_message_says_of_itself() -> None:
    of = {"model_name": "iris", "model_version": "3", "id": "7", "parameters": parameters(x="y")}
    payload = read_bare(response(TWO, **of), Kind.RESPONSE)

    assert (payload.model, payload.id, payload.named, payload.names) == ("iris", "7", True, ("x",))
    assert (read_bare(response(TWO), Kind.RESPONSE).model, read_bare(response(TWO), Kind.RESPONSE).id) == (None, None)


def test_several_inputs_of_one_batch() -> None:
    raws = (struct.pack("<4f", 1, 2, 3, 4), pack_elements([b"a", b"b"]))
    payload = read_bare(request(tensor("x", shape=(2, 2)), tensor("y", "BYTES", (2, 1)), raws=raws))

    assert payload.row_values() == [{"x": [1.0, 2.0], "y": ["a"]}, {"x": [3.0, 4.0], "y": ["b"]}]


def test_raw_contents_fill_the_tensors_without_contents_in_order() -> None:
    raws = (struct.pack("<2f", 5, 6), struct.pack("<2f", 7, 8))
    payload = read_bare(request(tensor("a"), TWO, tensor("b"), raws=raws))

    assert payload.row_values()[0] == {"a": 5.0, "x": 1.5, "b": 7.0}


@pytest.mark.parametrize(
    ("of_tensor", "of_request", "datatype", "expected"),
    [
        ("base64", "str", "BYTES", "base64"),
        (None, "str", "BYTES", "str"),
        (None, "np", "BYTES", None),
        ("str", None, "UINT8", None),
        (None, None, "BYTES", None),
    ],
)
def test_mlservers_content_type(
    of_tensor: str | None, of_request: str | None, datatype: str, expected: str | None
) -> None:
    mine = parameters(content_type=of_tensor) if of_tensor else []
    whole = parameters(content_type=of_request) if of_request else []
    raw = pack_elements([b"", b""]) if datatype == "BYTES" else bytes(2)

    payload = read_bare(request(tensor(datatype=datatype, parameters=mine), raws=(raw,), parameters=whole))

    assert payload.columns[0].content_type == expected


@pytest.mark.parametrize(
    "entries",
    [
        parameters(content_type="str") + parameters(content_type="base64"),
        [{"key": "content_type", "value": {"bool_param": True}}, *parameters(content_type="base64")],
        [*parameters(content_type="base64"), {"key": "other", "value": {"double_param": 0.5}}],
    ],
)
def test_the_last_entry_of_a_parameter_counts(entries: list[dict[str, Any]]) -> None:
    body = request(tensor(datatype="BYTES", parameters=entries), raws=(pack_elements([b"", b""]),))

    assert read_bare(body).columns[0].content_type == "base64"


def test_contents_and_shape_need_not_be_packed_nor_in_one_piece() -> None:
    first = ModelInferRequest(inputs=[tensor("x", "INT32", (2, 3), contents={"int_contents": [1, -2, 300]})]).inputs[0]
    second = ModelInferRequest(inputs=[{"contents": {"int_contents": [4, 5]}}]).inputs[0]
    unpacked = b"\x2a\x02\x10\x06"  # contents of one int_contents, 6, with a tag of its own

    body = nested(5, first.SerializeToString() + second.SerializeToString() + unpacked)
    payload = read_bare(body, Kind.REQUEST)

    assert payload.row_values() == [[1, -2, 300], [4, 5, 6]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (request(tensor(), raws=(bytes(8),)), Kind.REQUEST),
        (request(TWO, outputs=[{"name": "y"}]), Kind.REQUEST),
        (request(TWO, outputs=[{"name": "y", "parameters": parameters(a="b")}]), Kind.REQUEST),
        (request(tensor(), outputs=[{"name": "y"}], raws=(bytes(8),)), Kind.REQUEST),
        (response(tensor(), raws=(bytes(8),)), Kind.RESPONSE),
        (response(tensor(), TWO | {"name": "y"}, raws=(bytes(8),)), Kind.RESPONSE),
    ],
)
def test_a_kind_that_shows_is_told(body: bytes, kind: Kind) -> None:
    other = Kind.RESPONSE if kind is Kind.REQUEST else Kind.REQUEST

    assert read_bare(body).kind is read_bare(body, kind).kind is kind
    with pytest.raises(MalformedPayload, match=f"^gRPC message is a {kind}, a {other} was expected$"):
        read_bare(body, other)


@pytest.mark.parametrize("body", [request(TWO), response(TWO), request(tensor(shape=(0,)))])
def test_a_kind_that_does_not_show_must_be_declared(body: bytes) -> None:
    assert {read_bare(body, kind).kind for kind in (Kind.REQUEST, Kind.RESPONSE)} == {Kind.REQUEST, Kind.RESPONSE}
    with pytest.raises(MalformedPayload, match="could be a request or a response: declare which"):
        read_bare(body)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
@pytest.mark.parametrize("raws", [(), (b"",)])
def test_an_empty_batch_needs_no_bytes(shape: tuple[int, ...], raws: tuple[bytes, ...]) -> None:
    payload = read_bare(request(tensor(shape=shape), raws=raws), Kind.REQUEST)

    assert (payload.rows, payload.columns[0].shape) == (shape[0], shape)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "gRPC message has no tensors"),
        (request(), "gRPC message has no tensors"),
        (request(tensor("")), "tensor 0: it has no name"),
        (request(tensor("x" * 99)), f"tensor {'x' * 64!r}: it has neither contents nor raw contents"),
        (request(tensor(shape=())), "tensor 'x': shape has 0 dimensions, expected 1 to 32"),
        (request(tensor(shape=(1,) * 33)), "tensor 'x': shape has 33 dimensions, expected 1 to 32"),
        (request(tensor(shape=(1,) * 999)), "tensor 'x': shape has more than 32 dimensions"),
        (request(tensor(shape=(-1, 2))), "tensor 'x': shape [-1, 2] has a negative size"),
        (request(tensor(shape=(1 << 40, 0))), "tensor 'x': shape has 1099511627776 rows, the limit is 1000000"),
        (request(tensor(datatype="JSON")), "tensor 'x': datatype is 'JSON', not one of BOOL"),
        (request(tensor(datatype="")), "tensor 'x': datatype is '', not one of BOOL"),
        (request(tensor(), raws=(bytes(7),)), "tensor 'x': FP32 of shape [2] needs 8 bytes, data has 7"),
        (request(tensor(), raws=(bytes(8), b"")), "gRPC message has 2 raw contents for 1 tensors without contents"),
        (request(TWO, raws=(bytes(8),)), "gRPC message has 1 raw contents for 0 tensors without contents"),
        (request(tensor(), tensor("y"), raws=(bytes(8),)), "gRPC message has 1 raw contents for 2 tensors"),
        (request(TWO, TWO), "two columns share a name"),
        (request(TWO, tensor("y", shape=(1,), contents={"fp32_contents": [1]})), "columns differ in rows"),
        (
            request(tensor(datatype="FP16", contents={"fp32_contents": [1, 2]})),
            "tensor 'x': FP16 has no typed contents: send it as raw contents",
        ),
        (
            request(tensor(datatype="FP32", contents={"fp64_contents": [1, 2]})),
            "tensor 'x': FP32 belongs in fp32_contents, found fp64_contents",
        ),
        (
            request(tensor(datatype="UINT8", contents={"uint_contents": [255, 256]})),
            "tensor 'x': value 1 is 256, no UINT8",
        ),
        (
            request(tensor(datatype="INT8", contents={"int_contents": [-128, -129]})),
            "tensor 'x': value 1 is -129, no INT8",
        ),
        (
            request(tensor(datatype="BYTES", contents={"bytes_contents": [b"a"]})),
            "tensor 'x': shape [2] needs 2 BYTES elements, data has 1",
        ),
        (
            request(tensor(parameters=parameters(shared_memory_region="r"))),
            "tensor 'x': its values were passed in shared memory, no event holds them",
        ),
        (request(TWO)[:-1], "protobuf field at byte 0 ends at byte"),
    ],
)
def test_what_is_no_request_is_refused_with_its_place(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        read_bare(body, Kind.REQUEST)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("kind", [Kind.FEEDBACK, Kind.VERDICT])
def test_there_is_no_other_kind(kind: Kind) -> None:
    with pytest.raises(MalformedPayload, match=f"^V2 over gRPC has requests and responses, no {kind}$"):
        read_bare(request(TWO), kind)


BODY = request(tensor(), raws=(bytes(8),))


@pytest.mark.parametrize(
    "body", [framed(BODY), framed(gzip.compress(BODY, mtime=0), flag=1), framed(zlib.compress(BODY), flag=1)]
)
def test_a_frame_is_taken_off_and_its_message_inflated(body: bytes) -> None:
    assert read(body, None, LIMITS, framed=True).row_values() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x00\x00", "gRPC frame needs 5 bytes before its message, the body has 2"),
        (framed(BODY)[:-1], f"gRPC message needs {len(BODY)} bytes, {len(BODY) - 1} are left: it is cut off"),
        (framed(BODY) * 2, "body holds more than one gRPC message: send each message of a stream as its own event"),
        (framed(BODY, flag=2), "gRPC frame starts with flag 2, expected 0 or 1 (compressed)"),
        (framed(BODY, flag=1), "gRPC message is compressed, and neither gzip nor deflate"),
        (framed(gzip.compress(bytes(1 << 20), mtime=0), flag=1), "body inflates beyond the limit of inflated bytes"),
        (framed(b""), "gRPC message has no tensors"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        read(body, None, Limits(inflated_bytes=1 << 16), framed=True)

    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    "body",
    [
        b"\x2a\x00" * 2_000_000,
        b"\x3a\x00" * 2_000_000,
        nested(5, nested(5, b"\x42\x00" * 1_000_001)),
        nested(5, nested(1, b"x") + nested(3, b"\x01" * 2_000_000)),
        nested(5, nested(1, b"x") + nested(3, b"\x80" * 2_000_000)),
        nested(5, b"\x0a\x01x\x12\x05INT64\x18\x02" + nested(5, nested(3, b"\x80" * 2_000_000))),
        b"\x2b" * 2_000_000,
    ],
)
def test_hostile_messages_are_refused_in_bounded_time(body: bytes) -> None:
    with pytest.raises(MalformedPayload):
        read_bare(body, Kind.REQUEST)


TENSORS = (
    tensor("a", "INT64", contents={"int64_contents": [2**40, -1]}, parameters=parameters(content_type="np")),
    tensor("b", "BYTES", contents={"bytes_contents": [b"x", b"\xff"]}),
    tensor("c", "FP16"),
)
MESSAGE = request(*TENSORS, raws=(bytes(4),), id="7", outputs=[{"name": "y"}])
WHOLE_TENSORS = {len(request(*TENSORS[:count], id="7")) for count in (1, 2)}


@pytest.mark.parametrize("cut", range(len(MESSAGE)))
def test_a_message_cut_anywhere_is_refused(cut: int) -> None:
    """But where whole tensors are cut off: without a frame the rest is a message like any other."""
    with pytest.raises(MalformedPayload):
        read(framed(MESSAGE)[: cut + 5], None, LIMITS, framed=True)
    if cut not in WHOLE_TENSORS:
        with pytest.raises(MalformedPayload):
            read_bare(MESSAGE[:cut], Kind.REQUEST)


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255), st.sampled_from([None, *Kind]))
def test_a_message_with_another_byte_is_read_or_refused(place: int, byte: int, kind: Kind | None) -> None:
    with suppress(MalformedPayload):
        read_bare(MESSAGE[:place] + bytes([byte]) + MESSAGE[place + 1 :], kind).row_values()


@given(st.binary(max_size=80), st.sampled_from([None, *Kind]), st.booleans())
def test_any_bytes_are_read_or_refused(body: bytes, kind: Kind | None, is_framed: bool) -> None:
    with suppress(MalformedPayload):
        read(body, kind, LIMITS, framed=is_framed)


@given(st.lists(st.floats(width=32), min_size=1), st.booleans())
def test_a_row_value_is_the_float_that_was_sent(values: list[float], as_raw: bool) -> None:
    shape = (len(values),)
    if as_raw:
        body = request(tensor(shape=shape), raws=(np.array(values, "<f4").tobytes(),))
    else:
        body = request(tensor(shape=shape, contents={"fp32_contents": values}))

    for sent, seen in zip(values, read_bare(body, Kind.REQUEST).row_values(), strict=True):
        assert seen == sent or (math.isnan(seen) and math.isnan(sent))


def test_bf16_and_fp16_are_raw_only() -> None:
    assert set(RAW) - set(CONTENTS) == {Datatype.FP16, Datatype.BF16}
