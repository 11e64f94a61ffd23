"""What every filter of a Trigger is: a predicate over an event's attributes that can say why.

Invariant: pure. `passes` is compiled once, never raises, and answers the same for the same event; `explain` tells what
`passes` does, by the comparison that decided it.
"""

from typing import Protocol

from wayside.eventing.event import CloudEvent

_SHOWN_CHARACTERS = 120


class Filter(Protocol):
    """A predicate over events."""

    def passes(self, event: CloudEvent) -> bool:
        """Whether the event goes to the Trigger's subscriber. Never raises."""
        ...

    def explain(self, event: CloudEvent) -> str:
        """Why it does or does not, in one line for people: "exact: type is 'a', not 'b'"."""
        ...


def shown(value: str) -> str:
    """A value as an explanation quotes it: on one line, and cut where it is long."""
    return repr(value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…")
