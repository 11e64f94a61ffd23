"""What must hold for any bytes, given to every protocol: shared by hypothesis and by the coverage-guided fuzzer."""

import json
from typing import Any

from wayside.eventing.errors import MalformedEvent, MalformedPayload
from wayside.eventing.payloads import json_body
from wayside.eventing.payloads.arrays import json_blocks
from wayside.eventing.payloads.arrays.matrix import to_matrix
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.payload import Kind, Limits, Message, Payload, Protocol, describe

LIMITS = Limits(inflated_bytes=1 << 20, rows=100_000)
ENCODINGS = (None, "gzip", "deflate", "gzip, deflate", "br")
CONTENT_TYPES = (None, "application/json", "application/grpc", "application/x-protobuf", "text/event-stream")


def message_from(choices: bytes, body: bytes) -> Message:
    """A message whose declarations come from a few bytes."""
    protocol, kind, encoding, content_type, length = (*choices[:5], *bytes(5 - len(choices[:5])))
    protocols: list[Protocol | None] = [None, *Protocol]
    kinds: list[Kind | None] = [None, *Kind]
    return Message(
        body=body,
        kind=kinds[kind % len(kinds)],
        protocol=protocols[protocol % len(protocols)],
        content_type=CONTENT_TYPES[content_type % len(CONTENT_TYPES)],
        content_encoding=ENCODINGS[encoding % len(ENCODINGS)],
        header_length=length if length % 2 else None,
    )


def check(message: Message) -> Payload | None:
    """Decode by both loaders: both read the same, or both refuse, and never but by `MalformedPayload`."""
    strict, fast = (_decoded(message, load) for load in (json_body.load, json_blocks.load))
    if strict is None or fast is None:
        assert strict is fast, "the two loaders disagree on whether this is a payload"
        return None
    assert describe(strict) == describe(fast)
    assert same(strict.row_values(), fast.row_values())
    _check_payload(strict)
    return strict


def _decoded(message: Message, load: Any) -> Payload | None:
    try:
        return decode(message, LIMITS, load)
    except MalformedPayload:
        return None


def _check_payload(payload: Payload) -> None:
    json.dumps(describe(payload))
    assert all(column.shape[0] == payload.rows for column in payload.columns)
    assert all(len(column.row_values()) == payload.rows for column in payload.columns)
    try:
        matrix = to_matrix(payload, names=payload.names if len(payload.columns) > 1 else None)
    except MalformedEvent:
        return
    assert len(matrix) == payload.rows


def same(left: Any, right: Any) -> bool:
    """Equal values of equal types, a NaN being equal to itself."""
    return repr(left) == repr(right)
