"""Where the rows lie in a request or a response: KServe V1 and V2 (Open Inference Protocol) as JSON.

Source: KServe's V1 protocol; Open Inference Protocol REST. Other protocols and encodings will be readers beside these.
Invariant: a body gives one value a row in the order of the model's own batch, or `MalformedEvent` with a reason.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wayside.eventing.errors import MalformedEvent

_DIMENSIONS_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one payload. A row is a JSON value: a (nested) list, an object by column name, or a scalar.

    `names` are column names where the payload gives them.
    """

    protocol: str
    rows: Sequence[Any]
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.rows)


def read_request(body: bytes) -> Rows:
    """The rows that a request asks about."""
    return _read(body, v1="instances", v2="inputs")


def read_response(body: bytes) -> Rows:
    """The rows that a model answered."""
    return _read(body, v1="predictions", v2="outputs")


def _read(body: bytes, v1: str, v2: str) -> Rows:
    payload = _load(body)
    if isinstance(payload.get(v1), list):
        return Rows("v1", payload[v1])
    if isinstance(payload.get(v2), list):
        return _read_tensors(payload[v2])
    raise MalformedEvent(f"payload has neither a list '{v1}' (V1) nor a list '{v2}' (V2)")


def _load(body: bytes) -> Mapping[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedEvent(f"payload is not JSON: {exc}") from exc
    if not isinstance(payload, dict):
        raise MalformedEvent("payload is not a JSON object")
    return payload


def _read_tensors(tensors: Sequence[Any]) -> Rows:
    columns = dict(_read_tensor(tensor) for tensor in tensors)
    if len(columns) != len(tensors):
        raise MalformedEvent("two V2 tensors share a name")
    if len({len(rows) for rows in columns.values()}) > 1:
        raise MalformedEvent("V2 tensors differ in their first dimension")
    if len(columns) == 1:
        return Rows("v2", next(iter(columns.values())), tuple(columns))
    return Rows(
        "v2",
        [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)],
        tuple(columns),
    )


def _read_tensor(tensor: object) -> tuple[str, list[Any]]:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise MalformedEvent("a V2 tensor is not an object with a 'name'")
    name, shape, data = tensor["name"], tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not 1 <= len(shape) <= _DIMENSIONS_LIMIT or not all(map(_is_size, shape)):
        raise MalformedEvent(f"V2 tensor {name[:64]!r}: 'shape' is not a list of 1 to {_DIMENSIONS_LIMIT} sizes")
    if not isinstance(data, list):
        raise MalformedEvent(f"V2 tensor {name[:64]!r}: 'data' is not a list")
    if len(data) == shape[0] and (len(shape) == 1 or (data and isinstance(data[0], list))):
        return name, data
    if len(data) != math.prod(shape) or (shape[0] and not data):
        raise MalformedEvent(f"V2 tensor {name[:64]!r}: {len(data)} values do not fill shape {shape}")
    return name, _fold(data, shape[1:]) if data else []


def _is_size(size: object) -> bool:
    return type(size) is int and 0 <= size < 1 << 63


def _fold(flat: list[Any], row_shape: Sequence[int]) -> list[Any]:
    """Cut a flat row-major list into nested lists, one a row."""
    for size in reversed(row_shape):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)]
    return flat
