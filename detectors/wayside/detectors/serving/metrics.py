"""What a detector service counts, in a registry of its own.

Invariant: every event, and every V2 request, that reaches a detector is counted under exactly one outcome; label values
are a fixed set, and the names of the detectors that are served.
"""

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_OUTCOMES = ("scored", "ignored", "malformed", "duplicate", "conflict", "overloaded", "gone", "failed")
_REQUEST_OUTCOMES = ("scored", "malformed", "overloaded", "gone", "failed")
_PART_OUTCOMES = ("waiting", "late", "overflow")
_UNPAIRED = ("lonely", "overflow", "late", "duplicate", "conflict")


class ServiceMetrics:
    """The metrics of a process, which serves one detector or several. Drift's have no `detector`: it serves alone."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter("events", "Events by outcome.", "detector", "outcome")
        self.rows = self._counter("rows", "Rows scored, or taken into windows.", "detector")
        self.rows_flagged = self._counter("rows_flagged", "Rows flagged.", "detector")
        self.rows_failed = self._counter("rows_failed", "Rows without a finite score; they are flagged.", "detector")
        self.requests = self._counter("v2_requests", "V2 inference requests by outcome.", "detector", "outcome")
        self.unknown = self._counter("unknown", "Events and V2 requests for a detector that is not served.")
        self.windows = self._counter("windows", "Windows closed, by decision.", "decision")
        self.window_rows = self._counter(
            "window_rows", "Rows that came into no window, by what became of them.", "fate"
        )
        self.missing_values = self._counter("missing_values", "Values that were missing in rows taken into windows.")
        self.alerts = self._counter("alerts", "Drift alerts by what became of them.", "outcome")
        self.verdicts = self._counter(
            "verdicts", "Verdicts and alerts posted to the sink, or refused by it.", "outcome"
        )
        self.unpaired = self._counter("unpaired", "Parts of pairs that made no pair, by reason.", "role", "reason")
        self.batch_rows = Histogram(
            "wayside_detector_batch_rows",
            "Rows a scoring call.",
            ("detector",),
            buckets=_BATCH_BUCKETS,
            registry=self.registry,
        )
        self.device_info = Gauge(
            "wayside_detector_device_info", "What scores.", ("detector", "device"), registry=self.registry
        )
        self._devices: dict[str, str] = {}
        for counter, values in (
            (self.windows, ("drift", "no_drift", "unjudged")),
            (self.window_rows, ("late", "overflow", "evicted")),
            (self.alerts, ("opened", "updated", "resolved")),
            (self.verdicts, ("posted", "refused")),
        ):
            for value in values:
                counter.labels(value)
        for role, reason in product(("request", "response"), _UNPAIRED):
            self.unpaired.labels(role, reason)

    def name_device(self, detector: str, device: str) -> None:
        """Say what scores a detector from now on."""
        before = self._devices.get(detector)
        if before is not None and before != device:
            self.device_info.remove(detector, before)
        self._devices[detector] = device
        self.device_info.labels(detector, device).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"wayside_detector_{name}", text, labels, registry=self.registry)


class DetectorMetrics:
    """The counters of one detector. For drift, `scored` counts events whose rows were taken into windows.

    Of a pair, the event that came first counts as `waiting`, the other as `scored`. Two of one name share their counts.
    """

    def __init__(self, detector: str = "", service: ServiceMetrics | None = None) -> None:
        self.service = service or ServiceMetrics()
        self.registry = self.service.registry
        self.windows, self.verdicts = self.service.windows, self.service.verdicts
        self.window_rows, self.alerts = self.service.window_rows, self.service.alerts
        self.missing_values, self.unpaired = self.service.missing_values, self.service.unpaired
        self.rows = self.service.rows.labels(detector)
        self.rows_flagged = self.service.rows_flagged.labels(detector)
        self.rows_failed = self.service.rows_failed.labels(detector)
        self.batch_rows = self.service.batch_rows.labels(detector)
        self.detector = detector
        self._events = {
            outcome: self.service.events.labels(detector, outcome) for outcome in (*_OUTCOMES, *_PART_OUTCOMES)
        }
        self._requests = {outcome: self.service.requests.labels(detector, outcome) for outcome in _REQUEST_OUTCOMES}

    def count(self, outcome: str) -> None:
        """One more event came to this."""
        self._events[outcome].inc()

    def count_request(self, outcome: str) -> None:
        """One more V2 request came to this."""
        self._requests[outcome].inc()

    def name_device(self, device: str) -> None:
        """Say what scores."""
        self.service.name_device(self.detector, device)
