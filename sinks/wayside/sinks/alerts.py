"""When a drift alert opens and when it resolves: a rule over window verdicts, and nothing else.

Invariant: the same windows in the same order give the same alerts; an alert is open from a window that says drift until
the next window of that key and detector that does not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window verdict as the record store keeps it. `first` and `end` are positions in rows, half open."""

    namespace: str
    service: str
    component: str
    endpoint: str
    detector: str
    first: int
    end: int
    time: str
    p_value: float
    threshold: float
    distance: float
    is_drift: bool

    @property
    def series(self) -> tuple[str, str, str, str, str]:
        """What windows follow each other within."""
        return self.namespace, self.service, self.component, self.endpoint, self.detector


@dataclass(frozen=True, slots=True)
class Alert:
    """Drift of one series. `resolved` is None while it is open; `windows` counts those that said drift."""

    namespace: str
    service: str
    component: str
    endpoint: str
    detector: str
    opened: str
    resolved: str | None
    p_value: float
    windows: int


def alerts_of(windows: Iterable[WindowRow]) -> Iterator[Alert]:
    """The alerts of one series of windows in order of position; the last one may still be open."""
    open_alert: Alert | None = None
    for window in windows:
        if window.is_drift:
            open_alert = _deepened(open_alert, window)
        elif open_alert is not None:
            yield replace(open_alert, resolved=window.time)
            open_alert = None
    if open_alert is not None:
        yield open_alert


def _deepened(alert: Alert | None, window: WindowRow) -> Alert:
    if alert is None:
        return Alert(*window.series, window.time, None, window.p_value, 1)
    return replace(alert, p_value=min(alert.p_value, window.p_value), windows=alert.windows + 1)
