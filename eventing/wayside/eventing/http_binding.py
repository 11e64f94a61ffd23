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
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from wayside.eventing import json_format, versions
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import REQUIRED, SPECVERSION, CloudEvent, header_text
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
_PLAIN = re.compile(r"[\x21\x23-\x24\x26-\x7e]*")  # one class is much faster to look for than alternatives
_UNSAFE = re.compile(r'^[ "]| $|[^\x20-\x7e]|%')


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> CloudEvent:
    """The event in an HTTP message. Header names are matched without regard to case.

    Raises `MalformedEvent` with a reason: no CloudEvent at all, a missing attribute, batch mode, bad JSON, bad UTF-8.
    """
    given = list(headers)
    content_type = _content_type(given)
    if content_type is not None and _names_events(content_type):
        return json_format.decode(body)
    return _decode_binary(given, content_type, body)


def decode_batched(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[CloudEvent | Refusal]:
    """The events in an HTTP message of any mode; one that is refused is named by its index.

    Raises `MalformedEvent` where a batch as a whole, or a message of one event, cannot be read.
    """
    given = list(headers)
    if _media_type(_content_type(given) or b"") == BATCHED:
        return list(json_format.decode_batch(body))
    return [decode(given, body)]


def _content_type(headers: Headers) -> bytes | None:
    """The first content type; most names are told from its name by their length."""
    for name, value in headers:
        if len(name) == 12 and name.lower() == b"content-type":
            return value
    return None


def _names_events(content_type: bytes) -> bool:
    """Whether the body is one structured event. Raises `MalformedEvent` where it is another form of events."""
    if content_type.isascii() and b"cloudevents" not in content_type.lower():
        return False
    kind = _media_type(content_type)
    if kind != STRUCTURED and json_format.holds_events(header_text(kind)):
        raise MalformedEvent(
            f"content type {header_text(kind)!r} is not supported: send binary mode or {STRUCTURED.decode()}"
        )
    return kind == STRUCTURED


def _media_type(content_type: bytes) -> bytes:
    return content_type.split(b";", 1)[0].strip().lower()


def is_event(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a message claims to carry CloudEvents, in any mode and version."""
    return any(
        name.lower() in _VERSION_HEADERS
        or (name.lower() == b"content-type" and json_format.holds_events(value.decode("latin-1")))
        for name, value in headers
    )


def _decode_binary(headers: Headers, content_type: bytes | None, body: bytes) -> CloudEvent:
    attributes = _plain_attributes(headers) or _attributes(headers, _unescape)
    if attributes.get("specversion") != SPECVERSION:
        return _decode_older(headers, attributes, content_type, body)
    if content_type is not None:  # a `ce-` header does not stand against it
        attributes["datacontenttype"] = header_text(content_type)
    return CloudEvent.from_attributes(attributes, body)


def _decode_older(headers: Headers, attributes: dict[str, str], content_type: bytes | None, body: bytes) -> CloudEvent:
    if versions.older_version(attributes) in _JSON_VALUED:
        attributes = _attributes(headers, _unescape_json)
    if content_type is not None:
        named = {"datacontenttype": header_text(content_type)}
        attributes = named | attributes | named  # first and last, as above
    return versions.event_of(attributes, body)


def _attributes(headers: Headers, read: Callable[[bytes], str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in headers:
        attribute = _attribute_name(name)
        if attribute is None:
            continue
        if attribute in attributes:
            raise MalformedEvent(f"header 'ce-{attribute}' is given twice")
        attributes[attribute] = read(value)
    return attributes


def _attribute_name(header: bytes) -> str | None:
    """The attribute that a header carries, if any."""
    name = header.lower()
    return header_text(name[len(_PREFIX) :]) if name.startswith(_PREFIX) else None


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which attributes a message's headers carry, by the headers' names, and what picks their values out of all."""

    attributes: tuple[str, ...]
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]


def _plain_attributes(headers: Headers) -> dict[str, str] | None:
    """The attributes where all are written plainly, read at once at a third of the cost.

    None where they must be read one by one: something is encoded, quoted, given twice, or no UTF-8.
    """
    if not headers:
        return None
    names, values = zip(*headers, strict=True)
    layout = _layout(names)
    if layout is None:
        return None
    joined = b"\n".join(layout.pick(values))
    if b"%" in joined or b'\n"' in joined or joined.startswith(b'"'):
        return None
    try:
        texts = joined.decode().split("\n")
    except UnicodeDecodeError:
        return None
    return dict(zip(layout.attributes, texts, strict=True)) if len(texts) == len(layout.attributes) else None


@lru_cache(maxsize=64)
def _layout(names: tuple[bytes, ...]) -> _Layout | None:
    """Most messages have the names of one before, in that order. None where they carry less than an event, or twice."""
    try:
        carried = [(place, name) for place, name in enumerate(map(_attribute_name, names)) if name is not None]
    except MalformedEvent:
        return None
    attributes = tuple(name for _, name in carried)
    if len(attributes) < len(REQUIRED) or len(set(attributes)) < len(attributes):
        return None
    return _Layout(attributes, itemgetter(*[place for place, _ in carried]))


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
    attributes = dict(event.attributes())
    content_type = attributes.pop("datacontenttype", None)
    values = attributes.values()
    plain = _PLAIN.fullmatch("".join(values))  # one look at all is cheaper than many
    headers = list(zip(_header_names(tuple(attributes)), map(str.encode if plain else escape, values), strict=True))
    if content_type is not None:
        headers.append((b"content-type", content_type.encode()))
    return headers, event.data


@lru_cache(maxsize=64)
def _header_names(attributes: tuple[str, ...]) -> tuple[bytes, ...]:
    """Most events have the attributes of one before."""
    return tuple(_PREFIX + name.encode() for name in attributes)


def escape(value: str) -> bytes:
    """A header value: what is not printable ASCII, '%', and a space at either end percent-encoded as UTF-8."""
    if _PLAIN.fullmatch(value):
        return value.encode()
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), value).encode()


def encode_structured(event: CloudEvent) -> tuple[Headers, bytes]:
    """Headers and body of the event in structured mode."""
    return [(b"content-type", STRUCTURED)], json_format.encode(event)


def encode_batched(events: Iterable[CloudEvent]) -> tuple[Headers, bytes]:
    """Headers and body of several events in one message."""
    return [(b"content-type", BATCHED)], json_format.encode_batch(events)
