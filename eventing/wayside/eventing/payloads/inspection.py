"""What Wayside sees in a file of bodies or of logged events, as plain values to print: the core of `wayside decode`.

Invariant: one report for each body or event, in order; a refusal is a report too, and stops nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal, looks_like_events, read_events
from wayside.eventing.http_binding import decode as decode_http
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of, message_of_http
from wayside.eventing.payloads.payload import Kind, Limits, Message, Protocol, describe, row_ids

Report = Mapping[str, Any]
EVENT_MARKS = ("ce-specversion", "ce-cloudeventsversion")
EVENTS_TYPE = "application/cloudevents"


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read: headers (names in lower case), and what is declared. With `lines`, each line is a body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    protocol: Protocol | None = None
    kind: Kind | None = None
    lines: bool = False
    limits: Limits = field(default_factory=Limits)


def inspect(name: str, text: bytes, reading: Reading) -> Iterator[Report]:
    """The reports on one file; `name` stands in each, and is the source of bodies that no event carries."""
    if _is_event(reading.headers):
        yield _of_http_event(name, text, reading)
    elif not reading.headers and reading.protocol is None and looks_like_events(text):
        for number, event in enumerate(read_events(text), start=1):
            yield {"file": name, "item": number, **_of_event(event, reading)}
    elif reading.lines:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield {"file": name, "item": number, **_of_body(name, line, reading)}
    else:
        yield {"file": name, **_of_body(name, text, reading)}


def _is_event(headers: Mapping[str, str]) -> bool:
    return any(mark in headers for mark in EVENT_MARKS) or headers.get("content-type", "").startswith(EVENTS_TYPE)


def _of_http_event(name: str, body: bytes, reading: Reading) -> Report:
    headers = [(header.encode(), value.encode()) for header, value in reading.headers.items()]
    try:
        return {"file": name, **_of_event(decode_http(headers, body), reading)}
    except MalformedEvent as exc:
        return {"file": name, "refused": str(exc)}


def _of_event(event: CloudEvent | Refusal, reading: Reading) -> Report:
    if isinstance(event, Refusal):
        return {"refused": event.reason}
    identity = {"source": event.source, "id": event.id, "type": event.type}
    return {"event": identity, **_seen(message_of(event), event.source, event.id, reading)}


def _of_body(name: str, body: bytes, reading: Reading) -> Report:
    message = message_of_http(body, reading.headers, reading.kind, reading.protocol)
    return _seen(message, f"file:{name}", sha256(body).hexdigest(), reading)


def _seen(message: Message, source: str, event_id: str, reading: Reading) -> Report:
    if not message.body:
        return {"refused": "there is no data"}
    try:
        payload = decode(message, reading.limits)
    except MalformedEvent as exc:
        return {"refused": str(exc)}
    return {**describe(payload), "row_ids": row_ids(source, event_id, payload.rows)}
