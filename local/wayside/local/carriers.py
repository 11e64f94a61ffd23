"""What a carrier says of its subscriptions: the embedded broker's counts by trigger, or Kafka's offsets by group.

Invariant: read from where it is durable, the broker's file or Kafka itself, never from a subscriber's memory.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wayside.eventing.kafka.address import parse_address
from wayside.eventing.kafka.config import load_config
from wayside.eventing.kafka.groups import GroupPosition, GroupReader
from wayside.eventing.kafka.subscription import Subscription
from wayside.local.balance import TriggerCounts
from wayside.local.composition import Composition


@dataclass(frozen=True, slots=True)
class Carried:
    """Counts of events: by subscription, and over the whole carrier those that came again or in conflict."""

    triggers: Sequence[TriggerCounts]
    duplicates: int = 0
    conflicts: int = 0

    @property
    def waiting(self) -> int:
        """Events that some subscription still has to come."""
        return sum(trigger.waiting for trigger in self.triggers)

    @classmethod
    def of_view(cls, body: bytes) -> "Carried":
        """From the broker's `/triggers` view. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        view = json.loads(body)
        triggers = [TriggerCounts.of(trigger) for trigger in view["triggers"]]
        return cls(triggers, view["duplicates"], view["conflicts"])


def counts_of(subscription: Subscription, positions: Sequence[GroupPosition]) -> TriggerCounts:
    """A group's offsets as counts: matched is what its topics ever held, dead-lettered what its letter box ever did.

    Delivered is the rest, what its Triggers filtered included. A group that has committed nothing yet has all of what
    its topics still hold to come.
    """
    own = [at for at in positions if at.topic != subscription.dead_letters]
    matched, letters = (sum(at.end for at in some) for some in (own, [at for at in positions if at not in own]))
    waiting = sum(at.end - (at.low if at.committed is None else at.committed) for at in own)
    return TriggerCounts(subscription.group, matched, matched - waiting - letters, letters, waiting, None)


class KafkaCarrier:
    """Reads consumer groups without joining them."""

    def __init__(self, subscriptions: Sequence[Subscription], config: Mapping[str, str]) -> None:
        """Raises `ConfigurationError` for settings that do not fit, `MissingExtra` without Kafka's client."""
        self._subscriptions = subscriptions
        self._readers = {
            servers: GroupReader(servers, config) for servers in {each.address.servers for each in subscriptions}
        }

    async def read(self) -> Carried:
        """All groups now. Raises `SinkUnavailable` where Kafka does not answer."""
        return Carried(await asyncio.gather(*(asyncio.to_thread(self._read, each) for each in self._subscriptions)))

    def _read(self, subscription: Subscription) -> TriggerCounts:
        topics = [*subscription.address.topics, subscription.dead_letters]
        return counts_of(subscription, self._readers[subscription.address.servers].read(subscription.group, topics))


def kafka_carrier(composition: Composition) -> KafkaCarrier:
    """The consumer groups of a composition. Raises `ConfigurationError` for an address or a file that is wrong."""
    kafka = composition.kafka
    assert kafka is not None, "the composition has a broker of its own"
    subscriptions = [
        Subscription(parse_address(kafka.url(*topics)), kafka.group(name))
        for name, topics in composition.subscriptions.items()
    ]
    return KafkaCarrier(subscriptions, load_config(kafka.config))
