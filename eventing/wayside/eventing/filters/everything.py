"""The filter of a Trigger that has none.

Source: Knative Eventing v1: absent or empty filters accept every event.
Invariant: everything passes.
"""

from wayside.eventing.event import CloudEvent


class Everything:
    """Passes every event."""

    __slots__ = ()

    def passes(self, event: CloudEvent) -> bool:
        """True."""
        return True

    def explain(self, event: CloudEvent) -> str:
        """That there is no filter."""
        return "the Trigger has no filter: every event passes"
