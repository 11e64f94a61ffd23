"""Payloads as arrays, the second layer (extra `arrays`): numbers by simdjson, columns by numpy, rows as a matrix.

Invariant: the readers are the first layer's own; what is decoded here and there differs in speed, not in one value.
"""

from wayside.eventing.errors import MissingExtra

try:
    import numpy  # noqa: F401
except ImportError as exc:
    raise MissingExtra("numpy", "arrays") from exc
try:
    import simdjson  # noqa: F401
except ImportError as exc:
    raise MissingExtra("simdjson", "arrays") from exc

from wayside.eventing.payloads.arrays.columns import to_array
from wayside.eventing.payloads.arrays.json_blocks import load
from wayside.eventing.payloads.arrays.matrix import to_matrix
from wayside.eventing.payloads.decode import decode as decode_with
from wayside.eventing.payloads.payload import Limits, Message, Payload

__all__ = ["decode", "to_array", "to_matrix"]


def decode(message: Message, limits: Limits | None = None) -> Payload:
    """`payloads.decode.decode`, large arrays of numbers being read at once. Raises `MalformedPayload` as it does."""
    return decode_with(message, limits, load)
