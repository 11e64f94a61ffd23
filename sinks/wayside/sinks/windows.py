"""Window verdicts as people look at them, beside what the rule that most services use would have said.

Invariant: pure; a window that was not judged is neither quiet nor drifted.
"""

from dataclasses import dataclass
from typing import Self

from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.window_verdict import WindowVerdict

# The rule of today's drift services: an alarm where any feature's own p-value is at or below this.
ANY_FEATURE_P = 0.05


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window verdict as the record store keeps it. `first` and `end` are positions in rows, half open.

    `p_value` and `distance` are None where the window was not judged, and `error` says why. `threshold` is the level
    that it could spend, `spent` what its series has spent with it; None for other people's windows. `any_feature` is
    what an any-feature rule would have said; None where there is no p-value of a single feature. `start` and `stop` are
    the event times that it spans, where they are known.
    """

    namespace: str
    service: str
    component: str
    endpoint: str
    revision: str
    detector: str
    first: int
    end: int
    time: str
    p_value: float | None
    threshold: float
    distance: float | None
    is_drift: bool
    digest: str = ""
    error: str | None = None
    any_feature: bool | None = None
    spent: float | None = None
    start: str | None = None
    stop: str | None = None

    @classmethod
    def of(cls, verdict: WindowVerdict, detector: str, digest: str, time: str) -> Self:
        """A verdict as its row; `time` is its time in UTC, as the others will be."""
        key, stretch, spending = verdict.key, verdict.stretch, verdict.spending
        return cls(
            *(key.namespace, key.service, key.component, key.endpoint, verdict.revision, detector),
            *(verdict.first, verdict.end, time, verdict.p_value, verdict.threshold, verdict.distance),
            verdict.is_drift,
            digest=digest,
            error=verdict.error,
            any_feature=any_feature_alarm(verdict),
            spent=None if spending is None else spending.total,
            start=None if stretch is None else format_time(parse_time(stretch.start)),
            stop=None if stretch is None else format_time(parse_time(stretch.end)),
        )

    @property
    def series(self) -> tuple[str, ...]:
        """What windows follow each other within."""
        return self.namespace, self.service, self.component, self.endpoint, self.revision, self.detector


@dataclass(frozen=True, slots=True)
class SeriesStanding:
    """A series in figures: its windows, those that drifted, those that were not judged, what was spent.

    `quiet` windows were judged and did not drift since the last one that did. An any-feature rule would have raised
    `any_feature` alarms over all of the windows, and `any_feature_quiet` in the quiet stretch alone; where some windows
    have no p-value of single features, `featured` says how many do.
    """

    namespace: str
    service: str
    component: str
    endpoint: str
    revision: str
    detector: str
    windows: int
    drifted: int
    unjudged: int
    spent: float | None
    featured: int
    any_feature: int
    quiet: int
    any_feature_quiet: int

    @property
    def series(self) -> tuple[str, ...]:
        """As `WindowRow.series`."""
        return self.namespace, self.service, self.component, self.endpoint, self.revision, self.detector


def any_feature_alarm(verdict: WindowVerdict) -> bool | None:
    """What an any-feature rule says of a window; None where it has no p-value of a single feature."""
    if not verdict.is_judged or not verdict.feature_p_value:
        return None
    return min(verdict.feature_p_value) <= ANY_FEATURE_P
