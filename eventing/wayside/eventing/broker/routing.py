"""Decides which Triggers an arriving event goes to.

Invariant: no I/O. An event goes by the manifests of the moment at which it arrives; its TTL is lowered before it is
kept, and hidden from filters.
"""

from dataclasses import dataclass

from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers
from wayside.eventing.triggers.manifests import Manifests, Trigger
from wayside.eventing.triggers.names import BrokerName, TriggerName
from wayside.eventing.triggers.ttl import next_ttl, without_ttl


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
        self._triggers: dict[BrokerName, list[Trigger]] = {}
        self.replace(manifests)

    def replace(self, manifests: Manifests) -> None:
        """From the next event on, go by these."""
        triggers: dict[BrokerName, list[Trigger]] = {name: [] for name in manifests.brokers}
        for trigger in manifests.triggers:
            triggers[trigger.broker].append(trigger)
        self._triggers = triggers

    def knows(self, broker: BrokerName) -> bool:
        return broker in self._triggers

    def route(self, broker: BrokerName, event: CloudEvent, forwards: Headers) -> Arrival:
        """The event with its matches; none at a broker that is gone. Raises `TtlSpent`."""
        ttl = next_ttl(event)
        if ttl == 0:
            raise TtlSpent("the event's TTL is spent: Triggers and their subscribers' replies form a loop")
        plain = without_ttl(event)
        triggers = self._triggers.get(broker, ())
        return Arrival(broker, plain, ttl, forwards, tuple([one.name for one in triggers if one.filter.passes(plain)]))
