"""CloudEvents in Kafka messages: binary and structured mode, both ways.

Source: CloudEvents 1.0.2, Kafka protocol binding, sections 3.1 to 3.3; the partitioning extension.
Invariant: `decode(*encode(event)) == event` for every event, bytes of the data included; so in structured mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from wayside.eventing import json_format, versions
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent, header_text
from wayside.eventing.json_format import STRUCTURED
from wayside.eventing.vocabulary import ordering_key

KafkaHeaders = list[tuple[str, bytes]]
ReceivedHeaders = Sequence[tuple[str, bytes | None]]
PREFIX = "ce_"
CONTENT_TYPE = "content-type"
# what a message takes besides its key, its value and what stands in its headers: framing, objects
OVERHEAD_BYTES = 2048


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """A message as it was read: where it stands in its topic, and its bytes. A tombstone has no `value`.

    `timestamp_ms` counts from the epoch: when the message was made or appended, as the topic is set. None: unknown.
    `unreadable` says why its headers could not be read, and are not here. `size_bytes` is what it takes in memory.
    """

    topic: str
    partition: int
    offset: int
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    key: bytes | None = None
    value: bytes | None = None
    timestamp_ms: int | None = None
    unreadable: str = ""
    size_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # once: it is asked for when the record is fetched, begun and ended
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        size_bytes = len(self.value or b"") + len(self.key or b"") + headers + OVERHEAD_BYTES
        object.__setattr__(self, "size_bytes", size_bytes)


def encode(event: CloudEvent) -> tuple[KafkaHeaders, bytes | None]:
    """Headers and value of the event in binary mode. Attribute values travel as plain UTF-8 (section 3.2.3).

    An event that has neither data nor a content type has no value (null); no bytes of a content type are data.

    Data that is itself an event travels in structured mode: by its content type, a reader would take it for the event.
    """
    if event.datacontenttype is not None and json_format.holds_events(event.datacontenttype):
        return encode_structured(event)
    headers = [(PREFIX + name, value.encode()) for name, value in event.attributes() if name != "datacontenttype"]
    if event.datacontenttype is not None:
        headers.append((CONTENT_TYPE, event.datacontenttype.encode()))
    has_data = bool(event.data) or event.datacontenttype is not None
    return headers, event.data if has_data else None


def encode_structured(event: CloudEvent) -> tuple[KafkaHeaders, bytes]:
    """Headers and value of the event in structured mode: no value is ever null, so no message is a tombstone."""
    return [(CONTENT_TYPE, STRUCTURED)], json_format.encode(event)


def decode(headers: ReceivedHeaders, value: bytes | None) -> CloudEvent:
    """The event in a message; a tombstone is an event without data, a header without a value is none.

    Raises `MalformedEvent` with a reason: no CloudEvent at all, a missing attribute, batch mode, bad JSON, bad UTF-8.
    """
    content_type = _content_type(headers)
    if content_type is None:
        return versions.event_of(_attributes(headers), value or b"")
    kind = content_type.split(b";", 1)[0].strip().lower()
    if kind == STRUCTURED:
        return json_format.decode(value or b"")
    if json_format.holds_events(header_text(kind)):
        raise MalformedEvent(
            f"content type {header_text(kind)!r} is not supported: send binary mode or {header_text(STRUCTURED)}"
        )
    named = {"datacontenttype": header_text(content_type)}
    # first and last: a `ce_` header does not stand against it
    return versions.event_of(named | _attributes(headers) | named, value or b"")


def _content_type(headers: ReceivedHeaders) -> bytes | None:
    for name, value in headers:
        if value is not None and name.lower() == CONTENT_TYPE:
            return value
    return None


def _attributes(headers: ReceivedHeaders) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for header, value in headers:
        if value is not None and header.startswith(PREFIX):
            name = header[len(PREFIX) :]
            if name in attributes:
                raise MalformedEvent(f"header '{header[:64]}' is given twice")
            attributes[name] = header_text(value)
    return attributes


def message_key(event: CloudEvent) -> bytes:
    """The key of an event's message: what keeps events together on one partition, in order."""
    return ordering_key(event).encode()
