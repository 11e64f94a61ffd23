"""V2's inference requests and answers on the wire: JSON, with the tensors' bytes behind it where they are asked for.

Source: Open Inference Protocol, "Inference"; Triton's binary tensor data extension; what MLServer's alibi-detect
runtime answers with (an output for each column of the detector's result).
Invariant: an answer has the outputs that were asked for and that the detector gives, in the order in which they were
asked for, one entry a row; pure.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wayside.detectors.kinds.protocol import Array
from wayside.eventing.errors import MalformedPayload
from wayside.eventing.payloads.arrays.json_blocks import load
from wayside.eventing.payloads.encoding import inflate
from wayside.eventing.payloads.messages import message_of_http
from wayside.eventing.payloads.payload import Kind, Limits, NumberBlock, Payload
from wayside.eventing.payloads.protocols import v2_binary, v2_json

ALWAYS = ("is_outlier", "instance_score", "p_value", "threshold")
FEATURE_SCORE = "feature_score"
HEADER_LENGTH = "inference-header-content-length"
_LIMITS = Limits()
_ID_CHARACTERS = 256
_PIECE_VALUES = 4096
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_BINARY_TYPE, _JSON_TYPE = "application/octet-stream", "application/json"
_DATATYPES: Mapping[str, str] = {"i": "INT64", "f": "FP64"}


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output by name; `binary` puts its bytes behind the JSON object."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferRequest:
    """The rows of a request, and what its answer is to hold."""

    payload: Payload
    id: str | None
    outputs: Sequence[WantedOutput]

    @property
    def wants_feature_scores(self) -> bool:
        return any(output.name == FEATURE_SCORE for output in self.outputs)


@dataclass(frozen=True, slots=True)
class ModelName:
    """Whose answer it is; the version is the digest of the artifact that judged, cut short."""

    name: str
    version: str


def read_infer_request(body: bytes, headers: Mapping[str, str], limits: Limits = _LIMITS) -> InferRequest:
    """A request from its body and its headers (names in lower case). Raises `MalformedPayload` with the place."""
    message = message_of_http(body, headers, Kind.REQUEST)
    whole = inflate(body, message.content_encoding, limits)
    if not whole or whole.isspace():
        raise MalformedPayload("body is empty")
    tree, tail = _head(whole, message.header_length, limits)
    if not isinstance(tree, dict):
        raise MalformedPayload("the body is no JSON object with 'inputs'")
    payload = v2_json.read(tree, Kind.REQUEST, limits, tail)
    return InferRequest(payload, _id_of(tree), wanted_outputs(tree))


def _head(body: bytes, header_length: int | None, limits: Limits) -> tuple[Any, memoryview]:
    if header_length is None and b'"binary_data_size"' not in body:
        return load(body, limits), memoryview(b"")
    head, tail = v2_binary.split(body, header_length)
    return load(head, limits), tail


def _id_of(tree: Mapping[str, Any]) -> str | None:
    value = tree.get("id")
    if value is not None and not (isinstance(value, str) and len(value) <= _ID_CHARACTERS):
        raise MalformedPayload(f"'id' is no text of at most {_ID_CHARACTERS} characters")
    return value


def wanted_outputs(tree: Mapping[str, Any]) -> Sequence[WantedOutput]:
    """The outputs that a request lists, or all that are always there, with feature scores where a parameter asks."""
    parameters = _parameters(tree)
    binary = _flag(parameters, "binary_data_output")
    listed = _list(tree.get("outputs"))
    if listed:
        return _unlike([_listed(item, binary) for item in listed])
    names = (*ALWAYS, FEATURE_SCORE) if _flag(parameters, "return_feature_score") else ALWAYS
    return [WantedOutput(name, binary) for name in names]


def _list(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list) or isinstance(value, NumberBlock) or len(value) > len(ALWAYS) + 1:
        raise MalformedPayload(f"'outputs' is no list of at most {len(ALWAYS) + 1} outputs")
    return value


def _unlike(outputs: Sequence[WantedOutput]) -> Sequence[WantedOutput]:
    if len({output.name for output in outputs}) < len(outputs):
        raise MalformedPayload("'outputs' names an output twice")
    return outputs


def _listed(item: object, binary: bool) -> WantedOutput:
    name = item.get("name") if isinstance(item, dict) else None
    known = (*ALWAYS, FEATURE_SCORE)
    if not isinstance(item, dict) or name not in known:
        raise MalformedPayload(f"an output is not one of {', '.join(known)}")
    return WantedOutput(str(name), _flag(_parameters(item), "binary_data", binary))


def _parameters(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    value = owner.get("parameters")
    if value is not None and not isinstance(value, dict):
        raise MalformedPayload("'parameters' is no object")
    return value or {}


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise MalformedPayload(f"parameter {name!r} is neither true nor false")
    return value


def write_infer_response(
    model: ModelName, asked: InferRequest, columns: Mapping[str, Array], parameters: Mapping[str, Any]
) -> tuple[Mapping[str, str], bytes]:
    """The headers and the body of the answer, with each output that was asked for and that `columns` holds.

    A score that is not finite is null in JSON, which has no such number, and NaN or infinite in bytes.
    """
    outputs = [(output, columns[output.name]) for output in asked.outputs if output.name in columns]
    described = [_described(output, column) for output, column in outputs]
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        document["id"] = asked.id
    document |= {"parameters": parameters, "outputs": []}
    head = _ENCODER.encode(document)[:-2].encode() + b",".join(described) + b"]}"
    tail = b"".join(_packed(column) for output, column in outputs if output.binary)
    if not tail:
        return {"content-type": _JSON_TYPE}, head
    return {"content-type": _BINARY_TYPE, HEADER_LENGTH: str(len(head))}, head + tail


def _described(output: WantedOutput, column: Array) -> bytes:
    head = {"name": output.name, "datatype": _DATATYPES[column.dtype.kind], "shape": list(column.shape)}
    if output.binary:
        return _ENCODER.encode({**head, "parameters": {"binary_data_size": column.size * 8}}).encode()
    return b'%b,"data":[%b]}' % (_ENCODER.encode(head)[:-1].encode(), ",".join(_pieces(column.ravel())).encode())


def _pieces(values: Array) -> Iterator[str]:
    """JSON of so many values at a time: one call for all of them would keep every other thread from running."""
    for at in range(0, len(values), _PIECE_VALUES):
        yield _ENCODER.encode(_plain(values[at : at + _PIECE_VALUES]))[1:-1]


def _plain(values: Array) -> Iterable[float | None]:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        plain: list[float | None] = values.tolist()
        return plain
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def _packed(column: Array) -> bytes:
    return np.ascontiguousarray(column, column.dtype.newbyteorder("<")).tobytes()
