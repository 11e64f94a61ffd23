"""V2 over gRPC: the named tensors of a message replaced or cut out, every other field as it came.

Source: grpc_predict_v2.proto; protobuf.dev, "Encoding"; `payloads.protocols.v2_grpc` reads the message before.
Invariant: a message that is not read whole as V2's is not rewritten.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import encoding
from wayside.eventing.payloads.datatypes import Packed, pack_elements, unpack
from wayside.eventing.payloads.payload import Column, Kind, Limits
from wayside.eventing.payloads.protocols import tensor_contents, v2_grpc
from wayside.eventing.payloads.protocols.protobuf_wire import Body, Field
from wayside.logger.redaction.residue import Residue
from wayside.logger.redaction.rules import Rules
from wayside.logger.settings import Redacted

_FIELDS_LIMIT: Final = 1_000_000
_PREFIX_BYTES: Final = 5
_TENSOR, _REQUEST_RAW, _RESPONSE_RAW = 5, 7, 6
_DATATYPE, _PARAMETER, _CONTENTS = 2, 4, 5  # of a tensor
_BYTES_CONTENTS = 8
_LEN: Final = 2


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of a message: where it is, whether its values are in it, and the new ones; None where it is kept, and
    empty where it is dropped."""

    field: Field
    is_typed: bool
    left: Redacted | None
    elements: Sequence[bytes]


def replaced(body: bytes, kind: Kind | None, rules: Rules, residue: Residue, limits: Limits) -> bytes | None:
    """The message, in a frame if it came in one; a compressed one is inflated. None where no rule names a tensor.

    Raises `MalformedPayload` for what is no message of V2's, and where there are pointers: they are JSON's.
    """
    if rules.pointers:
        raise MalformedPayload(
            "a pointer finds nothing in a gRPC message, nor tells that there is nothing: use columns"
        )
    framed = body[0] <= 1
    payload = v2_grpc.read(body, kind, limits, framed)
    left = [rules.columns.get(column.name) for column in payload.columns]
    if not any(left):
        return None
    message = _unframed(body, limits) if framed else body
    wire = Body(message, _FIELDS_LIMIT)
    fields = [field for field in wire.fields() if field.number == _TENSOR]
    columns = zip(fields, payload.columns, left, strict=True)
    tensors = [_tensor(wire, field, column, left_of, residue) for field, column, left_of in columns]
    new = b"".join(_rewritten(wire, tensors, _REQUEST_RAW if payload.kind is Kind.REQUEST else _RESPONSE_RAW))
    return b"\0" + len(new).to_bytes(4) + new if framed else new


def _unframed(body: bytes, limits: Limits) -> bytes:
    message = body[_PREFIX_BYTES:]
    return encoding.inflate_frame(message, limits) if body[0] else message


def _tensor(wire: Body, field: Field, column: Column, left: Redacted | None, residue: Residue) -> _Tensor:
    contents = [part for part in wire.within(field) if part.number == _CONTENTS]
    is_typed = any(True for part in contents for _ in tensor_contents.elements(wire, part))
    elements: list[bytes] = []
    if left not in (None, Redacted.DROP) and isinstance(column.values, Packed):
        values = unpack(column.values.data, column.values.datatype)
        elements = [residue.plain(left, value).encode() for value in values]
    return _Tensor(field, is_typed, left, elements)


def _rewritten(wire: Body, tensors: Sequence[_Tensor], raw_number: int) -> Iterator[bytes]:
    """The message's fields, one after another; raw contents belong to the tensors without contents, in their order."""
    waiting, raws, start = iter(tensors), iter([tensor for tensor in tensors if not tensor.is_typed]), 0
    for field in wire.fields():
        whole, start = wire.data[start : field.end], field.end
        if field.number == _TENSOR:
            tensor = next(waiting)
            yield whole if tensor.left is None else _new_tensor(wire, tensor)
        elif field.number == raw_number:
            tensor = next(raws)
            yield whole if tensor.left is None else _new_raw(tensor, raw_number)
        else:
            yield whole


def _new_tensor(wire: Body, tensor: _Tensor) -> bytes:
    if tensor.left is Redacted.DROP:
        return b""
    parts, start = list[bytes](), tensor.field.start
    for field in wire.within(tensor.field):
        if field.number not in (_DATATYPE, _CONTENTS) and not _is_content_type(wire, field):
            parts.append(wire.data[start : field.end])
        start = field.end
    parts.append(_bytes_field(_DATATYPE, b"BYTES"))
    if tensor.is_typed:
        contents = b"".join(_bytes_field(_BYTES_CONTENTS, element) for element in tensor.elements)
        parts.append(_bytes_field(_CONTENTS, contents))
    return _bytes_field(_TENSOR, b"".join(parts))


def _is_content_type(wire: Body, field: Field) -> bool:
    """Whether a field of a tensor is the parameter that says what its BYTES hold, which they do no more."""
    if field.number != _PARAMETER:
        return False
    return any(part.number == 1 and wire.text(part) == "content_type" for part in wire.within(field))


def _new_raw(tensor: _Tensor, raw_number: int) -> bytes:
    return b"" if tensor.left is Redacted.DROP else _bytes_field(raw_number, pack_elements(tensor.elements))


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _LEN) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
