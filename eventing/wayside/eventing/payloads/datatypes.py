"""The Open Inference Protocol's datatypes: how wide, which range, and how their packed bytes read.

Source: Open Inference Protocol, "Tensor Data Types"; Triton's binary tensor data extension, extension_binary_data.md.
Invariant: packed bytes are little-endian, row-major, without padding, and fill their shape exactly before anyone reads.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from struct import Struct
from types import MappingProxyType
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.payload import Datatype, Limits, Values, fold

STRUCT_CODES: Final[Mapping[Datatype, str]] = MappingProxyType(
    {
        Datatype.BOOL: "?",
        Datatype.UINT8: "B",
        Datatype.UINT16: "H",
        Datatype.UINT32: "I",
        Datatype.UINT64: "Q",
        Datatype.INT8: "b",
        Datatype.INT16: "h",
        Datatype.INT32: "i",
        Datatype.INT64: "q",
        Datatype.FP16: "e",
        Datatype.FP32: "f",
        Datatype.FP64: "d",
    }
)
"""What `struct` and `array` call a packed value; BF16 is none that they know."""

ITEM_BYTES: Final[Mapping[Datatype, int]] = MappingProxyType(
    {Datatype.BF16: 2} | {datatype: Struct(f"<{code}").size for datatype, code in STRUCT_CODES.items()}
)
"""Bytes of one packed value; BYTES and JSON have none, their values are of any length."""

INTEGER_RANGES: Final[Mapping[Datatype, range]] = MappingProxyType(
    {Datatype(f"INT{bits}"): range(-(1 << bits - 1), 1 << bits - 1) for bits in (8, 16, 32, 64)}
    | {Datatype(f"UINT{bits}"): range(1 << bits) for bits in (8, 16, 32, 64)}
)
"""The integers that a datatype holds: `value in INTEGER_RANGES[datatype]`."""

SIZE_LIMIT: Final = (1 << 63) - 1
"""The greatest size of a dimension: shapes are signed 64-bit integers on every wire."""

EXACT_LIMIT: Final = 1 << 53
"""Up to here, on either side of 0, float64 holds every integer."""

FLOATS: Final = frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64})

_EMPTY_LISTS_LIMIT: Final = 100
_LENGTH: Final = Struct("<I")


@dataclass(frozen=True, slots=True)
class Packed(Values):
    """Values as they lay on the wire. Whoever makes one has had `check_packed` see that the bytes fill the shape."""

    data: bytes | memoryview
    datatype: Datatype

    def row_values(self, shape: Sequence[int]) -> list[Any]:
        return fold(unpack(self.data, self.datatype), shape)


def tensor_datatype(name: object) -> Datatype:
    """The datatype that a tensor names on the wire, in either case as KServe reads it. `JSON` is ours and no wire's.

    Raises `MalformedPayload`.
    """
    if isinstance(name, str) and name.upper() in Datatype.__members__ and name.upper() != Datatype.JSON:
        return Datatype(name.upper())
    known = ", ".join(datatype for datatype in Datatype if datatype is not Datatype.JSON)
    shown = repr(name[:64]) if isinstance(name, str) else f"of type {type(name).__name__}"
    raise MalformedPayload(f"datatype is {shown}, not one of {known}")


def check_shape(shape: Sequence[int], limits: Limits) -> None:
    """Raise `MalformedPayload` unless a tensor of `shape` has rows, no negative size, and costs no more than `limits`.

    An empty tensor needs no bytes, and its nested empty lists take memory all the same: so few are
    let pass that 10 000 tensors of a body together have no more of them than rows are let pass.
    """
    if not 1 <= len(shape) <= limits.dimensions:
        raise MalformedPayload(f"shape has {len(shape)} dimensions, expected 1 to {limits.dimensions}")
    if max(shape) > SIZE_LIMIT or min(shape) < -SIZE_LIMIT:
        raise MalformedPayload("shape has a size beyond 64 bits")
    if min(shape) < 0:
        raise MalformedPayload(f"shape {list(shape)} has a negative size")
    if shape[0] > limits.rows:
        raise MalformedPayload(f"shape has {shape[0]} rows, the limit is {limits.rows}")
    empty_lists = min(limits.rows, _EMPTY_LISTS_LIMIT)
    if 0 in shape and prod(shape[: shape.index(0)]) > empty_lists:
        raise MalformedPayload(f"shape {list(shape)} holds no value, yet more than {empty_lists} empty lists")


def check_packed(datatype: Datatype, shape: Sequence[int], data: bytes | memoryview) -> None:
    """Raise `MalformedPayload`, with what was expected and found, unless `data` is exactly the values of `shape`."""
    count = prod(shape)
    if datatype is Datatype.BYTES:
        found = sum(1 for _ in _element_bounds(data))
        if found != count:
            raise MalformedPayload(f"shape {list(shape)} needs {count} BYTES elements, data has {found}")
        return
    expected_bytes = count * ITEM_BYTES[datatype]
    if len(data) != expected_bytes:
        raise MalformedPayload(f"{datatype} of shape {list(shape)} needs {expected_bytes} bytes, data has {len(data)}")


def unpack(data: bytes | memoryview, datatype: Datatype) -> list[Any]:
    """All packed values as a flat list of JSON values; `data` is a whole number of items.

    BOOL: every byte but 0 is true, as in C; Triton hands such bytes on unchecked. FP16, BF16 and FP32 become the
    float that equals them exactly, NaN and infinity included.
    """
    if datatype is Datatype.BYTES:
        return [element_value(element) for element in packed_elements(data)]
    if datatype is Datatype.BF16:
        data, datatype = _widened(data), Datatype.FP32
    count = len(data) // ITEM_BYTES[datatype]
    return list(Struct(f"<{count}{STRUCT_CODES[datatype]}").unpack(data))


def _widened(data: bytes | memoryview) -> bytes:
    """BF16 as FP32: it is FP32's upper half."""
    wide = bytearray(2 * len(data))
    wide[2::4] = data[0::2]
    wide[3::4] = data[1::2]
    return bytes(wide)


def packed_elements(data: bytes | memoryview) -> list[bytes]:
    """The elements of packed BYTES, each behind its length in 4 bytes. Raises `MalformedPayload` where one is cut."""
    view = memoryview(data)
    return [bytes(view[start:end]) for start, end in _element_bounds(data)]


def pack_elements(elements: Iterable[bytes | memoryview]) -> bytes:
    """Elements as packed BYTES: what `packed_elements` reads back."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def _element_bounds(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    position, length = 0, len(data)
    while position < length:
        start = position + _LENGTH.size
        if start > length:
            raise MalformedPayload(f"BYTES element at byte {position}: its length is cut off")
        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > length:
            needs = f"needs {position - start} bytes, {length - start} are left"
            raise MalformedPayload(f"BYTES element at byte {start - _LENGTH.size}: {needs}")
        yield start, position


def element_value(element: bytes) -> Any:
    """A BYTES element as a JSON value: its text where it is UTF-8, else `{"b64": …}` (V1's form of bytes)."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(element).decode()}
