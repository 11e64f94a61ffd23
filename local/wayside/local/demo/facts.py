"""What was measured in each phase: the client's books beside the records that the events left.

Invariant: a fact belongs to the phase in whose time its request was sent; a window belongs to the phase in which its
last row was sent, and counts as whole only where its first row was sent in that phase as well.
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
    """Whole drift windows of a phase, and how many of them say drift."""

    whole: int
    drift: int


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """Alerts that `opened` in a phase; those `carried` into it open, and how many of these it `resolved`."""

    opened: int
    carried: int
    resolved: int


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
    """The whole windows of a span: those that end in it and begin where another that ends in it left off, or at 0.

    Where a window begins in time is not recorded. One that follows a window ending in the span began in it.
    """
    inside = [window for window in windows if span.holds(window.time)]
    ends = {(_series(window), window.end) for window in inside}
    whole = [window for window in inside if window.first == 0 or (_series(window), window.first) in ends]
    return WindowFacts(len(whole), sum(window.is_drift for window in whole))


def _series(window: "WindowRow") -> tuple[str, ...]:
    return window.namespace, window.service, window.component, window.endpoint, window.detector


def count_alerts(alerts: Iterable["Alert"], span: Span) -> AlertFacts:
    """What happened to alerts during a span. An alert stays open until the window that resolves it."""
    every = list(alerts)
    opened = sum(span.holds(alert.opened) for alert in every)
    carried = [alert for alert in every if _open_at(alert, span.first_ns)]
    resolved = sum(alert.resolved is not None and span.holds(alert.resolved) for alert in carried)
    return AlertFacts(opened, len(carried), resolved)


def _open_at(alert: "Alert", moment_ns: int) -> bool:
    before: Callable[[str], bool] = lambda time: parse_time(time) < moment_ns  # noqa: E731
    return before(alert.opened) and (alert.resolved is None or not before(alert.resolved))
