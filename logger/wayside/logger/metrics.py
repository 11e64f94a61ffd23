"""The logger's own metrics: what was answered, captured, sent and dropped, and how long the two ways took.

Invariant: captured = sent + dropped + still on the way, for each kind of event.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wayside.eventing.queue import BoundedQueue

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
