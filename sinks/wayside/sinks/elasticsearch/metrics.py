"""The Elasticsearch sink's metrics.

Invariant: labels are of fixed sets: outcomes, and reasons for another try.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wayside.sinks.elasticsearch.bulk import Verdict
from wayside.sinks.merging import Outcome

_FINAL = (Verdict.WRITTEN, Verdict.REFUSED)
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ElasticsearchMetrics:
    """Registers in `registry`; `waiting` tells how many events wait now."""

    def __init__(self, registry: CollectorRegistry, waiting: Callable[[], int]) -> None:
        name = "wayside_elasticsearch"
        self.events = Counter(f"{name}_events", "Events by what became of them.", ["outcome"], registry=registry)
        self.documents = Counter(f"{name}_documents", "Documents created or replaced.", registry=registry)
        self.retries = Counter(f"{name}_retries", "Writes and reads made again.", ["reason"], registry=registry)
        self.bulk_seconds = Histogram(
            f"{name}_bulk_seconds", "How long a bulk request took.", registry=registry, buckets=_BUCKETS_S
        )
        for outcome in (*Outcome, "malformed", "refused"):
            self.events.labels(outcome)
        for verdict in Verdict:
            if verdict not in _FINAL:
                self.retries.labels(verdict.value)
        gauge = Gauge(f"{name}_waiting_events", "Events taken and not yet written.", registry=registry)
        gauge.set_function(waiting)
