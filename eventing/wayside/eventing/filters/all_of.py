"""The `all` dialect, and the array `filters` itself: every filter of a list passes.

Source: CloudEvents Subscriptions API, `all`; Knative Eventing v1, where the array is an AND.
Invariant: filters are asked in the order of the manifest, and none after one that does not pass.
"""

from collections.abc import Sequence

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.compiled import every
from wayside.eventing.filters.filter import Filter


class AllOf:
    """Passes what all of the filters pass. `name` is what explanations call the list: `all`, or `filters`."""

    __slots__ = ("_filters", "_name", "passes")

    def __init__(self, filters: Sequence[Filter], name: str = "all") -> None:
        self._filters, self._name = tuple(filters), name
        self.passes = every([one.passes for one in self._filters])

    def explain(self, event: CloudEvent) -> str:
        """The first filter that does not pass, with its index and its reason; else every reason."""
        for index, one in enumerate(self._filters):
            if not one.passes(event):
                return f"{self._name}[{index}]: {one.explain(event)}"
        reasons = "; ".join(one.explain(event) for one in self._filters)
        return f"{self._name}: each of {len(self._filters)} passes: {reasons}"
