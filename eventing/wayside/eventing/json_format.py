"""CloudEvents in JSON: one event in an envelope, and a batch of them in an array.

Source: CloudEvents 1.0 JSON event format, sections 2 to 4; for older versions their tags' json-format.md.
Invariant: `decode(encode(event)) == event` for every event, and JSON data comes out as the very text that went in: it
is neither reparsed nor rounded.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from wayside.eventing import versions
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent

STRUCTURED = b"application/cloudevents+json"
BATCHED = b"application/cloudevents-batch+json"
_FAMILY = "application/cloudevents"
# the members of a JSON object: each one's value, and the text it was read from
Members = Mapping[str, tuple[Any, str]]
Read = Callable[[Members], CloudEvent]
T = TypeVar("T")
_DATA = frozenset(("data", "data_base64"))
_BAG = "extensions"
_TEXT_TYPES = ("text/", "application/xml", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event among others that cannot be read: which one, counted from 0, and why."""

    index: int
    reason: str


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_COLON = re.compile(r"[ \t\r\n]*:[ \t\r\n]*")
_MARK = re.compile(r"[ \t\r\n]*([,\]}])[ \t\r\n]*")
_STRICT_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(body: bytes, read: Read | None = None) -> CloudEvent:
    """The event in a JSON envelope, of any version that `versions` knows. `read` reads another form of envelope.

    Raises `MalformedEvent` with a reason: bad JSON, bad UTF-8, a missing attribute, a member given twice.
    """
    found = _document(body, "structured event", _value)
    if not isinstance(found, _Object):
        raise MalformedEvent("structured event is not a JSON object")
    return (read or event_of)(found.members())


def decode_batch(body: bytes, read: Read | None = None) -> Iterator[CloudEvent | Refusal]:
    """The events of a batch in their order, with a `Refusal` in the place of each that is none.

    Raises `MalformedEvent`, before the first event, where the batch as a whole cannot be read: it is no JSON, or no
    array.
    """
    elements = _document(body, "batch of events", _elements)
    if elements is None:
        raise MalformedEvent("batch of events is not a JSON array")
    return (_event_or_refusal(element, index, read or event_of) for index, element in enumerate(elements))


def members_of(text: str) -> Members:
    """The members that are not null of a JSON object's text. Raises `MalformedEvent` where one is given twice."""
    try:
        return _read_object(text, 0)[0].members()
    except RecursionError as exc:  # the text was read before, but perhaps from a lower frame of the stack
        raise MalformedEvent("event is nested too deep") from exc


def _event_or_refusal(element: object, index: int, read: Read) -> CloudEvent | Refusal:
    if not isinstance(element, _Object):
        return Refusal(index, "event is not a JSON object")
    try:
        return read(element.members())
    except MalformedEvent as exc:
        return Refusal(index, str(exc))


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object as it was written: its members in order, each with its value and the text it was read from."""

    pairs: list[tuple[str, tuple[Any, str]]]

    def members(self) -> Members:
        members = dict(self.pairs)
        if len(members) < len(self.pairs):
            [(twice, _)] = Counter(name for name, _ in self.pairs).most_common(1)
            raise MalformedEvent(f"member {twice[:64]!r} is given twice")
        return {name: member for name, member in members.items() if member[0] is not None}


def _document(body: bytes, what: str, read: Callable[[str, int], tuple[T, int]]) -> T:
    """The one value that a body holds."""
    try:
        text = body.decode("utf-8-sig")
        value, at = read(text, _after_space(text, 0))
        if _after_space(text, at) < len(text):
            raise json.JSONDecodeError("Extra data", text, at)
    except (ValueError, RecursionError) as exc:
        raise MalformedEvent(f"{what} cannot be read as JSON: {exc}") from exc
    return value


def _value(text: str, at: int) -> tuple[object, int]:
    return _read_object(text, at) if text.startswith("{", at) else _JSON.raw_decode(text, at)


def _elements(text: str, at: int) -> tuple[list[object] | None, int]:
    """The values of an array; None for any other value."""
    if not text.startswith("[", at):
        return None, _JSON.raw_decode(text, at)[1]
    elements: list[object] = []
    at, more = _first(text, at, "]")
    while more:
        value, at = _value(text, at)
        elements.append(value)
        at, more = _next(text, at, "]")
    return elements, at


def _read_object(text: str, at: int) -> tuple[_Object, int]:
    """The object that begins at `at`, and where it ends. Each value is read once, and its text kept."""
    pairs: list[tuple[str, tuple[Any, str]]] = []
    at, more = _first(text, at, "}")
    while more:
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        name, at = _JSON.raw_decode(text, at)
        colon = _COLON.match(text, at)
        if colon is None:
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        start = colon.end()
        value, at = _JSON.raw_decode(text, start)
        pairs.append((name, (value, text[start:at])))
        at, more = _next(text, at, "}")
    return _Object(pairs), at


def _first(text: str, at: int, close: str) -> tuple[int, bool]:
    """Past the opening bracket: where the first entry begins, or where all ends and False."""
    at = _after_space(text, at + 1)
    return (at + 1, False) if text.startswith(close, at) else (at, True)


def _next(text: str, at: int, close: str) -> tuple[int, bool]:
    """Past an entry: where the next one begins, or where all ends and False."""
    mark = _MARK.match(text, at)
    if mark is None or mark[1] not in (",", close):
        raise json.JSONDecodeError(f"Expecting ',' or {close!r}", text, at)
    return (mark.end(), True) if mark[1] == "," else (mark.end(1), False)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def event_of(members: Members) -> CloudEvent:
    """The event of an envelope's members. Raises `MalformedEvent` with a reason."""
    if versions.older_version({name: value for name, (value, _) in members.items()}):
        return _older_event(members)
    attributes = {name: _canonical(name, value) for name, (value, _) in members.items() if name not in _DATA}
    if "data" in members:
        attributes.setdefault("datacontenttype", "application/json")
    return CloudEvent.from_attributes(attributes, _data(members, attributes.get("datacontenttype", "")))


