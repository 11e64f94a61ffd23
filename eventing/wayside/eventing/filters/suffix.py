"""The `suffix` dialect: an attribute ends with a text.

Source: CloudEvents Subscriptions API, `suffix`.
Invariant: case counts, and a value shorter than the suffix never ends with it.
"""

from collections.abc import Mapping

from wayside.eventing.filters.comparison import AttributeFilter, Comparison, Wanted
from wayside.eventing.filters.filter import Filter

_ENDS = Comparison(str.endswith, "{name} {value} ends with {wanted}", "{name} {value} does not end with {wanted}")


def suffix(values: Mapping[str, str]) -> Filter:
    """Passes an event whose attributes all end with these texts."""
    return AttributeFilter("suffix", [Wanted(name, _ENDS, value) for name, value in values.items()])
