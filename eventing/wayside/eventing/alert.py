"""Alerts as events: drift of a series of windows from the window that opened it to those that let it end.

Invariant: the events of one alert share its id, which follows from the series, the detector and the window that opened
it; the same verdicts give the same events, bytes and all. An alert is no part of a record: it names some.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from wayside.eventing.checked_json import BAD_VALUE, dump, load_data, member_list, members_of, number, position, text
from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.verdict import DetectorIdentity, read_identity
from wayside.eventing.vocabulary import (
    ALERT_OPENED,
    ALERT_RESOLVED,
    ALERT_UPDATED,
    REVISION,
    ServiceKey,
    request_time,
)
from wayside.eventing.window_findings import MovedFeature, Spending
from wayside.eventing.window_verdict import Stretch, WindowVerdict, series_extensions, series_of


class AlertState(StrEnum):
    """Where an alert stands with the event that tells it."""

    OPENED = "opened"
    UPDATED = "updated"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How much an alert asks for."""

    WARNING = "warning"
    CRITICAL = "critical"


_TYPES = MappingProxyType(
    {AlertState.OPENED: ALERT_OPENED, AlertState.UPDATED: ALERT_UPDATED, AlertState.RESOLVED: ALERT_RESOLVED}
)
_STATES = MappingProxyType({type_: state for state, type_ in _TYPES.items()})
_KEY = ("namespace", "service", "component", "endpoint")


@dataclass(frozen=True, slots=True)
class AlertEvidence:
    """The verdict on a window that drifted, the latest of its alert: its id, its window, and what it found."""

    verdict: str
    first: int
    end: int
    stretch: Stretch
    statistic: float
    p_value: float
    spending: Spending
    features: Sequence[MovedFeature] = ()

    def to_json(self) -> dict[str, Any]:
        """As an alert's `evidence` has it."""
        window = {"first": self.first, "end": self.end, "rows": self.end - self.first}
        return {
            "verdict": self.verdict,
            "window": {**window, "from": self.stretch.start, "to": self.stretch.end},
            "statistic": self.statistic + 0.0,
            "p_val": self.p_value + 0.0,
            "budget": self.spending.to_json(),
            "features": [feature.to_json() for feature in self.features],
        }

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Raises `KeyError`, `TypeError`, `ValueError` or `MalformedEvent`."""
        said = members_of(value)
        window = members_of(said["window"])
        return cls(
            verdict=text(said["verdict"]),
            first=position(window["first"]),
            end=position(window["end"]),
            stretch=Stretch(_time(window["from"]), _time(window["to"])),
            statistic=number(said["statistic"]),
            p_value=number(said["p_val"]),
            spending=Spending.of_json(said["budget"]),
            features=tuple(MovedFeature.of_json(feature) for feature in member_list(said["features"])),
        )


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An alert as one of its events tells it. Times are event times, RFC 3339; `resolved` is None while it is open.

    `windows` counts those that drifted since it opened, `quiet` those that did not since the last of them. `records`
    are rows (source, id, row) of the window in `evidence`. `reason` is why it was resolved without quiet windows.
    """

    alert: str
    state: AlertState
    severity: Severity
    key: ServiceKey
    revision: str
    opened: str
    updated: str
    resolved: str | None
    windows: int
    quiet: int
    evidence: AlertEvidence
    records: Sequence[tuple[str, str, int]] = ()
    reason: str = ""

    @property
    def type(self) -> str:
        """The type of its event."""
        return _TYPES[self.state]

    @property
    def series(self) -> str:
        """Whose windows it is of, on one line."""
        return series_of(self.key, self.revision)

    def event(self, detector: DetectorIdentity) -> CloudEvent:
        """The alert as an event. Its id names the alert, its state, and the moment: redelivery gives the same event."""
        time = self.resolved or self.updated
        return CloudEvent(
            id=stable_id("alert", self.alert, self.state.value, time, self.evidence.verdict),
            source=detector.source,
            type=self.type,
            time=time,
            datacontenttype="application/json",
            data=dump({"data": self.data(detector), "meta": detector.meta()}),
            extensions=series_extensions(self.key, self.revision, time, detector),
        )

    def data(self, detector: DetectorIdentity) -> dict[str, Any]:
        """The members by their names."""
        return {"detector": detector.name, "digest": detector.digest, **self.to_json()}

    def to_json(self) -> dict[str, Any]:
        """Its data, less whose it is; `alert_of_json` reads it back."""
        return {
            "alert": self.alert,
            "state": self.state.value,
            "severity": self.severity.value,
            **{name: getattr(self.key, name) for name in _KEY},
            "revision": self.revision,
            "opened": self.opened,
            "updated": self.updated,
            "resolved": self.resolved,
            "windows": self.windows,
            "quiet": self.quiet,
            "evidence": self.evidence.to_json(),
            "records": [list(record) for record in self.records],
            **({"reason": self.reason} if self.reason else {}),
        }


def alert_id(verdict: WindowVerdict, detector: DetectorIdentity) -> str:
    """The id of the alert that a verdict opens."""
    return stable_id("alert", verdict.series, detector.name, detector.digest, *verdict.range)


def alert_of_json(data: Mapping[str, Any]) -> AlertEvent:
    """An alert from its data. Raises `KeyError`, `TypeError`, `ValueError` or `MalformedEvent`."""
    resolved = data["resolved"]
    return AlertEvent(
        alert=text(data["alert"]),
        state=AlertState(data["state"]),
        severity=Severity(data["severity"]),
        key=ServiceKey(*(text(data[name]) for name in _KEY)),
        revision=text(data["revision"]),
        opened=_time(data["opened"]),
        updated=_time(data["updated"]),
        resolved=None if resolved is None else _time(resolved),
        windows=position(data["windows"]),
        quiet=position(data["quiet"]),
        evidence=AlertEvidence.of_json(data["evidence"]),
        records=tuple(_record(*record) for record in member_list(data["records"])),
        reason=text(data.get("reason", "")),
    )


def read_alert(event: CloudEvent) -> tuple[AlertEvent, DetectorIdentity]:
    """An alert from its event, and whose it is. Raises `MalformedEvent` where a part is absent or of the wrong kind, or
    where type, key or state are not those of the data."""
    data, detector = load_data(event), read_identity(event)
    try:
        alert = alert_of_json(data)
        request_time(event)
        whose = (_STATES.get(event.type), ServiceKey.of(event), event.extensions.get(REVISION, ""))
        if whose != (alert.state, alert.key, alert.revision):
            raise ValueError("its type and extensions are of another alert than its data")
    except BAD_VALUE as exc:
        raise MalformedEvent(f"alert lacks a part or holds a bad value: {exc}") from exc
    return alert, detector


def _time(value: object) -> str:
    parse_time(text(value))
    return text(value)


def _record(source: object, event_id: object, row: object) -> tuple[str, str, int]:
    return text(source), text(event_id), position(row)
