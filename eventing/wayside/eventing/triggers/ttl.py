"""The TTL of an event among Triggers, which ends replies that go in a circle.

Source: Knative Eventing's broker, `knativebrokerttl`.
Invariant: pure. Filters and subscribers never see it.
"""

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import TTL

FIRST_TTL = 255


def next_ttl(event: CloudEvent) -> int:
    """The TTL an arriving event goes on with, 0 where it is spent. One that is absent or no integer starts anew."""
    text = event.extensions.get(TTL, "")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9:
        return FIRST_TTL
    return min(max(0, int(text) - 1), FIRST_TTL)


def without_ttl(event: CloudEvent) -> CloudEvent:
    return event.with_extensions(**{TTL: None}) if TTL in event.extensions else event
