"""To and from the event of the `cloudevents` SDK, for users who hold one. Needs the extra `cloudevents`.

Source: cloudevents 2.2, core.v1.event and core.v03.event; CloudEvents 1.0, section 3.2 for how values are written.
Invariant: data crosses as bytes and is the same on both sides; what the SDK's event cannot hold is refused, never
rounded or left out unasked.
"""

import base64
import json
import re
from datetime import datetime
from typing import Any

from wayside.eventing import versions
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent, MissingExtra
from wayside.eventing.event import CloudEvent

try:
    from cloudevents.core.base import BaseCloudEvent
    from cloudevents.core.exceptions import BaseCloudEventException
    from cloudevents.core.v1.event import CloudEvent as SdkEvent
except ImportError as exc:
    raise MissingExtra("the cloudevents SDK", "cloudevents") from exc

_TOO_FINE = re.compile(r"\.\d{6}\d*[1-9]")
_JSON_TYPE = re.compile(r"[^;]*[/+]json\s*(;.*)?", re.IGNORECASE | re.DOTALL)


def to_sdk(event: CloudEvent, *, cut_time: bool = False) -> SdkEvent:
    """The SDK's event of an event, with data as bytes, or None where there is none.

    The SDK keeps time as a `datetime`: finer than a microsecond, as KServe's logger writes it, it is cut where
    `cut_time` says so and else refused. Raises `MalformedEvent` for what the SDK's event cannot hold: that, a time that
    is no timestamp or a leap second, an optional attribute that is empty.
    """
    attributes: dict[str, Any] = dict(event.attributes())
    if event.time is not None:
        attributes["time"] = _datetime(event.time, cut_time)
    try:
        converted = SdkEvent(attributes, event.data or None)
    except BaseCloudEventException as exc:
        raise MalformedEvent(f"the SDK cannot hold this event: {exc}") from exc
    if event.time is None:
        del converted.get_attributes()["time"]  # the SDK puts the present into an event that has no time
    return converted


def _datetime(text: str, cut: bool) -> datetime:
    parse_time(text)
    if text[17:19] == "60":
        raise MalformedEvent(f"time {text!r} is a leap second, which the SDK cannot hold")
    if not cut and _TOO_FINE.search(text):
        raise MalformedEvent(f"time {text[:64]!r} is finer than the SDK holds: pass cut_time=True to cut it")
    return datetime.fromisoformat(text.upper())


def from_sdk(event: BaseCloudEvent) -> CloudEvent:
    """The event of an SDK event, of 1.0 or 0.3; the latter is upgraded and marked so.

    Bytes stay as they are, text is UTF-8, other data is written as the JSON that its content type, or the lack of one,
    allows. Raises `MalformedEvent` for data or attributes that no event can carry.
    """
    attributes = {name: _text(name, value) for name, value in event.get_attributes().items() if value is not None}
    upgraded = versions.upgrade(attributes)
    if versions.older_version(attributes):
        upgraded.pop(versions.DATA_ENCODING, None)  # the SDK's event holds the bytes, not their base64
    return CloudEvent.from_attributes(upgraded, _data(event.get_data(), upgraded.get("datacontenttype")))


def _text(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case datetime() if value.tzinfo is not None:
            return value.isoformat().replace("+00:00", "Z")
    raise MalformedEvent(f"attribute {name[:64]!r} is a {type(value).__name__}, which no event can carry")


def _data(data: object, content_type: str | None) -> bytes:
    if data is None or isinstance(data, bytes | bytearray):
        return bytes(data or b"")
    if isinstance(data, str):
        return _encoded(data)
    if content_type is not None and not _JSON_TYPE.fullmatch(content_type):
        raise MalformedEvent(f"data is a {type(data).__name__} and the content type not JSON: give bytes")
    try:
        return json.dumps(data, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise MalformedEvent(f"data cannot be written as JSON: {exc}") from exc


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise MalformedEvent("data holds a lone surrogate, which no encoding can carry") from exc
