"""`InferTensorContents`: a gRPC tensor's typed values, packed as its datatype says.

Source: grpc_predict_v2.proto, `InferTensorContents`; protobuf.dev, "Encoding", on the truncation of 32-bit integers.
Invariant: values come from the one field that the protocol has for the datatype, and each fits the datatype.
"""

import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import INTEGER_RANGES, ITEM_BYTES, STRUCT_CODES, pack_elements
from wayside.eventing.payloads.payload import Datatype
from wayside.eventing.payloads.protocols.protobuf_wire import Body, Field, Wire, signed, unsigned, varints

_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    dict(
        enumerate(
            (
                "bool_contents",
                "int_contents",
                "int64_contents",
                "uint_contents",
                "uint64_contents",
                "fp32_contents",
                "fp64_contents",
                "bytes_contents",
            ),
            start=1,
        )
    )
)
_BYTES_NUMBER: Final = 8
_NUMBERS: Final[Mapping[Datatype, int]] = MappingProxyType(
    {
        Datatype.BOOL: 1,
        Datatype.INT8: 2,
        Datatype.INT16: 2,
        Datatype.INT32: 2,
        Datatype.INT64: 3,
        Datatype.UINT8: 4,
        Datatype.UINT16: 4,
        Datatype.UINT32: 4,
        Datatype.UINT64: 5,
        Datatype.FP32: 6,
        Datatype.FP64: 7,
        Datatype.BYTES: _BYTES_NUMBER,
    }
)
_FIXED: Final[Mapping[Datatype, Wire]] = MappingProxyType({Datatype.FP32: Wire.I32, Datatype.FP64: Wire.I64})
_VALUES: Final[Mapping[int, Callable[[int], int]]] = MappingProxyType(
    {
        1: bool,
        2: partial(signed, bits=32),
        3: partial(signed, bits=64),
        4: partial(unsigned, bits=32),
        5: partial(unsigned, bits=64),
    }
)


def elements(body: Body, contents: Field) -> Iterator[Field]:
    """The fields that hold values. An empty packed field holds none, as if it had not been sent."""
    for field in body.within(contents):
        if field.number in _NAMES and (field.number == _BYTES_NUMBER or field.end > field.start):
            yield field


def pack(body: Body, fields: Sequence[Field], datatype: Datatype) -> bytes | memoryview:
    """The values as the datatype's packed bytes; floats that came in one field are not copied.

    Raises `MalformedPayload` for a datatype that has no typed contents (FP16, BF16), for contents of another type,
    and for an integer out of the datatype's range.
    """
    _check_numbers(fields, datatype)
    if datatype is Datatype.BYTES:
        return pack_elements(body.value(field) for field in fields)
    if datatype in _FIXED:
        return body.joined(fields, _FIXED[datatype])
    return _pack_integers(body.joined(fields, Wire.VARINT), datatype)


def _check_numbers(fields: Sequence[Field], datatype: Datatype) -> None:
    expected = _NUMBERS.get(datatype)
    if expected is None:
        raise MalformedPayload(f"{datatype} has no typed contents: send it as raw contents")
    for field in fields:
        if field.number != expected:
            raise MalformedPayload(f"{datatype} belongs in {_NAMES[expected]}, found {_NAMES[field.number]}")


def _pack_integers(data: bytes | memoryview, datatype: Datatype) -> bytes | memoryview:
    convert = _VALUES[_NUMBERS[datatype]]
    if ITEM_BYTES[datatype] == 1 and bytes(data).isascii():
        return data
    code = STRUCT_CODES[datatype].replace("?", "B")
    try:
        packed = array(code, varints(data, convert))
    except OverflowError as exc:
        raise MalformedPayload(_out_of_range(varints(data, convert), datatype)) from exc
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _out_of_range(values: Iterator[int], datatype: Datatype) -> str:
    index, value = next((index, value) for index, value in enumerate(values) if value not in INTEGER_RANGES[datatype])
    return f"value {index} is {value}, no {datatype}"
