"""What a detector service counts, in a registry of its own.

Invariant: every event that reaches the service is counted under exactly one outcome; label values are a fixed set.
"""

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_OUTCOMES = ("scored", "ignored", "malformed", "duplicate", "conflict", "overloaded", "failed")
_PART_OUTCOMES = ("waiting", "late", "overflow")
_UNPAIRED = ("lonely", "overflow", "late", "duplicate", "conflict")


class DetectorMetrics:
    """Counters and histograms of one service. For drift, `scored` counts events whose rows were taken into windows.

    Of a pair, the event that came first counts as `waiting`, the other as `scored`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter("events", "Events by outcome.", "outcome")
        self.rows = self._counter("rows", "Rows scored, or taken into windows.")
        self.rows_flagged = self._counter("rows_flagged", "Rows flagged.")
        self.windows = self._counter("windows", "Windows closed, by decision.", "decision")
        self.verdicts = self._counter("verdicts", "Window verdicts posted to the sink, or refused by it.", "outcome")
        self.unpaired = self._counter("unpaired", "Parts of pairs that made no pair, by reason.", "role", "reason")
        self.batch_rows = Histogram(
            "wayside_detector_batch_rows", "Rows a scoring call.", buckets=_BATCH_BUCKETS, registry=self.registry
        )
        for counter, values in (
            (self.events, (*_OUTCOMES, *_PART_OUTCOMES)),
            (self.windows, ("drift", "no_drift")),
            (self.verdicts, ("posted", "refused")),
        ):
            for value in values:
                counter.labels(value)
        for role, reason in product(("request", "response"), _UNPAIRED):
            self.unpaired.labels(role, reason)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"wayside_detector_{name}", text, labels, registry=self.registry)
