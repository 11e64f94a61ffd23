"""The predicate of a Trigger's `filter.attributes`: equal values, and "" for any value at all.

Source: Knative Eventing v1, TriggerFilter.
Invariant: an attribute that the event lacks never matches, "" included; without attributes every event passes.
"""

from collections.abc import Mapping

from wayside.eventing.filters.comparison import AttributeFilter, Comparison, Wanted
from wayside.eventing.filters.exact import EQUAL
from wayside.eventing.filters.filter import Filter

_PRESENT = Comparison(lambda value, wanted: True, "the event has {name}", "")


def attributes(values: Mapping[str, str]) -> Filter:
    """Passes what has exactly these values; where the value is "", what has the attribute."""
    wanted = [Wanted(name, EQUAL if value else _PRESENT, value) for name, value in values.items()]
    return AttributeFilter("attributes", wanted)
