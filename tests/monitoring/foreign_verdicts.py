"""Verdicts on rows and windows of any service, as a detector's events.

Invariant: no two verdicts share an id, so that none is a duplicate of another.
"""

import json
from collections.abc import Sequence
from uuid import uuid4

from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, Severity
from wayside.eventing.event import CloudEvent
from wayside.eventing.verdict import DetectorIdentity, RowVerdict
from wayside.eventing.vocabulary import OUTLIER, REQUEST, ServiceKey
from wayside.eventing.window_findings import Spending
from wayside.eventing.window_verdict import RowRange, Stretch, WindowVerdict

OUTLIERS = DetectorIdentity("outlier", "knn", "ab" * 32, 0.01)
DRIFTS = DetectorIdentity("drift", "ks", "cd" * 32, 0.01)
TIME = "2026-11-21T10:00:00Z"


def request(key: ServiceKey, body: bytes) -> CloudEvent:
    """A request to a service, as its logger sends it."""
    return CloudEvent(uuid4().hex, "foreign", REQUEST, body, TIME, "application/json", extensions=key.extensions())


def row_verdict(key: ServiceKey, decisions: Sequence[bool]) -> CloudEvent:
    """What an outlier detector with a budget of 1 % says of rows."""
    count = len(decisions)
    subject = request(key, json.dumps({"instances": [[0.0]] * count}).encode())
    return RowVerdict(OUTLIER, [1.0] * count, [0.5] * count, decisions, 3.0).event(subject, OUTLIERS)


def window_verdict(key: ServiceKey, first: int, end: int, drift: bool) -> CloudEvent:
    """What a drift detector with a budget of 1 % says of a window."""
    p_value = 0.0001 if drift else 0.4
    members = [RowRange("foreign", uuid4().hex, 0, end - first, TIME)]
    verdict = WindowVerdict(key, first, end, TIME, drift, p_value, DRIFTS.alpha, 0.2, [0.2], [p_value], members)
    return verdict.event(DRIFTS)


def alert_event(key: ServiceKey, state: AlertState, end: int, quiet: int = 0) -> CloudEvent:
    """What a drift detector says of an alert whose last drifting window of 200 rows ends at `end`."""
    spending = Spending(0.01, 0.01, 0.01)
    evidence = AlertEvidence(uuid4().hex, end - 200, end, Stretch(TIME, TIME), 0.2, 0.0001, spending)
    resolved = TIME if state is AlertState.RESOLVED else None
    told = AlertEvent(f"of {key}", state, Severity.WARNING, key, "", TIME, TIME, resolved, 1, quiet, evidence)
    return told.event(DRIFTS)
