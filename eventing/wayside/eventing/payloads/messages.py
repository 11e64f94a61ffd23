"""What surrounds a body says how to read it: an event's type and extensions, or a request's headers.

Source: KServe's logger (`metadata`); Open Inference Protocol, binary tensor data extension (the header's length).
Invariant: pure, and nothing is refused here: what cannot be understood is left unsaid, and the content decides.
"""

import json
from collections.abc import Mapping

from wayside.eventing.event import CloudEvent
from wayside.eventing.payloads.payload import Kind, Message, Protocol
from wayside.eventing.vocabulary import CONTENT_ENCODING, INFERENCE_HEADER_LENGTH, METADATA, PAYLOAD_PROTOCOL

CONTENT_TYPE_HEADER = "content-type"
CONTENT_ENCODING_HEADERS = ("content-encoding", "grpc-encoding")
HEADER_LENGTH_HEADER = "inference-header-content-length"
_LENGTH_DIGITS = 12
# By the last word of an event's type: KServe's, Seldon's and Wayside's types agree on these.
_KINDS: Mapping[str, Kind] = {
    "request": Kind.REQUEST,
    "response": Kind.RESPONSE,
    "feedback": Kind.FEEDBACK,
    "outlier": Kind.VERDICT,
    "adversarial": Kind.VERDICT,
    "drift": Kind.VERDICT,
}


def message_of(event: CloudEvent) -> Message:
    """An event's data, with what the event says of it."""
    extensions, kind = event.extensions, kind_of(event.type)
    length, metadata = extensions.get(INFERENCE_HEADER_LENGTH), extensions.get(METADATA)
    if metadata and not length and kind is Kind.REQUEST:  # a response's event has the request's headers too
        length = _header_in(metadata, HEADER_LENGTH_HEADER)
    return Message(
        body=event.data,
        kind=kind,
        protocol=_protocol(extensions.get(PAYLOAD_PROTOCOL)),
        content_type=event.datacontenttype,
        content_encoding=extensions.get(CONTENT_ENCODING),
        header_length=_length(length),
    )


def message_of_http(
    body: bytes, headers: Mapping[str, str], kind: Kind | None = None, protocol: Protocol | None = None
) -> Message:
    """A body with its HTTP headers, whose names are in lower case."""
    encodings = (headers[name] for name in CONTENT_ENCODING_HEADERS if name in headers)
    return Message(
        body=body,
        kind=kind,
        protocol=protocol,
        content_type=headers.get(CONTENT_TYPE_HEADER),
        content_encoding=next(encodings, None),
        header_length=_length(headers.get(HEADER_LENGTH_HEADER)),
    )


def kind_of(event_type: str) -> Kind | None:
    """What an event's data is for, by the last word of its type; None where that says nothing."""
    return _KINDS.get(event_type.rpartition(".")[2])


def _protocol(word: str | None) -> Protocol | None:
    try:
        return Protocol(word) if word else None
    except ValueError:
        return None


def _header_in(metadata: str, name: str) -> str | None:
    """A header that KServe's logger was told to copy: `metadata` is a JSON map of names to lists of values."""
    try:
        headers = json.loads(metadata)
        values = next((values for key, values in headers.items() if key.lower() == name), None)
        return str(values[0]) if values else None
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
        return None


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _LENGTH_DIGITS else None
