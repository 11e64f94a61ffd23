"""gRPC's V2 messages as JSON: the differences from the REST form, taken back.

Source: grpc_predict_v2.proto; ProtoJSON: names in lowerCamelCase or as in the .proto file, 64-bit integers as text,
bytes as base64, NaN and infinities by name.
Invariant: what is no such difference is handed on as it is, to be judged as REST's form is.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import element_value
from wayside.eventing.payloads.payload import Kind, NumberBlock, Tree
from wayside.eventing.payloads.protocols.members import type_word

_RAW: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        Kind.REQUEST: ("raw_input_contents", "rawInputContents"),
        Kind.RESPONSE: ("raw_output_contents", "rawOutputContents"),
    }
)
_BYTES: Final = ("bytes_contents", "bytesContents")
_FLOATS: Final = ("fp32_contents", "fp32Contents", "fp64_contents", "fp64Contents")
_LONGS: Final = ("int64_contents", "int64Contents", "uint64_contents", "uint64Contents")
_INTEGERS: Final = ("bool_contents", "boolContents", "int_contents", "intContents", "uint_contents", "uintContents")
_NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_LONG_DIGITS: Final = 20


def data(tensor: Mapping[str, Tree]) -> Tree:
    """A tensor's values: its `data`, or the one list in its `contents`; None where it has neither."""
    contents = tensor.get("contents")
    if tensor.get("data") is not None or contents is None:
        return tensor.get("data")
    filled = {name: values for name, values in contents.items() if values} if isinstance(contents, dict) else {}
    if len(filled) != 1:
        raise MalformedPayload("'contents' is not an object with one list of values")
    name, values = next(iter(filled.items()))
    if name not in (*_BYTES, *_FLOATS, *_LONGS, *_INTEGERS):
        raise MalformedPayload(f"'contents' has no member {name[:64]!r}")
    return [_value(name, value) for value in values] if isinstance(values, list) else values


def _value(name: str, value: Tree) -> Tree:
    if not isinstance(value, str):
        return value
    if name in _FLOATS and value in _NON_FINITE:
        return float(value)
    if name in _LONGS and len(value) <= _LONG_DIGITS and value.isascii() and value.removeprefix("-").isdecimal():
        return int(value)
    return element_value(_decoded(value, name)) if name in _BYTES else value


def shape(declared: object) -> object:
    """The shape as a list, with sizes that were sent as text made integers."""
    if isinstance(declared, NumberBlock):
        declared = declared.tolist()
    if isinstance(declared, list) and declared and all(_is_size(size) for size in declared):
        return [int(size) for size in declared]
    return declared


def _is_size(size: object) -> bool:
    return isinstance(size, str) and len(size) <= _LONG_DIGITS and size.isascii() and size.isdecimal()


def raw_contents(tree: Mapping[str, Any], kind: Kind) -> Iterator[bytes]:
    """The packed values of the tensors that have no contents, in order."""
    for name in _RAW[kind]:
        values = tree.get(name)
        if values is None:
            continue
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise MalformedPayload(f"{name!r} is {type_word(values)}, expected a list of base64")
        for value in values:
            yield _decoded(value, name)


def _decoded(value: str, name: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except ValueError as exc:
        raise MalformedPayload(f"{name!r} holds what is not base64: {exc}") from exc
