"""What the panels of drift show, as JSON: windows by series, and alerts with their evidence.

Invariant: pure, and of bounded size: so many windows, alerts and features, every text clipped, no number that JSON
cannot carry.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import unquote

from wayside.eventing.clock import parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.window_findings import MovedFeature
from wayside.local.page.cards import Json, clip
from wayside.local.page.files import RecordsReading
from wayside.local.page.sources import DriftReading, Reading
from wayside.sinks.embedded.reader import Alert, SeriesStanding, WindowRow

T = TypeVar("T")
_P_FLOOR = 1e-300  # a p-value of 0 has no place on a log scale
_FEATURES = 5
_CATEGORIES = 3
_WARMING_KEYS = 8
_WARMING = ("warming up", "waiting")


def problem(reading: Reading[T]) -> Json:
    """A panel whose source cannot be read."""
    return {"problem": reading.problem}


def epoch_s(time: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 text; None for none, or for what is no time."""
    with suppress(MalformedEvent):
        return None if time is None else parse_time(time) / 1e9
    return None


def service_of(key: str) -> str | None:
    """The service in a key of a detector's `/windows`; None where it is no such key."""
    parts = key.split("/")
    return unquote(parts[1]) if len(parts) in (4, 5) else None


def drift(records: Reading[RecordsReading], reading: Reading[DriftReading]) -> Json:
    """The p-value of each window, oldest first, a series for each key and detector, with what it adds up to."""
    if records.value is None:
        return problem(records)
    series: dict[tuple[str, ...], list[WindowRow]] = {}
    for window in reversed(records.value.windows):
        series.setdefault(window.series, []).append(window)
    standings = {standing.series: standing for standing in records.value.standings}
    shown = [_series(key, windows, standings.get(key)) for key, windows in series.items()]
    return {"series": shown, "open": reading.value.open if reading.value else None, "warming": _warming(reading.value)}


def _series(key: Sequence[str], windows: Iterable[WindowRow], standing: SeriesStanding | None) -> Json:
    points = [_window(window) for window in windows]
    return {**_names(key), "windows": points, "standing": None if standing is None else _standing(standing)}


def _names(key: Sequence[str]) -> Json:
    _, service, _, endpoint, revision, detector = map(clip, key)
    return {"service": service, "endpoint": endpoint, "revision": revision, "detector": detector}


def _standing(standing: SeriesStanding) -> Json:
    names = ("windows", "drifted", "unjudged", "spent", "featured", "any_feature", "quiet", "any_feature_quiet")
    return {name: getattr(standing, name) for name in names}


def _window(window: WindowRow) -> Mapping[str, object]:
    return {
        "t": epoch_s(window.time),
        "p": None if window.p_value is None else max(window.p_value, _P_FLOOR),
        "threshold": window.threshold,
        "distance": window.distance,
        "first": window.first,
        "end": window.end,
        "drift": window.is_drift,
        "any_feature": window.any_feature,
        "error": None if window.error is None else clip(window.error),
    }


def _warming(reading: DriftReading | None) -> list[Json]:
    """The keys whose first window is not whole yet, in the detector's words."""
    states = reading.states if reading else ()
    found = [(key, state) for key, state in states if state.startswith(_WARMING)]
    return [{"service": clip(service_of(key) or key), "state": clip(state)} for key, state in found[:_WARMING_KEYS]]


def alerts(records: Reading[RecordsReading]) -> Json:
    """Alerts, the newest first, and how quiet each series is beside what an any-feature rule would have raised."""
    if records.value is None:
        return problem(records)
    standings = [{**_names(each.series), **_standing(each)} for each in records.value.standings]
    return {"alerts": [_alert(alert) for alert in records.value.alerts], "series": standings}


def _alert(alert: Alert) -> Json:
    evidence = alert.evidence
    names = (alert.namespace, alert.service, alert.component, alert.endpoint, alert.revision, alert.detector)
    return {
        **_names(names),
        "state": "open" if alert.is_open else "replaced" if alert.replaced else "resolved",
        "severity": alert.severity,
        "opened": epoch_s(alert.opened),
        "resolved": epoch_s(alert.resolved),
        "p_value": evidence.p_value,
        "level": evidence.spending.level,
        "spent": evidence.spending.total,
        "windows": alert.windows,
        "quiet": alert.quiet,
        "features": [_feature(feature) for feature in evidence.features[:_FEATURES]],
        "more": max(0, len(evidence.features) - _FEATURES),
    }


def _feature(feature: MovedFeature) -> Json:
    """`reference` and `window` are five quantiles each, or `shares` says (category, share before, share now)."""
    before, now = feature.reference, feature.window
    told = {"name": clip(feature.name), "drift": feature.is_drift, "distance": feature.distance}
    if isinstance(before, Mapping) or isinstance(now, Mapping):
        return {**told, "shares": _shares(before, now)}
    return {**told, "reference": _quantiles(before), "window": _quantiles(now)}


def _quantiles(values: object) -> list[float] | None:
    return list(values) if isinstance(values, tuple) and len(values) == 5 else None


def _shares(before: object, now: object) -> list[tuple[str, float, float]]:
    """The categories whose shares changed most."""
    was, is_ = (part if isinstance(part, Mapping) else {} for part in (before, now))
    pairs = [(name, was.get(name, 0.0), is_.get(name, 0.0)) for name in dict.fromkeys([*was, *is_])]
    changed = sorted(pairs, key=lambda pair: -abs(pair[2] - pair[1]))
    return [(clip(name), old, new) for name, old, new in changed[:_CATEGORIES]]
