"""The `any` dialect: at least one filter of a list passes.

Source: CloudEvents Subscriptions API, `any`.
Invariant: filters are asked in the order of the manifest, and none after one that passes.
"""

from collections.abc import Sequence

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.compiled import some
from wayside.eventing.filters.filter import Filter


class AnyOf:
    """Passes what at least one of the filters passes."""

    __slots__ = ("_filters", "passes")

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)
        self.passes = some([one.passes for one in self._filters])

    def explain(self, event: CloudEvent) -> str:
        """The first filter that passes, with its index and its reason; else every reason."""
        for index, one in enumerate(self._filters):
            if one.passes(event):
                return f"any[{index}]: {one.explain(event)}"
        reasons = "; ".join(one.explain(event) for one in self._filters)
        return f"any: none of {len(self._filters)} passes: {reasons}"
