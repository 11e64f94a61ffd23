"""Events of one inference, as the logger and the detectors emit them."""

import json
from collections.abc import Sequence
from typing import Any

from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, Severity
from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity, RowVerdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, REQUEST_ID, RESPONSE, ServiceKey
from wayside.eventing.window_findings import MovedFeature, Spending
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict

KEY = ServiceKey("default", "digits", "predictor", "")
OUTLIERS = DetectorIdentity("outlier", "knn", "ab" * 32, 0.01)
DRIFTS = DetectorIdentity("drift", "ks", "cd" * 32, 0.01)
TIME = "2026-11-21T10:00:00.000000001Z"


def payload(kind: str, body: Any, name: str, time: str = TIME, **extensions: str) -> CloudEvent:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    shared = {**KEY.extensions(), "requesttime": TIME, **extensions}
    return CloudEvent(name, "digits-predictor", kind, data, time, "application/json", extensions=shared)


def request(rows: Any, name: str = "e1", **extensions: str) -> CloudEvent:
    body = rows if isinstance(rows, bytes) else {"instances": rows}
    return payload(REQUEST, body, name, **{REQUEST_ID: f"client-{name}", **extensions})


def response(rows: Any, name: str = "e1", **extensions: str) -> CloudEvent:
    body = rows if isinstance(rows, bytes) else {"predictions": rows}
    return payload(RESPONSE, body, name, "2026-11-21T10:00:00.5Z", **{REQUEST_ID: f"client-{name}", **extensions})


def outlier(decisions: Sequence[bool], name: str = "e1", scores: Sequence[float | None] | None = None) -> CloudEvent:
    n = len(decisions)
    verdict = RowVerdict(OUTLIER, scores or [1.5] * n, [0.5] * n, decisions, 3.0)
    return verdict.event(request([[0.0]] * n, name), OUTLIERS)


def window(first: int, end: int, drift: bool, members: Sequence[RowRange], time: str = TIME) -> CloudEvent:
    p_value = 0.0001 if drift else 0.4
    verdict = WindowVerdict(KEY, first, end, time, drift, p_value, 0.01, 0.2, [0.2], [p_value], members)
    return verdict.event(DRIFTS)


def after(seconds: float) -> str:
    """A time so long after `TIME`."""
    return format_time(parse_time(TIME) + round(seconds * 1e9))


def alert(
    state: AlertState,
    window: int,
    name: str = "a1",
    severity: Severity = Severity.WARNING,
    features: Sequence[str] = ("radius",),
    quiet: int = 0,
    detector: DetectorIdentity = DRIFTS,
    key: ServiceKey = KEY,
    revision: str = "",
) -> CloudEvent:
    """An event of an alert whose last drifting window is the `window`th of ten rows; `quiet` windows followed it."""
    moved = [
        MovedFeature(feature, True, 0.5, 1e-6, (1.0, 2.0, 3.0, 4.0, 5.0), (2.0, 3.0, 4.0, 5.0, 6.0))
        for feature in features
    ]
    evidence = AlertEvidence(
        verdict=f"v{window}",
        first=10 * window,
        end=10 * window + 10,
        stretch=Stretch(after(window), after(window + 1)),
        statistic=0.5,
        p_value=1e-4 / (window + 1),
        spending=Spending(0.01, 0.01, 0.01 * (window + 1)),
        features=moved,
    )
    resolved = after(window + 1 + quiet) if state is AlertState.RESOLVED else None
    return AlertEvent(
        alert=name,
        state=state,
        severity=severity,
        key=key,
        revision=revision,
        opened=after(1),
        updated=after(window + 1),
        resolved=resolved,
        windows=window + 1,
        quiet=quiet,
        evidence=evidence,
        records=[("digits-predictor", "e1", 0)],
    ).event(detector)
