"""The attributes that a filter may name, and how one is read out of an event.

Source: Knative Eventing v1, the validation of a Trigger's attribute names, and pkg/eventfilter/attributes/filter.go
(8cf4c4b), whose names beside those of CloudEvents 1.0 are taken: `datamediatype` and `schemaurl`.
Invariant: a reader is made once for a name. But for those two and `time` it answers what `CloudEvent.attribute` does.
"""

import re
from collections.abc import Callable, Mapping
from operator import attrgetter

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import OPTIONAL, REQUIRED, SPECVERSION, CloudEvent

Reader = Callable[[CloudEvent], str | None]
_NAME = re.compile(r"[a-z][a-z0-9]*", re.ASCII)


def why_no_attribute(name: str) -> str | None:
    """Why a filter may not name this; None where it may."""
    if _NAME.fullmatch(name) is None:
        return "is no attribute's name: a lower-case letter, then lower-case letters and digits"
    if name == "data":
        return "is no attribute: filters look at an event's attributes, never at its data"
    return None


def attribute_reader(name: str) -> Reader:
    """A function from an event to the attribute's value, None where the event does not have it."""
    if name in _READERS:
        return _READERS[name]
    if name in REQUIRED or name in OPTIONAL:
        return attrgetter(name)
    return lambda event: event.extensions.get(name)


def _media_type(event: CloudEvent) -> str | None:
    """The content type without its parameters."""
    given = event.datacontenttype
    if given is None or ";" not in given:
        return given
    return given.partition(";")[0].strip()


def _time(event: CloudEvent) -> str | None:
    """In UTC with no more digits than it takes, as Knative's broker compares it; what is no time is the text it is."""
    if event.time is None:
        return None
    try:
        whole, _, fraction = format_time(parse_time(event.time))[:-1].partition(".")
    except MalformedEvent:
        return event.time
    digits = fraction.rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


_READERS: Mapping[str, Reader] = {
    "specversion": lambda event: SPECVERSION,
    "time": _time,
    "datamediatype": _media_type,
    "schemaurl": attrgetter("dataschema"),
}
