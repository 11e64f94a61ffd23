"""CloudEvents over HTTP: binary and structured mode, between header lists and `CloudEvent`.

Source: CloudEvents 1.0 HTTP protocol binding, sections 3.1 and 3.2; JSON format 1.0.
Invariant: `decode(*encode_binary(event)) == event` for every event, bytes of the data included.

Header values follow section 3.1.3.2 with one deliberate leniency: space and double quote travel raw inside a value,
because KServe's logger and the Go SDK write JSON extensions so and their readers do not percent-decode. Readers that
follow the specification take both forms; a quote at the start, which they would take for a quoted string, is encoded.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

Headers = list[tuple[bytes, bytes]]
STRUCTURED = b"application/cloudevents+json"
_DATA = frozenset(("data", "data_base64"))
_ENCODED = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_SUSPECT = re.compile(r"[^\x21\x23-\x24\x26-\x7e]")  # one class is much faster to look for than alternatives
_UNSAFE = re.compile(r'^[ "]| $|[^\x20-\x7e]|%')


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder()
_STRICT_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> CloudEvent:
    """The event in an HTTP message. Header names are matched without regard to case.

    Raises `MalformedEvent` with a reason: no CloudEvent at all, a missing attribute, batch mode, bad JSON, bad UTF-8.
    """
    lowered = [(name.lower(), value) for name, value in headers]
    content_type = next((value for name, value in lowered if name == b"content-type"), None)
    kind = (content_type or b"").split(b";", 1)[0].strip().lower()
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


def _decode_binary(headers: Headers, content_type: bytes | None, body: bytes) -> CloudEvent:
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = _text(name[3:])
            if attribute in attributes:
                raise MalformedEvent(f"header 'ce-{attribute}' is given twice")
            attributes[attribute] = _unescape(value)
    if content_type is not None:
        attributes["datacontenttype"] = _text(content_type)
    return CloudEvent.from_attributes(attributes, body)


def _unescape(value: bytes) -> str:
    """Section 3.1.3.2: unquote, then percent-decode once. A '%' that encodes no UTF-8 stands for itself."""
    if value.startswith(b'"') and _QUOTED.fullmatch(value):
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    if b"%" in value:
        value = _ENCODED.sub(_decoded_or_as_it_stands, value)
    return _text(value)


def _decoded_or_as_it_stands(match: re.Match[bytes]) -> bytes:
    decoded = bytes.fromhex(match[0].replace(b"%", b"").decode())
    try:
        decoded.decode()
    except UnicodeDecodeError:
        return match[0]
    return decoded


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
        headers.append((b"content-type", event.datacontenttype.encode()))
    return headers, event.data


def escape(value: str) -> bytes:
    """A header value: what is not printable ASCII, '%', and a space at either end percent-encoded as UTF-8."""
    if _SUSPECT.search(value) is None:
        return value.encode()
    return _UNSAFE.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), value).encode()


def decode_structured(body: bytes) -> CloudEvent:
    """The event in a JSON envelope (CloudEvents JSON format 1.0). JSON data comes out as the very text that came in."""
    try:
        members = _members(body.decode("utf-8-sig"))
        attributes = {name: _canonical(name, value) for name, (value, _) in members.items() if name not in _DATA}
        if "data" in members:
            attributes.setdefault("datacontenttype", "application/json")
        return CloudEvent.from_attributes(attributes, _structured_data(members, attributes))
    except (ValueError, RecursionError) as exc:
        raise MalformedEvent(f"structured event cannot be read as JSON: {exc}") from exc


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """The members of a JSON object that are not null: each one's value, and the text it was read from."""
    if not isinstance(json.loads(text), dict):
        raise MalformedEvent("structured event is not a JSON object")
    members: dict[str, tuple[Any, str]] = {}
    at = _next_token(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _JSON.raw_decode(text, at)
        start = _next_token(text, at)
        value, at = _JSON.raw_decode(text, start)
        if name in members:
            raise MalformedEvent(f"member {name[:64]!r} is given twice")
        members[name] = value, text[start:at]
        at = _next_token(text, at)
    return {name: member for name, member in members.items() if member[0] is not None}


def _next_token(text: str, at: int) -> int:
    while text[at] in " \t\r\n,:":
        at += 1
    return at


def _structured_data(members: Mapping[str, tuple[Any, str]], attributes: Mapping[str, str]) -> bytes:
    if "data_base64" in members:
        if "data" in members:
            raise MalformedEvent("structured event holds both 'data' and 'data_base64'")
        try:
            return base64.b64decode(members["data_base64"][0], validate=True)
        except (ValueError, TypeError) as exc:
            raise MalformedEvent("'data_base64' is not base64") from exc
    value, text = members.get("data", (None, ""))
    if isinstance(value, str) and not _is_json(attributes["datacontenttype"]):
        return value.encode()
    return text.encode()


def _is_json(content_type: str) -> bool:
    return content_type.split(";", 1)[0].strip().lower().endswith(("/json", "+json"))


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
    envelope = dict(event.attributes())
    if event.data and not _embeds(event):
        envelope["data_base64"] = base64.b64encode(event.data).decode()
    body = json.dumps(envelope, ensure_ascii=False).encode()
    if event.data and "data_base64" not in envelope:
        body = body[:-1] + b', "data": ' + event.data + b"}"
    return [(b"content-type", STRUCTURED)], body


def _embeds(event: CloudEvent) -> bool:
    """Whether the data may stand in the envelope as it is, and comes out of it as the same bytes."""
    if not _is_json(event.datacontenttype or "") or event.data == b"null":
        return False
    try:
        text = event.data.decode()
        _, end = _STRICT_JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return end == len(text)
