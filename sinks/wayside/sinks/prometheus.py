"""Verdicts and alerts as Prometheus metrics: rows scored and flagged here, windows and alerts in `drift_metrics`.

Invariant: the number of label sets is bounded, whatever events say; an event that is delivered again counts once, as
long as it is among the last `remember` ones. A restart begins at zero, as Prometheus' counters may.
"""

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Gauge

from wayside.eventing.alert import read_alert
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused
from wayside.eventing.verdict import read_identity, read_row_verdict
from wayside.eventing.vocabulary import ADVERSARIAL, ALERTS, ARTIFACT_DIGEST, DETECTOR, DRIFT, OUTLIER, ServiceKey
from wayside.eventing.window_verdict import read_window_verdict
from wayside.sinks.drift_metrics import DriftMetrics

_LABELS = ("namespace", "service", "detector")
_OTHER = ("other", "other", "other")


class PrometheusSink:
    """Counts verdicts and alerts in `registry`.

    Beyond `limit_series` services and detectors of rows, further ones count as 'other'; of windows, where revisions
    come and go, the series that was not heard of for longest goes.
    """

    def __init__(self, registry: CollectorRegistry, limit_series: int = 200, remember: int = 100_000) -> None:
        self._limit_series = limit_series
        self._remember = remember
        self._series: set[tuple[str, ...]] = set()
        self._known: OrderedDict[tuple[str, str, str, bytes], None] = OrderedDict()
        self._drift = DriftMetrics(registry, limit_series)
        self._scored = Counter(
            "wayside_rows_scored", "Rows that a row detector gave a score.", _LABELS, registry=registry
        )
        self._flagged = Counter("wayside_rows_flagged", "Rows that a row detector flagged.", _LABELS, registry=registry)
        self._budget = Gauge(
            "wayside_false_alarm_budget", "The false-alarm rate asked for, of a row.", _LABELS, registry=registry
        )
        self._outcomes = Counter(
            "wayside_prometheus_events", "Events by what became of them.", ["outcome"], registry=registry
        )
        self._counts = {
            **dict.fromkeys((OUTLIER, ADVERSARIAL), self._count_rows),
            **dict.fromkeys(ALERTS, self._count_alert),
            DRIFT: self._count_window,
        }

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to flush: the counts are read where they are."""

    async def send(self, event: CloudEvent) -> None:
        """Count a verdict or an alert; acknowledge anything else. Raises `EventRefused` for one that cannot be read."""
        count = self._counts.get(event.type)
        if count is None:
            self._outcomes.labels("ignored").inc()
            return
        identity = (*event.key, event.digest)
        if identity in self._known:
            self._outcomes.labels("duplicate").inc()
            return
        try:
            count(event)
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
        self._drift.count_window(verdict, *_judge(event))

    def _count_alert(self, event: CloudEvent) -> None:
        alert, _ = read_alert(event)
        self._drift.count_alert(alert, *_judge(event))

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


def _judge(event: CloudEvent) -> tuple[str, str]:
    """The detector's name, and its artifact's digest."""
    return event.extensions.get(DETECTOR, ""), event.extensions.get(ARTIFACT_DIGEST, "")
