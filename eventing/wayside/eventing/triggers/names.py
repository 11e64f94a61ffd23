"""Names of brokers and Triggers, as Kubernetes has them.

Invariant: a Trigger is known by namespace, broker and name, in the manifests, in the store, and after every restart.
"""

from typing import NamedTuple


class BrokerName(NamedTuple):
    """A Broker: what stands in the path of its address."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class TriggerName(NamedTuple):
    """A Trigger, under the broker that it listens to."""

    namespace: str
    broker: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.broker}/{self.name}"
