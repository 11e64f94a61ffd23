"""The `exact` dialect: an attribute equals a text.

Source: CloudEvents Subscriptions API, `exact`.
Invariant: what is equal is equal in every character, case included.
"""

from collections.abc import Mapping
from operator import eq

from wayside.eventing.filters.comparison import AttributeFilter, Comparison, Wanted
from wayside.eventing.filters.filter import Filter

EQUAL = Comparison(eq, "{name} is {value}", "{name} is {value}, not {wanted}")


def exact(values: Mapping[str, str]) -> Filter:
    """Passes an event whose attributes all equal these texts."""
    return AttributeFilter("exact", [Wanted(name, EQUAL, value) for name, value in values.items()])
