"""Whether a Trigger fires for an event, by everything that decides it: its broker, the event's TTL, its filter.

Source: Knative Eventing's broker data plane.
Invariant: pure. It says yes where the broker would keep the event for the Trigger, and no where it would not.
"""

from typing import NamedTuple

from wayside.eventing.event import CloudEvent
from wayside.eventing.triggers.manifests import Manifests, Trigger
from wayside.eventing.triggers.names import BrokerName
from wayside.eventing.triggers.ttl import next_ttl, without_ttl
from wayside.eventing.vocabulary import TTL


class Answer(NamedTuple):
    """Whether it fires, and the reason for people."""

    passes: bool
    because: str


class Firing:
    """Answers for the Triggers of `manifests`, with events posted to `broker`, or each to its Trigger's where None.

    Where the manifests hold no Broker at all, every Trigger's is taken to be there.
    """

    def __init__(self, manifests: Manifests, broker: BrokerName | None = None) -> None:
        self.triggers = manifests.triggers
        self._brokers, self._broker = manifests.brokers, broker
        self._several = len({trigger.name.namespace for trigger in manifests.triggers}) > 1

    def label(self, trigger: Trigger) -> str:
        """The Trigger's name as its manifest has it, with the namespace where there are several."""
        return f"{trigger.name.namespace}/{trigger.name.name}" if self._several else trigger.name.name

    def ask(self, trigger: Trigger, event: CloudEvent) -> Answer:
        """Whether the Trigger fires for the event."""
        if self._broker is not None and trigger.broker != self._broker:
            return Answer(False, f"it listens to the broker {trigger.broker}, not to {self._broker}")
        if self._brokers and trigger.broker not in self._brokers:
            return Answer(False, f"its broker {trigger.broker} is not in these files: {self._known_brokers()}")
        if next_ttl(event) == 0:
            return Answer(False, f"the broker refuses the event: its {TTL} of {event.extensions[TTL]} is spent")
        seen = without_ttl(event)
        return Answer(trigger.filter.passes(seen), trigger.filter.explain(seen))

    def _known_brokers(self) -> str:
        known = sorted(map(str, self._brokers))
        return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:10])}"
