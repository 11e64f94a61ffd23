"""The `prefix` dialect: an attribute starts with a text.

Source: CloudEvents Subscriptions API, `prefix`.
Invariant: case counts, and a value shorter than the prefix never starts with it.
"""

from collections.abc import Mapping

from wayside.eventing.filters.comparison import AttributeFilter, Comparison, Wanted
from wayside.eventing.filters.filter import Filter

_STARTS = Comparison(
    str.startswith, "{name} {value} starts with {wanted}", "{name} {value} does not start with {wanted}"
)


def prefix(values: Mapping[str, str]) -> Filter:
    """Passes an event whose attributes all start with these texts."""
    return AttributeFilter("prefix", [Wanted(name, _STARTS, value) for name, value in values.items()])
