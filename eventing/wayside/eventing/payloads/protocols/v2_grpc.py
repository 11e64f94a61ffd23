"""V2 over gRPC: `ModelInferRequest` and `ModelInferResponse`, bare or in gRPC's frame.

Source: Open Inference Protocol, grpc_predict_v2.proto, and KServe's, MLServer's and Triton's readers of it; gRPC over
HTTP/2, "Length-Prefixed-Message".
Invariant: every column is packed as its datatype says, whichever of raw and typed contents it came in; a body without
a declared kind is read only where it can be but one of the two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads import encoding
from wayside.eventing.payloads.content_types import bytes_content_type
from wayside.eventing.payloads.datatypes import Packed, check_packed, check_shape, tensor_datatype
from wayside.eventing.payloads.payload import Column, Kind, Limits, Payload, Protocol
from wayside.eventing.payloads.protocols import tensor_contents
from wayside.eventing.payloads.protocols.protobuf_wire import VARINT_BYTES_LIMIT, Body, Field, Wire, signed, varints

_FIELDS_LIMIT: Final = 1_000_000
_PREFIX_BYTES: Final = 5
_COMPRESSED: Final = 1

_Item = TypeVar("_Item")


@dataclass(slots=True)
class _Tensor:
    """An `InferInputTensor` or `InferOutputTensor`: they have the same fields."""

    name: str = ""
    datatype: str = ""
    shape_fields: list[Field] = field(default_factory=list)
    parameters: dict[str, str | None] = field(default_factory=dict)
    contents: list[Field] = field(default_factory=list)


@dataclass(slots=True)
class _Message:
    """Either message. Field 6 is a request's wanted outputs and a response's raw contents: it waits to be told."""

    model: str = ""
    id: str = ""
    parameters: dict[str, str | None] = field(default_factory=dict)
    tensors: list[_Tensor] = field(default_factory=list)
    sixth: list[Field] = field(default_factory=list)
    seventh: list[Field] = field(default_factory=list)


def read(body: bytes, kind: Kind | None, limits: Limits, framed: bool) -> Payload:
    """The payload of one message. `framed`: gRPC's five bytes stand before it, and it may be compressed.

    Raises `MalformedPayload` with the byte or the tensor's name; also where `kind` is neither request nor response,
    where the message is of the other kind, and where none is given and it could be either.
    """
    data = _unframed(body, limits) if framed else body
    wire = Body(data, _FIELDS_LIMIT)
    message = _read_message(wire, limits)
    if not message.tensors:
        raise MalformedPayload("gRPC message has no tensors")
    kind = _told(message, kind, wire)
    raws = [wire.value(raw) for raw in (message.seventh if kind is Kind.REQUEST else message.sixth)]
    columns = tuple(_columns(message, raws, wire, limits))
    return Payload(Protocol.V2_GRPC, kind, columns, id=message.id or None, model=message.model or None)


def _unframed(body: bytes, limits: Limits) -> bytes:
    if len(body) < _PREFIX_BYTES:
        raise MalformedPayload(f"gRPC frame needs {_PREFIX_BYTES} bytes before its message, the body has {len(body)}")
    flag, size = body[0], int.from_bytes(body[1:_PREFIX_BYTES])
    end = _PREFIX_BYTES + size
    if flag > _COMPRESSED:
        raise MalformedPayload(f"gRPC frame starts with flag {flag}, expected 0 or 1 (compressed)")
    if end > len(body):
        raise MalformedPayload(f"gRPC message needs {size} bytes, {len(body) - _PREFIX_BYTES} are left: it is cut off")
    if end < len(body):
        raise MalformedPayload("body holds more than one gRPC message: send each message of a stream as its own event")
    message = body[_PREFIX_BYTES:]
    return encoding.inflate_frame(message, limits) if flag == _COMPRESSED else message


def _read_message(wire: Body, limits: Limits) -> _Message:
    message = _Message()
    for each in wire.fields():
        match each.number:
            case 1:
                message.model = wire.text(each)
            case 3:
                message.id = wire.text(each)
            case 4:
                message.parameters.update([_parameter(wire, each)])
            case 5:
                _append(message.tensors, _read_tensor(wire, each), limits)
            case 6:
                _append(message.sixth, each, limits)
            case 7:
                _append(message.seventh, each, limits)
    return message


def _append(items: list[_Item], item: _Item, limits: Limits) -> None:
    if len(items) == limits.columns:
        raise MalformedPayload(f"gRPC message has more than {limits.columns} tensors")
    items.append(item)


def _read_tensor(wire: Body, of: Field) -> _Tensor:
    tensor = _Tensor()
    for each in wire.within(of):
        match each.number:
            case 1:
                tensor.name = wire.text(each)
            case 2:
                tensor.datatype = wire.text(each)
            case 3:
                tensor.shape_fields.append(each)
            case 4:
                tensor.parameters.update([_parameter(wire, each)])
            case 5:
                tensor.contents.extend(tensor_contents.elements(wire, each))
    return tensor


def _parameter(wire: Body, entry: Field) -> tuple[str, str | None]:
    """An entry of a map from names to `InferParameter`: its text, None where it holds no text."""
    name, text = "", None
    for part in wire.within(entry):
        if part.number == 1:
            name = wire.text(part)
        elif part.number == 2:
            for choice in wire.within(part):
                text = wire.text(choice) if choice.number == 3 else None
    return name, text


def _told(message: _Message, kind: Kind | None, wire: Body) -> Kind:
    """The kind of the message: as declared, if it can be of that kind, else as evident."""
    if kind not in (None, Kind.REQUEST, Kind.RESPONSE):
        raise MalformedPayload(f"V2 over gRPC has requests and responses, no {kind}")
    evident = _evident(message, wire)
    told = kind or evident
    if told is None:
        raise MalformedPayload("gRPC message could be a request or a response: declare which")
    if evident not in (None, told):
        raise MalformedPayload(f"gRPC message is a {evident}, a {told} was expected")
    return told


def _evident(message: _Message, wire: Body) -> Kind | None:
    """What a message can only be: raw contents are a request's field 7 and a response's field 6.

    Field 6 beside typed contents is a request's wanted outputs, unless it does not read as such.
    """
    if message.seventh:
        return Kind.REQUEST
    if not message.sixth:
        return None
    is_typed = any(tensor.contents for tensor in message.tensors)
    wants_outputs = is_typed and all(_is_wanted_output(wire, each) for each in message.sixth)
    return Kind.REQUEST if wants_outputs else Kind.RESPONSE


def _is_wanted_output(wire: Body, of: Field) -> bool:
    """Whether a field is an `InferRequestedOutputTensor`: a name, perhaps parameters, nothing else."""
    try:
        named = [each.number == 1 and bool(wire.text(each)) for each in wire.within(of) if each.number != 2]
    except MalformedPayload:
        return False
    return bool(named) and all(named)


def _columns(message: _Message, raws: Sequence[memoryview], wire: Body, limits: Limits) -> Iterator[Column]:
    """Raw contents belong to the tensors without contents, in their order: none or all, but MLServer mixes them."""
    waiting = sum(not tensor.contents for tensor in message.tensors)
    if raws and len(raws) != waiting:
        raise MalformedPayload(f"gRPC message has {len(raws)} raw contents for {waiting} tensors without contents")
    left = iter(raws)
    for index, tensor in enumerate(message.tensors):
        raw = None if tensor.contents else next(left, None)
        try:
            yield _column(tensor, raw, message.parameters.get("content_type"), wire, limits)
        except MalformedPayload as exc:
            place = f"tensor {tensor.name[:64]!r}" if tensor.name else f"tensor {index}"
            raise MalformedPayload(f"{place}: {exc}") from exc


def _column(tensor: _Tensor, raw: memoryview | None, of_request: str | None, wire: Body, limits: Limits) -> Column:
    if not tensor.name:
        raise MalformedPayload("it has no name")
    if "shared_memory_region" in tensor.parameters:
        raise MalformedPayload("its values were passed in shared memory, no event holds them")
    datatype, shape = tensor_datatype(tensor.datatype), _shape(tensor.shape_fields, wire, limits)
    data = tensor_contents.pack(wire, tensor.contents, datatype) if tensor.contents else raw or b""
    if raw is None and not tensor.contents and 0 not in shape:
        raise MalformedPayload("it has neither contents nor raw contents")
    check_packed(datatype, shape, data)
    content_type = bytes_content_type(datatype, tensor.parameters.get("content_type"), of_request)
    return Column(tensor.name, datatype, shape, Packed(data, datatype), content_type=content_type)


def _shape(fields: Sequence[Field], wire: Body, limits: Limits) -> tuple[int, ...]:
    if sum(each.end - each.start for each in fields) > VARINT_BYTES_LIMIT * limits.dimensions:
        raise MalformedPayload(f"shape has more than {limits.dimensions} dimensions")
    shape = tuple(varints(wire.joined(fields, Wire.VARINT), partial(signed, bits=64)))
    check_shape(shape, limits)
    return shape