def _older_event(members: Members) -> CloudEvent:
    attributes = versions.upgrade(dict(_older_attributes(members)))
    if "data" in members:
        attributes.setdefault("datacontenttype", "application/json")
    data = members.get("data", (None, ""))[0]
    if isinstance(data, str) and "data_base64" not in members:
        return CloudEvent.from_attributes(attributes, _older_text(data, members["data"][1], attributes))
    return CloudEvent.from_attributes(attributes, _data(members, attributes.get("datacontenttype", "")))


def _older_text(data: str, text: str, attributes: dict[str, str]) -> bytes:
    """Data that is text: bytes as base64 where 0.3 says so, which is then done with, or a type of 0.1 and 0.2 means so.

    The Go SDK sent such types as plain text: what is no base64 is that.
    """
    content_type = attributes["datacontenttype"]
    if attributes.get(versions.DATA_ENCODING, "").lower() == "base64":
        del attributes[versions.DATA_ENCODING]
        return _decoded("data", data)
    if versions.DATA_ENCODING not in attributes and not _is_text(content_type):
        with suppress(MalformedEvent):
            return _decoded("data", data)
    return _data({"data": (data, text)}, content_type)


def _older_attributes(members: Members) -> Iterator[tuple[str, str]]:
    """Attributes as text. Older versions allow any JSON value in an extension, and 0.1 has a bag of them."""
    for name, (value, text) in members.items():
        if name == _BAG and isinstance(value, dict):
            for key, (inner_value, inner_text) in members_of(text).items():
                yield versions.BAG_PREFIX + key, inner_value if isinstance(inner_value, str) else inner_text
        elif name not in _DATA:
            yield name, value if isinstance(value, str) else text


def _is_text(content_type: str) -> bool:
    lowered = content_type.lower()
    return _is_json(lowered) or lowered.startswith(_TEXT_TYPES) or "+xml" in lowered


def _data(members: Members, content_type: str) -> bytes:
    if "data_base64" in members:
        if "data" in members:
            raise MalformedEvent("structured event holds both 'data' and 'data_base64'")
        return _decoded("data_base64", members["data_base64"][0])
    value, text = members.get("data", (None, ""))
    try:
        return (value if isinstance(value, str) and not _is_json(content_type) else text).encode()
    except UnicodeEncodeError as exc:
        raise MalformedEvent("data holds a lone surrogate, which no encoding can carry") from exc


def _decoded(name: str, value: object) -> bytes:
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]  # a TypeError is a refusal
    except (ValueError, TypeError) as exc:
        raise MalformedEvent(f"{name!r} is not base64") from exc


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


def holds_events(content_type: str) -> bool:
    """Whether a content type says that a body is itself an event, or a batch of them."""
    return content_type.strip().lower().startswith(_FAMILY)


def encode(event: CloudEvent) -> bytes:
    """The event as a JSON envelope; data that is valid JSON is embedded as it is, other data travels as base64."""
    envelope = dict(event.attributes())
    if event.data and not _embeds(event):
        envelope["data_base64"] = base64.b64encode(event.data).decode()
    body = json.dumps(envelope, ensure_ascii=False).encode()
    if event.data and "data_base64" not in envelope:
        body = body[:-1] + b', "data": ' + event.data + b"}"
    return body


def encode_batch(events: Iterable[CloudEvent]) -> bytes:
    """The events as one JSON array, which may be empty."""
    return b"[" + b", ".join(encode(event) for event in events) + b"]"


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
