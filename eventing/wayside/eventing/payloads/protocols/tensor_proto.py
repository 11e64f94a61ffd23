"""TensorFlow's `TensorProto` as JSON, which Seldon's messages carry as `tftensor`.

Source: tensorflow/core/framework/{tensor,tensor_shape,types}.proto, through ProtoJSON; `tf.make_ndarray` on a list
of fewer values than places: the last one stands for the rest.
Invariant: as many values as the shape has places, or a refusal; a short list is filled up within `limits.rows` only.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from math import prod
from struct import pack
from types import MappingProxyType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.datatypes import Packed, check_packed, check_shape, element_value
from wayside.eventing.payloads.payload import Column, Datatype, FlatList, Limits, NumberBlock, Tree
from wayside.eventing.payloads.protocols.members import type_word
from wayside.eventing.payloads.typed_tensors import check_values

# By name: the enum's number, our datatype, the member with its values.
_TYPES: Final[Mapping[str, tuple[int, Datatype, str]]] = MappingProxyType(
    {
        "DT_FLOAT": (1, Datatype.FP32, "floatVal"),
        "DT_DOUBLE": (2, Datatype.FP64, "doubleVal"),
        "DT_INT32": (3, Datatype.INT32, "intVal"),
        "DT_UINT8": (4, Datatype.UINT8, "intVal"),
        "DT_INT16": (5, Datatype.INT16, "intVal"),
        "DT_INT8": (6, Datatype.INT8, "intVal"),
        "DT_STRING": (7, Datatype.BYTES, "stringVal"),
        "DT_INT64": (9, Datatype.INT64, "int64Val"),
        "DT_BOOL": (10, Datatype.BOOL, "boolVal"),
        "DT_BFLOAT16": (14, Datatype.BF16, "halfVal"),
        "DT_UINT16": (17, Datatype.UINT16, "intVal"),
        "DT_HALF": (19, Datatype.FP16, "halfVal"),
        "DT_UINT32": (22, Datatype.UINT32, "uint32Val"),
        "DT_UINT64": (23, Datatype.UINT64, "uint64Val"),
    }
)
_NON_FINITE: Final = frozenset({"NaN", "Infinity", "-Infinity"})
_LONG_DIGITS: Final = 20
_HALF: Final = range(1 << 16)


def read_tensor(name: str, proto: Tree, limits: Limits) -> Column:
    """The column of a `TensorProto`; one without dimensions is one row. Raises `MalformedPayload`."""
    if not isinstance(proto, dict):
        raise MalformedPayload(f"it is {type_word(proto)}, expected a TensorProto as an object")
    datatype, member = _datatype(proto.get("dtype"))
    shape = _shape(_member(proto, "tensorShape"), limits)
    content = _member(proto, "tensorContent")
    if content:
        return _packed(name, datatype, shape, _decoded(content, "tensorContent"))
    items = _filled(_values(proto, member), shape, limits)
    if member == "halfVal":
        return _packed(name, datatype, shape, _halves(items))
    check_values(items, datatype, shape)
    return Column(name, datatype, shape, FlatList(items))


def _member(owner: Mapping[str, Tree], name: str) -> Tree:
    """A member by its JSON name, or by its name in the .proto file."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return owner.get(name, owner.get(snake))


def _datatype(given: object) -> tuple[Datatype, str]:
    for name, (number, datatype, member) in _TYPES.items():
        if given == name or (type(given) is int and given == number):
            return datatype, member
    raise MalformedPayload(f"dtype {str(given)[:64]!r} is none of {', '.join(_TYPES)}")


def _shape(given: Tree, limits: Limits) -> tuple[int, ...]:
    given = {} if given is None else given
    dims = given.get("dim", []) if isinstance(given, dict) else None
    if not isinstance(dims, list) or not isinstance(given, dict) or _member(given, "unknownRank"):
        raise MalformedPayload("'tensorShape' is no shape")
    shape = tuple(_size(dim) for dim in dims) or (1,)
    check_shape(shape, limits)
    return shape


def _size(dim: Tree) -> int:
    size = _integer(dim.get("size", 0)) if isinstance(dim, dict) else None
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise MalformedPayload("'tensorShape' has a dimension without a size")
    return size


def _integer(value: Tree) -> Tree:
    """64-bit integers are text in ProtoJSON."""
    is_number = isinstance(value, str) and len(value) <= _LONG_DIGITS and value.isascii()
    return int(value) if is_number and value.removeprefix("-").isdecimal() else value


def _values(proto: Mapping[str, Tree], member: str) -> Sequence[Any]:
    values = _member(proto, member)
    values = values.tolist() if isinstance(values, NumberBlock) else [] if values is None else values
    if not isinstance(values, list):
        raise MalformedPayload(f"{member!r} is {type_word(values)}, expected a list")
    match member:
        case "stringVal":
            return [element_value(_decoded(value, member)) for value in values]
        case "int64Val" | "uint64Val":
            return [_integer(value) for value in values]
        case "floatVal" | "doubleVal":
            return [float(value) if isinstance(value, str) and value in _NON_FINITE else value for value in values]
    return values


def _decoded(value: Tree, member: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except (ValueError, TypeError) as exc:
        raise MalformedPayload(f"{member!r} is not base64: {exc}") from exc


def _filled(items: Sequence[Any], shape: Sequence[int], limits: Limits) -> Sequence[Any]:
    count = prod(shape)
    if len(items) == count:
        return items
    if not items or len(items) > count:
        raise MalformedPayload(f"{len(items)} values do not fill shape {list(shape)}, which needs {count}")
    if count > limits.rows:
        raise MalformedPayload(f"{len(items)} values are to fill {count} places, more than {limits.rows}")
    return list(chain(items, repeat(items[-1], count - len(items))))


def _halves(items: Sequence[Any]) -> bytes:
    """16-bit floats come as the integers that their bits are."""
    if not all(type(item) is int and item in _HALF for item in items):
        raise MalformedPayload("'halfVal' holds what is not 16 bits")
    return pack(f"<{len(items)}H", *items)


def _packed(name: str, datatype: Datatype, shape: tuple[int, ...], data: bytes) -> Column:
    if datatype is Datatype.BYTES:
        raise MalformedPayload("'tensorContent' of DT_STRING has no one reading: send 'stringVal'")
    check_packed(datatype, shape, data)
    return Column(name, datatype, shape, Packed(data, datatype))
