"""Verdicts as Prometheus metrics: rows scored and flagged, windows, the last p-value, whether a drift alert is open.

Invariant: the number of label sets is bounded, whatever events say; a verdict that is delivered again counts once, as
long as it is among the last `remember` ones. A restart begins at zero, as Prometheus' counters may.
"""

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Gauge

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused
from wayside.eventing.verdict import read_identity, read_row_verdict, read_window_verdict
from wayside.eventing.vocabulary import DETECTOR, DRIFT, VERDICTS, ServiceKey

_LABELS = ("namespace", "service", "detector")
_POSITIONS_PER_SERIES = 8
_OTHER = ("other", "other", "other")


class PrometheusSink:
    """Counts verdicts in `registry`. Beyond `limit_series` services and detectors, further ones count as 'other'."""

    def __init__(self, registry: CollectorRegistry, limit_series: int = 200, remember: int = 100_000) -> None:
        self._limit_series = limit_series
        self._remember = remember
        self._series: set[tuple[str, ...]] = set()
        self._known: OrderedDict[tuple[str, str, str, bytes], None] = OrderedDict()
        self._positions: OrderedDict[tuple[str, ...], int] = OrderedDict()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"wayside_{name}", words, [*_LABELS, *labels], registry=registry)

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"wayside_{name}", words, _LABELS, registry=registry)

        self._scored = counter("rows_scored", "Rows that a row detector gave a score.")
        self._flagged = counter("rows_flagged", "Rows that a row detector flagged.")
        self._windows = counter("windows", "Windows judged, by decision.", "decision")
        self._p_value = gauge("drift_p_value", "The p-value of the last window.")
        self._open = gauge("drift_alert_open", "1 while the last window says drift, else 0.")
        self._budget = gauge("false_alarm_budget", "The false-alarm rate asked for, of a row or of a window.")
        self._outcomes = Counter(
            "wayside_prometheus_events", "Events by what became of them.", ["outcome"], registry=registry
        )

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to flush: the counts are read where they are."""

    async def send(self, event: CloudEvent) -> None:
        """Count a verdict; acknowledge anything else. Raises `EventRefused` for a verdict that cannot be read."""
        if event.type not in VERDICTS:
            self._outcomes.labels("ignored").inc()
            return
        identity = (*event.key, event.digest)
        if identity in self._known:
            self._outcomes.labels("duplicate").inc()
            return
        try:
            (self._count_window if event.type == DRIFT else self._count_rows)(event)
        except MalformedEvent as exc:
            self._outcomes.labels("malformed").inc()
            raise EventRefused(str(exc)) from exc
        self._keep(identity)
        self._outcomes.labels("counted").inc()

    def _count_rows(self, event: CloudEvent) -> None:
        verdict, alpha = read_row_verdict(event), read_identity(event).alpha
        labels = self._labels(event)
        self._scored.labels(*labels).inc(len(verdict.decisions))
        self._flagged.labels(*labels).inc(sum(verdict.decisions))
        self._budget.labels(*labels).set(alpha)

    def _count_window(self, event: CloudEvent) -> None:
        verdict = read_window_verdict(event)
        labels = self._labels(event)
        self._windows.labels(*labels, "drift" if verdict.is_drift else "no_drift").inc()
        series = (*labels, verdict.key.component, verdict.key.endpoint)
        if verdict.end < self._positions.get(series, 0) or labels == _OTHER:
            return  # an older window that was delivered late says nothing of the present
        self._remember_position(series, verdict.end)
        self._p_value.labels(*labels).set(verdict.p_value)
        self._open.labels(*labels).set(verdict.is_drift)
        self._budget.labels(*labels).set(verdict.threshold)

    def _remember_position(self, series: tuple[str, ...], end: int) -> None:
        """Components and endpoints are in no label, and foreign events name as many as they like: bounded here."""
        self._positions[series] = end
        self._positions.move_to_end(series)
        if len(self._positions) > _POSITIONS_PER_SERIES * self._limit_series:
            self._positions.popitem(last=False)

    def _labels(self, event: CloudEvent) -> tuple[str, ...]:
        key = ServiceKey.of(event)
        labels = (key.namespace, key.service, event.extensions.get(DETECTOR, ""))
        if labels in self._series or len(self._series) < self._limit_series:
            self._series.add(labels)
            return labels
        return _OTHER

    def _keep(self, identity: tuple[str, str, str, bytes]) -> None:
        self._known[identity] = None
        if len(self._known) > self._remember:
            self._known.popitem(last=False)
