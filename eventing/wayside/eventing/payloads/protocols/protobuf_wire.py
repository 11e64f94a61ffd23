"""Protocol Buffers' wire format, read strictly: which fields lie where in a message.

Source: protobuf.dev, "Encoding". Groups are refused (proto3 has none); what a field means is its reader's business.
Invariant: every field lies whole within its message, and reading all fields of a body takes time linear in its bytes:
there is no recursion, a nested message is read by asking for the fields between its ends.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain
from types import MappingProxyType
from typing import Final, NamedTuple

from wayside.eventing.errors import MalformedPayload

_CONTINUES: Final = 0x80
VARINT_BYTES_LIMIT: Final = 10
_TAG_LIMIT: Final = 1 << 32
_OVERLONG: Final = re.compile(rb"[\x80-\xff]{10}")
_VARINTS: Final = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
_CHUNK_BYTES: Final = 1 << 16
_KNOWN_LIMIT: Final = 1 << 16


class Wire(IntEnum):
    """How a field's value is laid out."""

    VARINT = 0
    I64 = 1
    LEN = 2
    I32 = 5


_LEN: Final = Wire.LEN
_VARINT: Final = Wire.VARINT
_WIRES: Final = (Wire.VARINT, Wire.I64, Wire.LEN, None, None, Wire.I32, None, None)
_GROUPS: Final = (3, 4)
_FIXED_BYTES: Final[Mapping[Wire, int]] = MappingProxyType({Wire.I64: 8, Wire.I32: 4})


class Field(NamedTuple):
    """A field's number, how it is laid out, and between which bytes of the body its value lies."""

    number: int
    wire: Wire
    start: int
    end: int


class Body:
    """The bytes of a message and all messages within it. `fields_limit` bounds the fields read, over all of them."""

    def __init__(self, data: bytes, fields_limit: int) -> None:
        self.data: Final = data
        self._fields_limit = fields_limit
        self._fields_read = 0

    def fields(self, start: int = 0, end: int | None = None) -> Iterator[Field]:
        """The fields of the message between two bytes, as they come: of a scalar that comes twice, the last counts.

        Raises `MalformedPayload` with the byte where a field is truncated, oversized, a group, or has no number.
        """
        end = len(self.data) if end is None else end
        position = start
        while position < end:
            field = self._field(position, end)
            position = field.end
            self._fields_read += 1
            if self._fields_read > self._fields_limit:
                raise MalformedPayload(f"protobuf message has more than {self._fields_limit} fields")
            yield field

    def within(self, field: Field) -> Iterator[Field]:
        """The fields of the message that a field holds."""
        self.expect(field, Wire.LEN)
        return self.fields(field.start, field.end)

    def expect(self, field: Field, wire: Wire) -> None:
        """Raise `MalformedPayload` unless the field is laid out as its type wants."""
        if field.wire is not wire:
            found = f"is {field.wire.name}, expected {wire.name}"
            raise MalformedPayload(f"protobuf field {field.number} before byte {field.end} {found}")

    def value(self, field: Field) -> memoryview:
        """The bytes that a field of bytes holds, not copied."""
        self.expect(field, Wire.LEN)
        return memoryview(self.data)[field.start : field.end]

    def joined(self, fields: Sequence[Field], wire: Wire) -> bytes | memoryview:
        """The values of a repeated scalar laid out as `wire`, one after another, packed or not; one is not copied.

        Raises `MalformedPayload` for a field of another layout, and where a packed field cuts a value.
        """
        views = [self._packed(field, wire) for field in fields]
        return views[0] if len(views) == 1 else b"".join(views)

    def _packed(self, field: Field, wire: Wire) -> memoryview:
        if field.wire is not Wire.LEN:
            self.expect(field, wire)
        view = memoryview(self.data)[field.start : field.end]
        cut = len(view) % _FIXED_BYTES[wire] if wire in _FIXED_BYTES else len(view) and view[-1] >= _CONTINUES
        if cut:
            raise MalformedPayload(f"packed protobuf field {field.number} at byte {field.start} ends within a value")
        return view

    def text(self, field: Field) -> str:
        """A string's value; protobuf's strings are UTF-8."""
        self.expect(field, Wire.LEN)
        try:
            return self.data[field.start : field.end].decode()
        except UnicodeDecodeError as exc:
            raise MalformedPayload(f"protobuf string at byte {field.start} is not UTF-8") from exc

    def _field(self, position: int, end: int) -> Field:
        tag, start = self._varint(position, end)
        number, wire = tag >> 3, _WIRES[tag & 7]
        if not number or tag >= _TAG_LIMIT:
            raise MalformedPayload(f"protobuf field at byte {position} has no valid number")
        if wire is _LEN:
            size, start = self._varint(start, end)
            return Field(number, wire, start, self._checked(position, start + size, end))
        if wire is _VARINT:
            return Field(number, wire, start, self._varint(start, end)[1])
        if wire is None:
            what = "a group" if tag & 7 in _GROUPS else f"of unknown wire type {tag & 7}"
            raise MalformedPayload(f"protobuf field {number} at byte {position} is {what}")
        return Field(number, wire, start, self._checked(position, start + _FIXED_BYTES[wire], end))

    def _checked(self, position: int, field_end: int, end: int) -> int:
        if field_end > end:
            raise MalformedPayload(
                f"protobuf field at byte {position} ends at byte {field_end}, its message at byte {end}"
            )
        return field_end

    def _varint(self, start: int, end: int) -> tuple[int, int]:
        if start < end and (value := self.data[start]) < _CONTINUES:
            return value, start + 1
        value = 0
        for index in range(VARINT_BYTES_LIMIT):
            if start + index >= end:
                raise MalformedPayload(f"protobuf varint at byte {start} is cut off at byte {end}")
            byte = self.data[start + index]
            value |= (byte & 0x7F) << 7 * index
            if byte < _CONTINUES:
                return value, start + index + 1
        raise MalformedPayload(f"protobuf varint at byte {start} is longer than {VARINT_BYTES_LIMIT} bytes")


