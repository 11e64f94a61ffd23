"""V2 as JSON: the Open Inference Protocol's REST form, with binary tensors behind it and as gRPC's JSON.

Source: Open Inference Protocol, "HTTP/REST"; Triton's binary tensor data extension; MLServer's content types; proto3's
JSON mapping of `ModelInferRequest` and `ModelInferResponse`, which grpcurl and gateways write.
Invariant: a tensor's bytes are its share of the tail in the order of the tensors, and the shares are the whole tail.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.content_types import bytes_content_type
from wayside.eventing.payloads.datatypes import Packed, check_packed, check_shape, tensor_datatype
from wayside.eventing.payloads.payload import Column, Datatype, Kind, Limits, NumberBlock, Payload, Protocol, Tree
from wayside.eventing.payloads.protocols import v2_grpc_json
from wayside.eventing.payloads.protocols.members import rows_member, text, type_word
from wayside.eventing.payloads.tensors import column_of
from wayside.eventing.payloads.typed_tensors import resolved_shape, typed_column

_NO_TAIL: Final = memoryview(b"")


def claims(tree: Tree) -> bool:
    """Whether the first of a document's inputs or outputs looks like a tensor: V1 has rows under the same names."""
    if not isinstance(tree, dict):
        return False
    lists = [tree[name] for name in ("inputs", "outputs") if isinstance(tree.get(name), list)]
    return any(items and _is_tensor(items[0]) for items in lists)


def _is_tensor(item: Tree) -> bool:
    if not isinstance(item, dict):
        return False
    if isinstance(item.get("name"), str) and ("shape" in item or isinstance(item.get("data"), list | NumberBlock)):
        return True
    return isinstance(item.get("datatype"), str) and ("data" in item or "shape" in item)


def read(tree: Tree, kind: Kind | None, limits: Limits, tail: memoryview = _NO_TAIL) -> Payload:
    """The payload of a V2 document and of the bytes behind it. Raises `MalformedPayload` with the tensor's name."""
    told, member = rows_member(tree, kind, Protocol.V2, ["inputs"], ["outputs"])
    tensors = tree[member]
    if isinstance(tensors, NumberBlock):  # refused below, in the words that a list is
        tensors = tensors.tolist()
    if not isinstance(tensors, list):
        raise MalformedPayload(f"{member!r} is {type_word(tensors)}, expected a list of tensors")
    if not tensors:
        raise MalformedPayload(f"{member!r} is empty: there is no tensor")
    if len(tensors) > limits.columns:
        raise MalformedPayload(f"{member!r} has {len(tensors)} tensors, the limit is {limits.columns}")
    source = _Source(tail, v2_grpc_json.raw_contents(tree, told), _parameters(tree).get("content_type"), limits)
    columns = tuple(_columns(tensors, source))
    source.check_used()
    return Payload(Protocol.V2, told, columns, id=text(tree.get("id")), model=_model(tree))


def _model(tree: Mapping[str, Any]) -> str | None:
    return text(tree.get("model_name")) or text(tree.get("modelName"))


def _parameters(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = owner.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


@dataclass(slots=True)
class _Source:
    """What tensors take their values from besides their own `data`, in order."""

    tail: memoryview
    raw: Iterator[bytes]
    content_type: object
    limits: Limits
    taken_bytes: int = 0

    def take(self, size: object) -> memoryview:
        left = len(self.tail) - self.taken_bytes
        if type(size) is not int or size < 0:
            raise MalformedPayload("'binary_data_size' is no number of bytes")
        if size > left:
            raise MalformedPayload(
                f"'binary_data_size' is {str(size)[:20]}, and {left} bytes are left behind the JSON object"
            )
        self.taken_bytes += size
        return self.tail[self.taken_bytes - size : self.taken_bytes]

    def check_used(self) -> None:
        if self.taken_bytes < len(self.tail):
            left = len(self.tail) - self.taken_bytes
            raise MalformedPayload(f"{left} bytes behind the JSON object belong to no tensor")
        if next(self.raw, None) is not None:
            raise MalformedPayload("there are more raw contents than tensors without data")


def _columns(tensors: Sequence[Tree], source: _Source) -> Iterator[Column]:
    for at, tensor in enumerate(tensors):
        if not isinstance(tensor, dict):
            raise MalformedPayload(f"tensor {at} is {type_word(tensor)}, expected an object")
        name = text(tensor.get("name"))
        if name is None:
            raise MalformedPayload(f"tensor {at} has no name")
        try:
            yield _column(name, tensor, source)
        except MalformedPayload as exc:
            raise MalformedPayload(f"tensor {name[:64]!r}: {exc}") from exc


def _column(name: str, tensor: Mapping[str, Tree], source: _Source) -> Column:
    parameters = _parameters(tensor)
    if "shared_memory_region" in parameters:
        raise MalformedPayload("its values were passed in shared memory, no event holds them")
    datatype = None if tensor.get("datatype") is None else tensor_datatype(tensor["datatype"])
    content_type = bytes_content_type(datatype or Datatype.BYTES, parameters.get("content_type"), source.content_type)
    if "binary_data_size" in parameters:
        return _packed(name, tensor, datatype, source.take(parameters["binary_data_size"]), content_type, source.limits)
    shape, data = v2_grpc_json.shape(tensor.get("shape")), v2_grpc_json.data(tensor)
    if data is None:
        raw = next(source.raw, None)
        if raw is None:
            raise MalformedPayload("it has no data")
        return _packed(name, tensor, datatype, memoryview(raw), content_type, source.limits)
    if datatype is None:
        return _inferred(name, shape, data, content_type, source.limits)
    return typed_column(name, datatype, shape, data, source.limits, content_type)


def _packed(
    name: str,
    tensor: Mapping[str, Tree],
    datatype: Datatype | None,
    data: memoryview,
    content_type: str | None,
    limits: Limits,
) -> Column:
    shape = v2_grpc_json.shape(tensor.get("shape"))
    if datatype is None:
        raise MalformedPayload("binary data needs a datatype")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise MalformedPayload("binary data needs a shape")
    check_shape(shape, limits)
    check_packed(datatype, shape, data)
    return Column(name, datatype, tuple(shape), Packed(data, datatype), content_type=content_type)


def _inferred(name: str, shape: object, data: Tree, content_type: str | None, limits: Limits) -> Column:
    """A tensor without a datatype, as its values tell; its shape where they are a tensor that fills it."""
    column = column_of(name, data if isinstance(data, list | NumberBlock) else [data], limits)
    if column.datatype is Datatype.JSON:
        return column
    given = column.content_type or (content_type if column.datatype is Datatype.BYTES else None)
    return replace(column, shape=resolved_shape(shape, column.shape, limits), content_type=given)
