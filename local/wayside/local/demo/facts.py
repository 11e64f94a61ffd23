"""What was measured in each phase: the client's books beside the records that the events left.

Invariant: a fact belongs to the phase in whose time its request was sent; a window belongs to the phase in which both
its first and its last row were sent, an alert to the one in which the last row of the window was sent that opened it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wayside.eventing.clock import format_time, parse_time
from wayside.local.demo.ledger import LedgerReader, PhaseRow, Route, RouteSummary

if TYPE_CHECKING:
    from wayside.sinks.alerts import Alert
    from wayside.sinks.embedded.reader import RecordReader, WindowRow

_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """Whole drift windows of a phase, how many of them say drift, and how many an any-feature rule would have."""

    whole: int
    drift: int
    any_feature: int = 0


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """Alerts that `opened` in a phase, and the features that they say drifted, those that moved most first; those
    `carried` into it open, and how many of these it `resolved`."""

    opened: int
    carried: int
    resolved: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseFacts:
    """One phase as it was measured. `scored` and `flagged` are rows; `faults` says what was broken meanwhile."""

    phase: PhaseRow
    through: RouteSummary
    direct: RouteSummary
    scored: int
    flagged: int
    windows: WindowFacts
    alerts: AlertFacts
    dropped: int = 0
    faults: Sequence[str] = ()

    @property
    def lasts_s(self) -> float:
        """How long it lasted; 0 while it does."""
        return 0.0 if self.phase.ended is None else self.phase.ended - self.phase.started

    @property
    def flagged_share(self) -> float:
        """Flagged rows of scored ones; 0 where none was scored."""
        return self.flagged / self.scored if self.scored else 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, half open: from `first_ns` up to but without `end_ns`, which is None while it lasts."""

    first_ns: int
    end_ns: int | None

    @classmethod
    def of(cls, phase: PhaseRow) -> "Span":
        return cls(round(phase.started * 1e9), None if phase.ended is None else round(phase.ended * 1e9))

    def holds(self, time: str) -> bool:
        """Whether an RFC 3339 time lies in it."""
        moment = parse_time(time)
        return self.first_ns <= moment and (self.end_ns is None or moment < self.end_ns)

    @property
    def since(self) -> str:
        return format_time(self.first_ns)

    @property
    def until(self) -> str | None:
        return None if self.end_ns is None else format_time(self.end_ns)


def read_facts(
    ledger: LedgerReader, records: "RecordReader", outlier: str, dropped: Mapping[str, int]
) -> list[PhaseFacts]:
    """The facts of every phase, in order. `outlier` names the row detector; `dropped` counts events by phase."""
    windows, alerts = records.windows(_LIMIT), records.alerts(_LIMIT)
    faults = ledger.faults()

    def facts_of(phase: PhaseRow) -> PhaseFacts:
        span = Span.of(phase)
        rate = next((rate for rate in records.rates(span.since, span.until) if rate.detector == outlier), None)
        return PhaseFacts(
            phase=phase,
            through=ledger.route_summary(phase.name, Route.THROUGH),
            direct=ledger.route_summary(phase.name, Route.DIRECT),
            scored=rate.scored if rate else 0,
            flagged=rate.flagged if rate else 0,
            windows=count_windows(windows, span),
            alerts=count_alerts(alerts, span),
            dropped=dropped.get(phase.name, 0),
            faults=[fault.what for fault in faults if span.holds(format_time(round(fault.t * 1e9)))],
        )

    return [facts_of(phase) for phase in ledger.phases()]


def count_windows(windows: Iterable["WindowRow"], span: Span) -> WindowFacts:
    """The whole windows of a span: those whose first and last rows were sent in it."""
    whole = [window for window in windows if window.start and span.holds(window.start) and span.holds(window.time)]
    return WindowFacts(
        len(whole), sum(window.is_drift for window in whole), sum(bool(window.any_feature) for window in whole)
    )


def count_alerts(alerts: Iterable["Alert"], span: Span) -> AlertFacts:
    """What happened to alerts during a span. An alert stays open until the window that resolves it."""
    every = list(alerts)
    opened = [alert for alert in every if span.holds(alert.opened)]
    carried = [alert for alert in every if _open_at(alert, span.first_ns)]
    resolved = sum(alert.resolved is not None and span.holds(alert.resolved) for alert in carried)
    told = [feature.name for alert in opened for feature in alert.evidence.features if feature.is_drift]
    return AlertFacts(len(opened), len(carried), resolved, tuple(dict.fromkeys(told)))


def _open_at(alert: "Alert", moment_ns: int) -> bool:
    before: Callable[[str], bool] = lambda time: parse_time(time) < moment_ns  # noqa: E731
    return before(alert.opened) and (alert.resolved is None or not before(alert.resolved))
