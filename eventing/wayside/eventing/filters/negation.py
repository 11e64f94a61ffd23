"""The `not` dialect: a filter does not pass.

Source: CloudEvents Subscriptions API, `not`.
Invariant: exactly one of a filter and its negation passes an event.
"""

from wayside.eventing.event import CloudEvent
from wayside.eventing.filters.filter import Filter


class Negation:
    """Passes what the filter does not pass: also where the reason is an attribute that the event lacks."""

    __slots__ = ("_filter", "passes")

    def __init__(self, negated: Filter) -> None:
        self._filter, passes = negated, negated.passes
        self.passes = lambda event: not passes(event)

    def explain(self, event: CloudEvent) -> str:
        """What the negated filter says."""
        said = "passes" if self._filter.passes(event) else "does not pass"
        return f"not: what it negates {said}: {self._filter.explain(event)}"
