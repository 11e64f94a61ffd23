"""When an alert opens, changes and ends: a fold over the verdicts of one series, and nothing else.

It opens at a window that drifted and is resolved after so many quiet windows in a row. A detector that starts again
from its reference after each drift needs rows to find what lasts: quiet windows of fewer rows resolve nothing, so that
"resolved" says that the stream is like the reference again. Between the two it is told again
only where there is something new: its severity rises, or a feature is told as drifted that was not before. A window
that was not judged says nothing: it neither opens nor quietens.

Invariant: the same verdicts give the same events, bytes and all; every alert is opened once and resolved at most once;
an event is told at most once a window, and none without a change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, Severity, alert_id, alert_of_json
from wayside.eventing.checked_json import member_list, members_of, position, text
from wayside.eventing.verdict import DetectorIdentity
from wayside.eventing.window_verdict import WindowVerdict

_FAR_BELOW = 1e-3  # of its level: a p-value this small is critical at once
_MANY_IN_A_ROW = 3  # so many windows that drifted one after another are critical, however near the level
_MOST_TOLD = 64  # features by name; what drifts beyond them updates nothing

Records = Sequence[tuple[str, str, int]]
"""Rows by (source, id, row)."""


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert as its last event told it, with what has come since: `told` features, windows that drifted `in_a_row`,
    rows in the quiet windows since the last of them."""

    alert: AlertEvent
    told: tuple[str, ...]
    in_a_row: int
    quiet_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the state of a series keeps it."""
        since = {"in_a_row": self.in_a_row, "quiet_rows": self.quiet_rows}
        return {"alert": self.alert.to_json(), "told": list(self.told), **since}

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError`, `ValueError` or `MalformedEvent`."""
        said = members_of(value)
        told = tuple(text(name) for name in member_list(said["told"]))
        alert = alert_of_json(members_of(said["alert"]))
        return cls(alert, told, position(said["in_a_row"]), position(said["quiet_rows"]))


@dataclass(frozen=True, slots=True)
class Alerting:
    """The rule of one detector: alerts resolve after `resolve_after` quiet windows of `settling_rows` rows in all."""

    detector: DetectorIdentity
    resolve_after: int
    settling_rows: int = 0

    def fold(
        self, standing: OpenAlert | None, verdict: WindowVerdict, records: Records = ()
    ) -> tuple[OpenAlert | None, AlertEvent | None]:
        """What stands after a verdict, and the event to tell, if there is one. `records` are rows of its window."""
        if not verdict.is_judged:
            return standing, None
        if verdict.is_drift:
            return self._opened(verdict, records) if standing is None else self._deepened(standing, verdict, records)
        return (None, None) if standing is None else self._quietened(standing, verdict)

    def end(self, standing: OpenAlert, time: str, reason: str) -> AlertEvent:
        """The event that resolves an alert whose series ends."""
        return replace(standing.alert, state=AlertState.RESOLVED, resolved=time, reason=reason)

    def _opened(self, verdict: WindowVerdict, records: Records) -> tuple[OpenAlert, AlertEvent]:
        alert = AlertEvent(
            alert=alert_id(verdict, self.detector),
            state=AlertState.OPENED,
            severity=_severity(verdict, 1),
            key=verdict.key,
            revision=verdict.revision,
            opened=verdict.time,
            updated=verdict.time,
            resolved=None,
            windows=1,
            quiet=0,
            evidence=self._evidence(verdict),
            records=tuple(records),
        )
        return OpenAlert(alert, _told((), verdict), 1), alert

    def _deepened(
        self, standing: OpenAlert, verdict: WindowVerdict, records: Records
    ) -> tuple[OpenAlert, AlertEvent | None]:
        in_a_row, told = standing.in_a_row + 1, _told(standing.told, verdict)
        was = standing.alert
        severity = Severity.CRITICAL if was.severity is Severity.CRITICAL else _severity(verdict, in_a_row)
        alert = replace(
            was,
            state=AlertState.UPDATED,
            severity=severity,
            updated=verdict.time,
            windows=was.windows + 1,
            quiet=0,
            evidence=self._evidence(verdict),
            records=tuple(records),
        )
        is_new = severity is not was.severity or told != standing.told
        return OpenAlert(alert, told, in_a_row), alert if is_new else None

    def _quietened(self, standing: OpenAlert, verdict: WindowVerdict) -> tuple[OpenAlert | None, AlertEvent | None]:
        alert = replace(standing.alert, quiet=standing.alert.quiet + 1)
        rows = standing.quiet_rows + verdict.rows
        if alert.quiet < self.resolve_after or rows < self.settling_rows:
            return replace(standing, alert=alert, in_a_row=0, quiet_rows=rows), None
        return None, replace(alert, state=AlertState.RESOLVED, resolved=verdict.time)

    def _evidence(self, verdict: WindowVerdict) -> AlertEvidence:
        assert verdict.p_value is not None, "a window that drifted was tested"
        assert verdict.distance is not None, "a window that drifted was tested"
        assert verdict.stretch is not None, "a verdict of ours names its stretch"
        assert verdict.spending is not None, "a verdict of ours says what it spent"
        return AlertEvidence(
            verdict=verdict.id(self.detector),
            first=verdict.first,
            end=verdict.end,
            stretch=verdict.stretch,
            statistic=verdict.distance,
            p_value=verdict.p_value,
            spending=verdict.spending,
            features=verdict.findings.features,
        )


def _severity(verdict: WindowVerdict, in_a_row: int) -> Severity:
    assert verdict.p_value is not None, "a window that drifted was tested"
    is_far = verdict.p_value <= _FAR_BELOW * verdict.threshold
    return Severity.CRITICAL if is_far or in_a_row >= _MANY_IN_A_ROW else Severity.WARNING


def _told(before: tuple[str, ...], verdict: WindowVerdict) -> tuple[str, ...]:
    """The features that were told as drifted, in the order in which they were."""
    now = [feature.name for feature in verdict.findings.features if feature.is_drift]
    return tuple(dict.fromkeys([*before, *now]))[:_MOST_TOLD]
