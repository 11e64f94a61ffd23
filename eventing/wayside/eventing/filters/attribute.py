"""The attributes that a filter may name, and how one is read out of an event.

Source: Knative Eventing v1, the validation of a Trigger's attribute names.
Invariant: a reader answers what `CloudEvent.attribute` answers, having looked at the name once.
"""

import re
from collections.abc import Callable
from operator import attrgetter

from wayside.eventing.event import OPTIONAL, REQUIRED, SPECVERSION, CloudEvent

_NAME = re.compile(r"[a-z][a-z0-9]*", re.ASCII)


def is_attribute_name(name: str) -> bool:
    """Whether a filter may name this attribute: lower-case letters and digits, a letter first."""
    return _NAME.fullmatch(name) is not None


def attribute_reader(name: str) -> Callable[[CloudEvent], str | None]:
    """A function from an event to the attribute's value, None where the event does not have it."""
    if name == "specversion":
        return lambda event: SPECVERSION
    if name in REQUIRED or name in OPTIONAL:
        return attrgetter(name)
    return lambda event: event.extensions.get(name)
