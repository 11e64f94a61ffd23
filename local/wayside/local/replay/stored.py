"""Events as they lie in some store, and which of them a replay takes.

Invariant: a source gives its events in the order in which they came; what cannot be read stands in its place, with the
reason.
"""

from dataclasses import dataclass
from typing import NamedTuple

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal
from wayside.eventing.vocabulary import request_time_ns


class Stored(NamedTuple):
    """One event, or why it cannot be read; where it lies; and when it came, in nanoseconds since the epoch, None where
    its store does not say."""

    where: str
    event: CloudEvent | Refusal
    came_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Events whose request came at or after `from_ns` and before `to_ns`; all where they are None."""

    from_ns: int | None = None
    to_ns: int | None = None

    def __post_init__(self) -> None:
        if self.from_ns is not None and self.to_ns is not None and self.from_ns >= self.to_ns:
            raise ConfigurationError("--from-time is not before --to-time")

    def holds(self, event: CloudEvent) -> bool:
        """Raises `MalformedEvent` where it has to look, and there is no time."""
        if self.from_ns is None and self.to_ns is None:
            return True
        time_ns = request_time_ns(event)
        return (self.from_ns is None or time_ns >= self.from_ns) and (self.to_ns is None or time_ns < self.to_ns)
