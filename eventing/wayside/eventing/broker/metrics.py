"""The broker's metrics, from the same counts as its views.

Invariant: what the store counts is read from the store when it is asked for, so that metrics and views never differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wayside.eventing.broker.store import BrokerStore, Counts

_TRIGGER_COUNTERS = {
    "matched": "Events that matched the Trigger.",
    "delivered": "Events that the Trigger's subscriber took.",
    "dead_lettered": "Events that became dead letters.",
    "attempts": "Requests made for deliveries that have been settled.",
}


@dataclass(slots=True)
class ArrivalCounters:
    """What was turned away at the door since the process started; the rest is counted in the store."""

    malformed: int = 0
    refused: int = 0


class BrokerMetrics(Collector):
    """Collects from a store that has been started; register it once a registry."""

    def __init__(self, store: BrokerStore, arrivals: ArrivalCounters) -> None:
        self._store = store
        self._arrivals = arrivals

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not read a store that is not open yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        counts = self._store.counts()
        yield self._events(counts)
        yield GaugeMetricFamily("wayside_broker_store_bytes", "Bytes of events that are kept.", counts.bytes)
        yield GaugeMetricFamily(
            "wayside_broker_store_limit_bytes", "Bytes at which events are refused.", self._store.limit_bytes
        )
        yield from _per_trigger(counts)

    def _events(self, counts: Counts) -> Metric:
        family = CounterMetricFamily("wayside_broker_events", "Events that arrived, by outcome.", labels=["outcome"])
        family.add_metric(["stored"], counts.events - counts.conflicts)
        family.add_metric(["duplicate"], counts.duplicates)
        family.add_metric(["conflict"], counts.conflicts)
        family.add_metric(["malformed"], self._arrivals.malformed)
        family.add_metric(["refused"], self._arrivals.refused)
        return family


def _per_trigger(counts: Counts) -> Iterator[Metric]:
    labels = ["namespace", "broker", "trigger"]
    waiting = GaugeMetricFamily("wayside_broker_trigger_waiting", "Deliveries that are not settled.", labels=labels)
    for trigger in counts.triggers:
        waiting.add_metric([trigger.namespace, trigger.broker, trigger.name], trigger.waiting)
    yield waiting
    for name, meaning in _TRIGGER_COUNTERS.items():
        family = CounterMetricFamily(f"wayside_broker_trigger_{name}", meaning, labels=labels)
        for trigger in counts.triggers:
            family.add_metric([trigger.namespace, trigger.broker, trigger.name], getattr(trigger, name))
        yield family
