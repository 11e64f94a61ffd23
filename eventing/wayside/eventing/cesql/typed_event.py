"""The attributes of an event in CloudEvents JSON, in the types that they have there.

Source: cloudevents/spec, JSON event format section 2.2: integers and booleans may be written as such.
Invariant: what is no event is refused; nothing but context attributes is answered, so `data` is none.
"""

from collections.abc import Mapping

from wayside.eventing import json_format
from wayside.eventing.cesql.values import Value
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import Members


def typed_attributes(body: bytes) -> Mapping[str, Value]:
    """Each attribute that the event in this JSON has. Raises `MalformedEvent` with a reason."""
    written: dict[str, object] = {}

    def read(members: Members) -> CloudEvent:
        written.update((name, value) for name, (value, _) in members.items())
        return json_format.event_of(members)

    event = json_format.decode(body, read)
    return {name: _typed(value, written.get(name)) for name, value in event.attributes()}


def _typed(text: str, written: object) -> Value:
    return written if isinstance(written, int) else text
