"""An event as an entry of the journal: its attributes in the head, its data untouched.

Source: CloudEvents 1.0 JSON event format, section 2 (attributes as members), without its data.
Invariant: `decode` of what `encode` made is an equal event, data byte for byte.
"""

import json

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.storage.entry import Entry, KeptEntry


def encode(event: CloudEvent, time_ns: int) -> Entry:
    """`time_ns`, since the epoch, is when the event was spooled: its age goes by that."""
    head = json.dumps(dict(event.attributes()), ensure_ascii=False, separators=(",", ":"))
    return Entry(time_ns, head.encode(), event.data)


def decode(entry: KeptEntry) -> CloudEvent:
    """Raises `MalformedEvent` with the entry's position, where another program wrote it."""
    try:
        return CloudEvent.from_attributes(_attributes(entry.head), entry.data)
    except (MalformedEvent, ValueError, RecursionError) as exc:
        raise MalformedEvent(f"entry {entry.position} of the spool is no event: {exc}") from exc


def _attributes(head: bytes) -> dict[str, str]:
    attributes = json.loads(head)
    if not isinstance(attributes, dict):
        raise MalformedEvent("its head is not a JSON object")
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise MalformedEvent(f"attribute {name[:64]!r} is not text")
    return attributes
