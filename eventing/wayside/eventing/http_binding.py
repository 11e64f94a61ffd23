"""CloudEvents over HTTP: binary and structured mode, between header lists and `CloudEvent`.

Source: CloudEvents 1.0 HTTP protocol binding, sections 3.1 and 3.2; JSON format 1.0.
Invariant: `decode(*encode_binary(event)) == event` for every event, bytes of the data included.

Header values follow section 3.1.3.2 with one deliberate leniency: space and double quote travel raw inside a value,
because KServe's logger and the Go SDK write JSON extensions so and their readers do not percent-decode. Readers that
follow the specification take both forms.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import SPECVERSION, CloudEvent

Headers = list[tuple[bytes, bytes]]
STRUCTURED = b"application/cloudevents+json"
_ENCODED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_UNSAFE = re.compile(r"^ | $|[^\x20-\x7e]|%")


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> CloudEvent:
    """The event in an HTTP message. Header names are matched without regard to case.

    Raises `MalformedEvent` with a reason: no CloudEvent at all, a missing attribute, batch mode, bad JSON, bad UTF-8.
    """
    lowered = [(name.lower(), value) for name, value in headers]
    content_type = next((value for name, value in lowered if name == b"content-type"), b"")
    kind = content_type.split(b";", 1)[0].strip().lower()
    if kind == STRUCTURED:
        return decode_structured(body)
    if kind.startswith(b"application/cloudevents"):
        raise MalformedEvent(
            f"content type {_text(kind)!r} is not supported: send binary mode or {STRUCTURED.decode()}"
        )
    return _decode_binary(lowered, content_type, body)


def is_event(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a message claims to carry a CloudEvent, in either mode."""
    return any(
        name.lower() == b"ce-specversion"
        or (name.lower() == b"content-type" and value.lower().startswith(b"application/cloudevents"))
        for name, value in headers
    )


def _decode_binary(headers: Headers, content_type: bytes, body: bytes) -> CloudEvent:
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = _text(name[3:])
            if attribute in attributes:
                raise MalformedEvent(f"header 'ce-{attribute}' is given twice")
            attributes[attribute] = _unescape(value)
    if content_type:
        attributes["datacontenttype"] = _text(content_type)
    return CloudEvent.from_attributes(attributes, body)


def _unescape(value: bytes) -> str:
    if b"%" in value:
        value = _ENCODED.sub(lambda match: bytes.fromhex(match[0].replace(b"%", b"").decode()), value)
    return _text(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise MalformedEvent(f"a header holds bytes that are not UTF-8: {value[:64]!r}") from exc


def encode_binary(event: CloudEvent) -> tuple[Headers, bytes]:
    """Headers and body of the event in binary mode; `content-type` only where the event names one."""
    headers = [
        (b"ce-" + name.encode(), escape(value)) for name, value in event.attributes() if name != "datacontenttype"
    ]
    if event.datacontenttype is not None:
        headers.append((b"content-type", _header_safe(event.datacontenttype)))
    return headers, event.data


def escape(value: str) -> bytes:
    """A header value: what is not printable ASCII, '%', and a space at either end percent-encoded as UTF-8."""
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), value).encode()


def _header_safe(value: str) -> bytes:
    if any(character in value for character in "\r\n\0"):
        raise MalformedEvent("datacontenttype holds a line break")
    return value.encode()


def decode_structured(body: bytes) -> CloudEvent:
    """The event in a JSON envelope (CloudEvents JSON format 1.0)."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedEvent(f"structured event is not JSON: {exc}") from exc
    if not isinstance(envelope, dict):
        raise MalformedEvent("structured event is not a JSON object")
    attributes = {
        name: _canonical(name, value)
        for name, value in envelope.items()
        if name not in ("data", "data_base64") and value is not None
    }
    if envelope.get("data") is not None:
        attributes.setdefault("datacontenttype", "application/json")
    try:
        "".join(attributes.values()).encode()
        return CloudEvent.from_attributes(attributes, _structured_data(envelope))
    except UnicodeEncodeError as exc:
        raise MalformedEvent("structured event holds a lone surrogate, which no encoding can carry") from exc


def _structured_data(envelope: Mapping[str, Any]) -> bytes:
    if envelope.get("data_base64") is not None:
        if envelope.get("data") is not None:
            raise MalformedEvent("structured event holds both 'data' and 'data_base64'")
        try:
            return base64.b64decode(envelope["data_base64"], validate=True)
        except (ValueError, TypeError) as exc:
            raise MalformedEvent("'data_base64' is not base64") from exc
    data = envelope.get("data")
    if data is None:
        return b""
    if isinstance(data, str) and not _is_json(envelope.get("datacontenttype", "application/json")):
        return data.encode()
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def _is_json(content_type: object) -> bool:
    kind = str(content_type).split(";", 1)[0].strip().lower()
    return kind.endswith(("/json", "+json"))


def _canonical(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    raise MalformedEvent(f"attribute {name[:64]!r} is neither text, integer nor boolean")


def encode_structured(event: CloudEvent) -> tuple[Headers, bytes]:
    """Headers and body in structured mode; data that is valid JSON is embedded, other data travels as base64."""
    envelope: dict[str, Any] = {"specversion": SPECVERSION, **dict(event.attributes())}
    embedded = _json_or_none(event)
    if embedded is not None:
        head = json.dumps(envelope, ensure_ascii=False)[:-1].encode()
        body = head + b', "data": ' + embedded + b"}"
    else:
        if event.data:
            envelope["data_base64"] = base64.b64encode(event.data).decode()
        body = json.dumps(envelope, ensure_ascii=False).encode()
    return [(b"content-type", STRUCTURED)], body


def _json_or_none(event: CloudEvent) -> bytes | None:
    """The data where it may stand in the envelope and come out as the same bytes, else None."""
    if not event.data or not _is_json(event.datacontenttype or ""):
        return None
    try:
        compact = json.dumps(json.loads(event.data), separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return event.data if compact == event.data and event.data != b"null" else None
