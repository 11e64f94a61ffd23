"""The broker's metrics, from the same counts as its views.

Invariant: what the store counts is read from the store when it is asked for, so that metrics and views never differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wayside.eventing.broker.dispatcher import Dispatcher
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.views import Counts, TriggerCounts, counts
from wayside.eventing.clock import Clock
from wayside.eventing.http.server import HttpServer
from wayside.eventing.triggers.names import TriggerName

_LABELS = ("namespace", "broker", "trigger")
_COUNTERS = {
    "matched": "Events that matched the Trigger, replayed ones included.",
    "filtered": "Events of the Trigger's broker that its filter did not let pass.",
    "delivered": "Events that the Trigger's subscriber took.",
    "dead_lettered": "Events that became dead letters.",
    "replayed": "Events that were delivered once more because somebody asked for it.",
    "attempts": "Requests made for deliveries that have been settled.",
}


@dataclass(slots=True)
class ArrivalCounters:
    """What was turned away at the door since the process started; the rest is counted in the store."""

    malformed: int = 0
    refused: int = 0


class BrokerMetrics(Collector):
    """Collects from a broker that has been started; register it once a registry."""

    def __init__(
        self, store: BrokerStore, dispatcher: Dispatcher, server: HttpServer, arrivals: ArrivalCounters, clock: Clock
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._server = server
        self._arrivals = arrivals
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that registering does not read a store that is not open yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        found = counts(self._store.view, self._dispatcher.lanes.keys())
        yield self._events(found)
        yield GaugeMetricFamily("wayside_broker_store_bytes", "Bytes of events that are kept.", found.bytes)
        yield GaugeMetricFamily(
            "wayside_broker_store_limit_bytes", "Bytes at which events are refused.", self._store.limit_bytes
        )
        yield GaugeMetricFamily(
            "wayside_broker_connections", "Connections of senders that are open.", self._server.open_connections
        )
        yield GaugeMetricFamily(
            "wayside_broker_body_bytes", "Bytes of bodies that are received or answered now.", self._server.body_bytes
        )
        yield CounterMetricFamily(
            "wayside_broker_refused_connections",
            "Connections that were turned away because there were too many.",
            self._server.refused_connections,
        )
        for name, meaning in _COUNTERS.items():
            values = {one: getattr(one, name) for one in found.triggers}
            yield _family(CounterMetricFamily, f"wayside_broker_trigger_{name}", meaning, values)
        yield from self._gauges(found)
        yield from self._of_lanes()

    def _events(self, found: Counts) -> Metric:
        family = CounterMetricFamily("wayside_broker_events", "Events that arrived, by outcome.", labels=["outcome"])
        family.add_metric(["stored"], found.events - found.conflicts)
        family.add_metric(["duplicate"], found.duplicates)
        family.add_metric(["conflict"], found.conflicts)
        family.add_metric(["malformed"], self._arrivals.malformed)
        family.add_metric(["refused"], self._arrivals.refused)
        return family

    def _gauges(self, found: Counts) -> Iterator[Metric]:
        now_ns = self._clock.time_ns()
        waiting = {one: one.waiting for one in found.triggers}
        ages = {one: max(0.0, (now_ns - (one.oldest_ns or now_ns)) / 1e9) for one in found.triggers}
        yield _family(GaugeMetricFamily, "wayside_broker_trigger_waiting", "Deliveries that are not settled.", waiting)
        yield _family(
            GaugeMetricFamily,
            "wayside_broker_trigger_oldest_seconds",
            "Since the oldest event that waits was received; 0 where none does.",
            ages,
        )

    def _of_lanes(self) -> Iterator[Metric]:
        lanes = self._dispatcher.lanes
        flying = {name: lane.in_flight for name, lane in lanes.items()}
        retries = {name: lane.retries for name, lane in lanes.items()}
        yield _family(GaugeMetricFamily, "wayside_broker_trigger_in_flight", "Deliveries under way now.", flying)
        yield _family(
            CounterMetricFamily,
            "wayside_broker_trigger_retries",
            "Attempts after the first, since the process started.",
            retries,
        )


def _family(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    name: str,
    meaning: str,
    values: Mapping[TriggerCounts, float] | Mapping[TriggerName, float],
) -> Metric:
    family = kind(name, meaning, labels=_LABELS)
    for one, value in values.items():
        family.add_metric([one.namespace, one.broker, one.name], value)
    return family
