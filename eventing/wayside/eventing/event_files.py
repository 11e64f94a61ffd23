"""Files of logged events: CloudEvents as JSON lines, as an array, or as one object, read one by one.

Source: CloudEvents JSON format for what is structured; Knative's event display for events shown as context attributes,
extensions and data, which is how loggers' output was kept.
Invariant: an event that cannot be read is refused in its place, and those after it are read; JSON data is the very text
that stands in the file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wayside.eventing import json_format, versions
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import Members, Refusal, members_of

__all__ = ["Refusal", "looks_like_events", "read_events"]

_VERSION_MARKS = (b'"specversion"', b'"cloudEventsVersion"')
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"


def looks_like_events(text: bytes) -> bool:
    """Whether a file holds events rather than a payload: by the members of its first object, whether they are right.

    A body of V1, V2, Seldon or OpenAI is never taken for events, whatever its values hold.
    """
    if not any(mark in text for mark in _VERSION_MARKS):
        return False
    first = _first_object(text.removeprefix(_BOM).lstrip(_SPACE))
    context = first.get("context")
    return _names_an_event(context if isinstance(context, dict) else first)


def _first_object(text: bytes) -> Mapping[str, Any]:
    """The file's first object, where it begins with one, alone, on a line, or in an array; else nothing."""
    if text.startswith(b"["):
        text = text[1:].lstrip(_SPACE)
    for part in (text.split(b"\n", 1)[0], text):
        try:
            first, _ = json.JSONDecoder().raw_decode(part.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(first, dict):
            return first
    return {}


def _names_an_event(attributes: Mapping[str, Any]) -> bool:
    version = attributes.get("specversion", attributes.get("cloudEventsVersion"))
    return isinstance(version, str) and isinstance(attributes.get("type", attributes.get("eventType")), str)


def read_events(text: bytes) -> Iterator[CloudEvent | Refusal]:
    """Each event of a file in its order, or in the place of one that cannot be read its index, from 0, and the reason.

    An event is structured, of any version, or in the display form `{"context": {…}, "extensions": {…}, "data": …}`,
    where an extension may repeat a context attribute and `"data": null` is no data. Other members are not looked at.
    """
    body = text.removeprefix(_BOM).strip(_SPACE)
    if body.startswith(b"["):
        yield from _events_of_array(body)
    elif not _is_json(body) and any(line.startswith(b"{") and _is_json(line) for line in body.split(b"\n")):
        yield from _events_of_lines(body.split(b"\n"))
    else:
        yield _event_or_refusal(body, 0, "")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _events_of_array(body: bytes) -> Iterator[CloudEvent | Refusal]:
    try:
        yield from json_format.decode_batch(body, _logged_event)
    except MalformedEvent as exc:
        yield Refusal(0, str(exc))


def _events_of_lines(lines: Iterable[bytes]) -> Iterator[CloudEvent | Refusal]:
    written = ((number, line) for number, line in enumerate(lines, 1) if line.strip(_SPACE))
    for index, (number, line) in enumerate(written):
        yield _event_or_refusal(line, index, f"line {number}: ")


def _event_or_refusal(text: bytes, index: int, place: str) -> CloudEvent | Refusal:
    try:
        return json_format.decode(text, _logged_event)
    except MalformedEvent as exc:
        return Refusal(index, f"{place}{exc}")


def _logged_event(members: Members) -> CloudEvent:
    context = members.get("context")
    if context is None or not isinstance(context[0], dict):
        return json_format.event_of(members)
    return json_format.event_of(_envelope(members))


def _envelope(shown: Members) -> Members:
    """The structured form of an event in display form. The context counts where an extension says otherwise."""
    context = members_of(shown["context"][1])
    data = {name: shown[name] for name in ("data", "data_base64") if name in shown}
    value, text = shown.get("extensions", ({}, "{}"))
    if not isinstance(value, dict):
        raise MalformedEvent("'extensions' is not a JSON object")
    if versions.older_version({name: value for name, (value, _) in context.items()}):
        return {**context, "extensions": (value, text), **data}
    return {**members_of(text), **context, **data}
