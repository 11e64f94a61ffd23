"""The predicate of a Trigger's `filter.attributes`.

Source: Knative Eventing v1, TriggerFilter.
Invariant: a filter never passes what it was not asked to pass; an attribute that the event lacks never matches.
"""

import re
from collections.abc import Mapping

from wayside.eventing.event import CloudEvent

_NAME = re.compile(r"[a-z][a-z0-9]*", re.ASCII)


def is_attribute_name(name: str) -> bool:
    """Whether a filter may name this attribute: lower-case letters and digits, a letter first."""
    return _NAME.fullmatch(name) is not None


def matches(attributes: Mapping[str, str], event: CloudEvent) -> bool:
    """Whether every attribute has exactly the value asked for; "" asks only that the event has the attribute."""
    for name, wanted in attributes.items():
        value = event.attribute(name)
        if value is None or (wanted and value != wanted):
            return False
    return True