def varints(data: bytes | memoryview, convert: Callable[[int], int]) -> Iterator[int]:
    """The varints that lie one after another in `data`, each as `convert` makes it of its lower 64 bits.

    `convert` leaves 0 to 127 as they are. Raises `MalformedPayload` at once where the last is cut off or one is over
    ten bytes. Small numbers cost a byte's look-up, any other one decoding or, seen before, a dictionary's.
    """
    packed = bytes(data)
    if packed.isascii():
        return iter(packed)
    if packed[-1] >= _CONTINUES:
        raise MalformedPayload("the last of the packed protobuf varints is cut off")
    if overlong := _OVERLONG.search(packed):
        raise MalformedPayload(
            f"packed protobuf varint at their byte {overlong.start()} is longer than {VARINT_BYTES_LIMIT} bytes"
        )
    known = _Known(convert)
    return chain.from_iterable(map(known.__getitem__, _VARINTS.findall(packed, *chunk)) for chunk in _chunks(packed))


def _chunks(packed: bytes) -> Iterator[tuple[int, int]]:
    """Bounds of pieces that no varint crosses, so that a large array is never a large list of small bytes."""
    start = 0
    while start < len(packed):
        end = min(start + _CHUNK_BYTES, len(packed))
        while packed[end - 1] >= _CONTINUES:
            end -= 1
        yield start, end
        start = end


class _Known(dict[bytes, int]):
    """The numbers by their varints, up to a bound: tensors repeat theirs, and negative ones take ten bytes each."""

    def __init__(self, convert: Callable[[int], int]) -> None:
        self._convert = convert

    def __missing__(self, varint: bytes) -> int:
        value = 0
        for index, byte in enumerate(varint):
            value |= (byte & 0x7F) << 7 * index
        value = self._convert(value & (1 << 64) - 1)
        if len(self) < _KNOWN_LIMIT:
            self[varint] = value
        return value


def signed(value: int, bits: int) -> int:
    """The lower `bits` of a varint as a two's complement number, as every protobuf reader takes them."""
    half = 1 << bits - 1
    return ((value & (1 << bits) - 1) ^ half) - half


def unsigned(value: int, bits: int) -> int:
    """The lower `bits` of a varint."""
    return value & (1 << bits) - 1
