"""The logger's own metrics: what was answered, captured, sent and dropped, and how long the two ways took.

Invariant: captured + found in the spool = sent + dropped + in memory + waiting in the spool, at every moment, over both
kinds of event together; and for each kind, where nothing was dropped whose kind is not known any more.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from wayside.eventing.queue import BoundedQueue
from wayside.logger.spool import REASONS, Spool

_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class LoggerMetrics:
    """Registers in `registry`; one object a logger."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"wayside_logger_{name}", words, labels, registry=registry)

        def of_kind(name: str, words: str) -> dict[str, Counter]:
            made = counter(name, words, "kind")
            return {kind: made.labels(kind) for kind in ("request", "response")}

        def seconds(name: str, words: str) -> Histogram:
            return Histogram(f"wayside_logger_{name}_seconds", words, buckets=_BUCKETS_S, registry=registry)

        self._registry = registry
        self._responses = counter("responses", "Responses to clients by status.", "code")
        self._by_status: dict[int, Counter] = {}
        self.captured = of_kind("events_captured", "Events made of bodies.")
        self.sent = of_kind("events_sent", "Events that the log url accepted.")
        self.dropped = counter("events_dropped", "Events given up, by reason.", "kind", "reason")
        attempts = counter("send_attempts", "Posts to the log url by outcome.", "outcome")
        self.attempts = {outcome: attempts.labels(outcome) for outcome in ("accepted", "unavailable", "refused")}
        self.request_seconds = seconds("request", "From a request's arrival to the end of its response.")
        self.upstream_seconds = seconds("upstream", "From the first byte to the model server to the response's end.")
        for kind in ("request", "response"):
            for reason in ("queue_full", "too_large", "refused", "shutdown"):
                self.dropped.labels(kind, reason)

    def count_response(self, status: int) -> None:
        """One more answer to a client."""
        child = self._by_status.get(status)  # looking a label up costs more than counting does
        if child is None:
            child = self._by_status[status] = self._responses.labels(str(status))
        child.inc()

    def watch(self, queue: BoundedQueue[object]) -> None:
        """Show how full a queue is, and its bounds."""

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"wayside_logger_queue_{name}", words, registry=self._registry)

        gauge("events", "Events that wait for a place in flight.").set_function(lambda: len(queue))
        gauge("bytes", "Bytes that wait or are being sent.").set_function(lambda: queue.bytes)
        gauge("limit_events", "The queue's bound in events.").set(queue.limit_items)
        gauge("limit_bytes", "The queue's bound in bytes.").set(queue.limit_bytes)

    def watch_spool(self, spool: Spool, in_memory: Callable[[], int]) -> None:
        """Show what is in a spool, what went through it, and how many events are in memory and nowhere else."""
        self._registry.register(_SpoolCollector(spool))
        words = "Captured events in memory: waiting, being sent, or on their way to the spool."
        Gauge("wayside_logger_memory_events", words, registry=self._registry).set_function(in_memory)
        for reason in REASONS:
            for kind in ("request", "response", "unknown"):
                self.dropped.labels(kind, reason)


class _SpoolCollector(Collector):
    """Reads a spool's own counts at each scrape."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        spool, counts = self._spool, self._spool.counts
        for name, words, value in (
            ("events", "Events that wait on disk.", spool.waiting),
            ("bytes", "Bytes that wait on disk, as last read.", spool.gauges.waiting_bytes),
            ("limit_bytes", "The spool's bound in bytes.", spool.settings.limit_bytes),
            ("oldest_seconds", "How long the oldest event has been on disk.", spool.oldest_age_s),
        ):
            yield GaugeMetricFamily(f"wayside_logger_spool_{name}", words, float(value))
        for name, words, value in (
            ("found", "Events that waited on disk when this process began.", counts.found),
            ("appended", "Events that were written to disk.", counts.appended),
            ("sent", "Events from disk that the log url accepted.", counts.sent),
            ("overflow", "Events dropped from disk for want of room.", counts.overflowed),
        ):
            yield CounterMetricFamily(f"wayside_logger_spool_{name}_events", words, float(value))
