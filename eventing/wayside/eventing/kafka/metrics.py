"""What a Kafka source counts, in the registry of its service.

Invariant: every event that was read and is settled is counted under exactly one outcome; label values are a fixed set.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge


class SourceMetrics:
    """Counters and gauges of one source."""

    def __init__(self, registry: CollectorRegistry, topics: Sequence[str]) -> None:
        events = Counter(
            "wayside_source_events", "Events read and settled, by outcome.", ["outcome"], registry=registry
        )
        self.retries = Counter("wayside_source_retries", "Deliveries that are tried again.", registry=registry)
        self.in_flight = Gauge("wayside_source_in_flight", "Events read and not settled.", registry=registry)
        self.lag = Gauge(
            "wayside_source_lag",
            "Events of a topic that this member has still to settle.",
            ["topic"],
            registry=registry,
        )
        # looked up once: an outcome is counted for every event
        self.delivered = events.labels("delivered")
        self.filtered = events.labels("filtered")
        self.dead_lettered = events.labels("dead_lettered")
        for topic in topics:
            self.lag.labels(topic)
