"""Decides which Triggers an arriving event goes to.

Invariant: pure, and fixed at start. The TTL is lowered before an event is kept, and hidden from filters.
"""

from dataclasses import dataclass

from wayside.eventing.broker.filters import matches
from wayside.eventing.broker.manifests import Manifests, Trigger
from wayside.eventing.broker.names import BrokerName, TriggerName
from wayside.eventing.broker.wire import next_ttl, without_ttl
from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers


class TtlSpent(WaysideError):
    """The event went round too often: Triggers feed each other in a loop."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as it is kept: without its TTL, which stands beside it; headers that travel on; Triggers it matched."""

    broker: BrokerName
    event: CloudEvent
    ttl: int
    forwards: Headers
    matched: tuple[TriggerName, ...]


class Router:
    """The brokers, each with its Triggers."""

    def __init__(self, manifests: Manifests) -> None:
        self._triggers: dict[BrokerName, list[Trigger]] = {name: [] for name in manifests.brokers}
        for trigger in manifests.triggers:
            self._triggers[trigger.broker].append(trigger)

    def knows(self, broker: BrokerName) -> bool:
        return broker in self._triggers

    def route(self, broker: BrokerName, event: CloudEvent, forwards: Headers) -> Arrival:
        """The event with its matches. Raises `TtlSpent`."""
        ttl = next_ttl(event)
        if ttl == 0:
            raise TtlSpent("the event's TTL is spent: Triggers and their subscribers' replies form a loop")
        plain = without_ttl(event)
        matched = tuple(trigger.name for trigger in self._triggers[broker] if matches(trigger.attributes, plain))
        return Arrival(broker, plain, ttl, forwards, matched)
