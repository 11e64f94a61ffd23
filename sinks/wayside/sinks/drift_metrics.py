"""Windows and alerts as Prometheus metrics, a series for each service key, revision and detector.

Invariant: at most `limit_series` series are shown; the one that was not heard of for longest goes, with all its label
sets. What is shown of the present never steps back to an event of an earlier moment.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from wayside.eventing.alert import AlertEvent, AlertState
from wayside.eventing.clock import parse_time
from wayside.eventing.vocabulary import ServiceKey
from wayside.eventing.window_verdict import WindowVerdict

LABELS = ("namespace", "service", "component", "endpoint", "revision", "detector")
DECISIONS = ("drift", "no_drift", "unjudged")
_RANKS = {state: rank for rank, state in enumerate(AlertState)}
_Labels = tuple[str, ...]


@dataclass(slots=True)
class _Present:
    """The latest that was heard of a series: its last window (time, end), and its last alert event (time, end, rank)
    with the digest of whoever raised it; an empty tuple before the first."""

    window: tuple[int, ...] = ()
    alert: tuple[int, ...] = ()
    digest: str = ""


class DriftMetrics:
    """Counts window verdicts and alert events in `registry`."""

    def __init__(self, registry: CollectorRegistry, limit_series: int) -> None:
        self._limit_series = limit_series
        self._series: OrderedDict[_Labels, _Present] = OrderedDict()

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"wayside_drift_{name}", words, LABELS, registry=registry)

        self._windows = Counter("wayside_windows", "Windows by decision.", [*LABELS, "decision"], registry=registry)
        self._alerts = Counter("wayside_drift_alerts", "Events of alerts.", [*LABELS, "state"], registry=registry)
        self._p_value = gauge("p_value", "The p-value of the last window that was judged.")
        self._level = gauge("level", "The p-value at or below which the last window would have drifted.")
        self._spent = gauge("budget_spent", "False alarms to be expected by now where nothing drifts.")
        self._open = gauge("alert_open", "1 while a drift alert is open, else 0.")

    def count_window(self, verdict: WindowVerdict, detector: str, digest: str) -> None:
        """Count a window; what it says of the present is shown unless a later window did already."""
        labels = _labels(verdict.key, verdict.revision, detector)
        present = self._present(labels)
        self._windows.labels(*labels, verdict.outcome).inc()
        time_ns = parse_time(verdict.time)
        if (time_ns, verdict.end) < present.window:
            return
        present.window = (time_ns, verdict.end)
        self._show(labels, verdict)
        self._follow_window(labels, present, verdict, digest)

    def _show(self, labels: _Labels, verdict: WindowVerdict) -> None:
        spending = verdict.spending
        self._level.labels(*labels).set(verdict.threshold if spending is None else spending.level)
        if verdict.p_value is not None and verdict.is_judged:
            self._p_value.labels(*labels).set(verdict.p_value)
        if spending is not None:
            self._spent.labels(*labels).set(spending.total)

    def _follow_window(self, labels: _Labels, present: _Present, verdict: WindowVerdict, digest: str) -> None:
        """A window opens and closes only what no alert event speaks for: other people's detectors send none, and after
        a restart an alert that is open was told before. A detector in the place of another ends that one's alert."""
        replaced = present.alert and present.digest != digest and present.window[0] > present.alert[0]
        if replaced:
            present.alert = ()
        if not present.alert and (verdict.is_judged or replaced):
            self._open.labels(*labels).set(verdict.is_drift)

    def count_alert(self, alert: AlertEvent, detector: str, digest: str) -> None:
        """Count an alert's event; the latest of its series says whether one is open."""
        labels = _labels(alert.key, alert.revision, detector)
        present = self._present(labels)
        self._alerts.labels(*labels, alert.state.value).inc()
        moment = (parse_time(alert.resolved or alert.updated), alert.evidence.end, _RANKS[alert.state])
        if moment >= present.alert:
            present.alert, present.digest = moment, digest
            self._open.labels(*labels).set(alert.state is not AlertState.RESOLVED)

    def _present(self, labels: _Labels) -> _Present:
        present = self._series.get(labels)
        if present is None:
            present = self._series[labels] = _Present()
            self._begin(labels)
        self._series.move_to_end(labels)
        if len(self._series) > self._limit_series:
            self._forget(self._series.popitem(last=False)[0])
        return present

    def _begin(self, labels: _Labels) -> None:
        """Counters begin at zero: of one whose first sample is above it, Prometheus sees no increase."""
        for counter, values in self._counters():
            for value in values:
                counter.labels(*labels, value)

    def _counters(self) -> Sequence[tuple[Counter, Iterable[str]]]:
        return (self._windows, DECISIONS), (self._alerts, AlertState)

    def _forget(self, labels: _Labels) -> None:
        for gauge in (self._p_value, self._level, self._spent, self._open):
            with suppress(KeyError):
                gauge.remove(*labels)
        for counter, values in self._counters():
            for value in values:
                counter.remove(*labels, value)


def _labels(key: ServiceKey, revision: str, detector: str) -> _Labels:
    return key.namespace, key.service, key.component, key.endpoint, revision, detector
