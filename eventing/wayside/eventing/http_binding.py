"""CloudEvents over HTTP: binary, structured and batched mode, between header lists and `CloudEvent`.

Source: CloudEvents 1.0 HTTP protocol binding, sections 3.1 to 3.3; for older versions, their http-transport-binding.md.
Invariant: `decode(*encode_binary(event)) == event` for every event, bytes of the data included.

Header values follow section 3.1.3.2 with two deliberate leniencies, because KServe's logger and the Go SDK write JSON
extensions as they are and their readers do not percent-decode. Space and double quote travel raw inside a value:
readers that follow the specification take both forms; a quote at the start, which they would take for a quoted string,
is encoded. And a '%' that encodes no UTF-8, which the specification has refused, stands for itself.
"""

import json
import re
from collections.abc import Callable, Iterable

from wayside.eventing import json_format, versions
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent, header_text
from wayside.eventing.json_format import BATCHED, STRUCTURED, Refusal

__all__ = [
    "BATCHED",
    "STRUCTURED",
    "Headers",
    "decode",
    "decode_batched",
    "encode_batched",
    "encode_binary",
    "encode_structured",
    "escape",
    "is_event",
]

Headers = list[tuple[bytes, bytes]]
_PREFIX = b"ce-"
_VERSION_HEADERS = (b"ce-specversion", b"ce-cloudeventsversion")
_JSON_VALUED = frozenset(("0.1", "0.2"))
_ENCODED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SUSPECT = re.compile(r"[^\x21\x23-\x24\x26-\x7e]")  # one class is much faster to look for than alternatives
_UNSAFE = re.compile(r'^[ "]| $|[^\x20-\x7e]|%')


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> CloudEvent:
    """The event in an HTTP message. Header names are matched without regard to case.

    Raises `MalformedEvent` with a reason: no CloudEvent at all, a missing attribute, batch mode, bad JSON, bad UTF-8.
    """
    lowered, content_type = _split(headers)
    kind = _media_type(content_type)
    if kind == STRUCTURED:
        return json_format.decode(body)
    if json_format.holds_events(header_text(kind)):
        raise MalformedEvent(
            f"content type {header_text(kind)!r} is not supported: send binary mode or {STRUCTURED.decode()}"
        )
    return _decode_binary(lowered, content_type, body)


def decode_batched(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[CloudEvent | Refusal]:
    """The events in an HTTP message of any mode; one that is refused is named by its index.

    Raises `MalformedEvent` where a batch as a whole, or a message of one event, cannot be read.
    """
    lowered, content_type = _split(headers)
    if _media_type(content_type) == BATCHED:
        return list(json_format.decode_batch(body))
    return [decode(lowered, body)]


def _split(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Headers, bytes | None]:
    """The headers with names in lower case, and the content type among them."""
    lowered = [(name.lower(), value) for name, value in headers]
    return lowered, next((value for name, value in lowered if name == b"content-type"), None)


def _media_type(content_type: bytes | None) -> bytes:
    return (content_type or b"").split(b";", 1)[0].strip().lower()


def is_event(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a message claims to carry CloudEvents, in any mode and version."""
    return any(
        name.lower() in _VERSION_HEADERS
        or (name.lower() == b"content-type" and json_format.holds_events(value.decode("latin-1")))
        for name, value in headers
    )


def _decode_binary(headers: Headers, content_type: bytes | None, body: bytes) -> CloudEvent:
    attributes = _attributes(headers, _unescape)
    if versions.older_version(attributes) in _JSON_VALUED:
        attributes = _attributes(headers, _unescape_json)
    if content_type is not None:
        named = {"datacontenttype": header_text(content_type)}
        attributes = named | attributes | named  # first and last: a `ce-` header does not stand against it
    return versions.event_of(attributes, body)


def _attributes(headers: Headers, read: Callable[[bytes], str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_PREFIX):
            attribute = header_text(name[len(_PREFIX) :])
            if attribute in attributes:
                raise MalformedEvent(f"header 'ce-{attribute}' is given twice")
            attributes[attribute] = read(value)
    return attributes


def _unescape_json(value: bytes) -> str:
    """CloudEvents 0.1 and 0.2, section 3.1.3.2: the header holds a JSON value. One that is no text stays as it is."""
    text = header_text(_percent_decoded(value))
    try:
        read = json.loads(text) if text.startswith('"') else text
    except ValueError:
        return _unescape(value)
    return str(read)


def _unescape(value: bytes) -> str:
    """Section 3.1.3.2: unquote, then percent-decode once. A '%' that encodes no UTF-8 stands for itself."""
    if value.startswith(b'"') and _QUOTED.fullmatch(value):
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    return header_text(_percent_decoded(value))


def _percent_decoded(value: bytes) -> bytes:
    return _ENCODED.sub(_decoded_or_as_it_stands, value) if b"%" in value else value


def _decoded_or_as_it_stands(match: re.Match[bytes]) -> bytes:
    decoded = bytes.fromhex(match[0].replace(b"%", b"").decode())
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return match[0]
    return decoded


def encode_binary(event: CloudEvent) -> tuple[Headers, bytes]:
    """Headers and body of the event in binary mode; `content-type` only where the event names one.

    Data that is itself an event travels in structured mode: by its content type, a receiver would take it, and the id
    that its maker chose, for the event.
    """
    if event.datacontenttype is not None and json_format.holds_events(event.datacontenttype):
        return encode_structured(event)
    headers = [
        (b"ce-" + name.encode(), escape(value)) for name, value in event.attributes() if name != "datacontenttype"
    ]
    if event.datacontenttype is not None:
        headers.append((b"content-type", event.datacontenttype.encode()))
    return headers, event.data


def escape(value: str) -> bytes:
    """A header value: what is not printable ASCII, '%', and a space at either end percent-encoded as UTF-8."""
    if _SUSPECT.search(value) is None:
        return value.encode()
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), value).encode()


def encode_structured(event: CloudEvent) -> tuple[Headers, bytes]:
    """Headers and body of the event in structured mode."""
    return [(b"content-type", STRUCTURED)], json_format.encode(event)


def encode_batched(events: Iterable[CloudEvent]) -> tuple[Headers, bytes]:
    """Headers and body of several events in one message."""
    return [(b"content-type", BATCHED)], json_format.encode_batch(events)
