"""Alerts as documents: what the events of one alert say, in whatever order they come, as one that ends as resolved.

Invariant: merging is commutative, associative and idempotent. The event that stands last speaks for the alert: the
resolving one, else the one of the latest window; of the others a line each is kept, the first and the latest ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from wayside.eventing.alert import AlertEvent, AlertEvidence, AlertState, read_alert
from wayside.eventing.clock import format_time, parse_time
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import stable_id
from wayside.eventing.vocabulary import request_time_ns
from wayside.sinks.document import SERVICE_FIELDS, Document

HISTORY_LIMIT = 64
_RANKS = {state.value: rank for rank, state in enumerate(AlertState)}


@dataclass(frozen=True, slots=True)
class AlertPart:
    """One event of an alert: `alert_id` names its document, `opened` the day of it, `time` is the event's own."""

    alert_id: str
    opened: str
    time: str
    document: Document


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as a store holds it. Times are RFC 3339 in UTC; `resolved` is None while it is open.

    `replaced` where it is open and windows of its series are judged by another detector since: nobody will resolve it.
    """

    id: str
    namespace: str
    service: str
    component: str
    endpoint: str
    revision: str
    detector: str
    digest: str
    severity: str
    opened: str
    updated: str
    resolved: str | None
    windows: int
    quiet: int
    evidence: AlertEvidence
    records: tuple[tuple[str, str, int], ...] = ()
    replaced: bool = False

    @classmethod
    def of(cls, document: Document, replaced: bool = False) -> Self:
        """From what `merged_alert` made."""
        service, namespace, component, endpoint = (document[name] for name in SERVICE_FIELDS)
        return cls(
            *(document["alert"], namespace, service, component, endpoint, document["revision"]),
            *(document["meta"]["name"], document["meta"]["artifact_digest"], document["severity"]),
            *(document["opened"], document["updated"], document["resolved"], document["windows"], document["quiet"]),
            AlertEvidence.of_json(document["evidence"]),
            tuple((source, event_id, row) for source, event_id, row in document["records"]),
            replaced and document["resolved"] is None,
        )

    @property
    def is_open(self) -> bool:
        """Whether somebody may have to look at it."""
        return self.resolved is None and not self.replaced


def alert_part(event: CloudEvent) -> AlertPart:
    """An event's part of its alert. Raises `MalformedEvent`."""
    alert, detector = read_alert(event)
    time, opened = format_time(request_time_ns(event)), format_time(parse_time(alert.opened))
    document: Document = {
        "@timestamp": opened,
        **_head(alert),
        "opened": opened,
        "updated": format_time(parse_time(alert.updated)),
        "resolved": alert.resolved and format_time(parse_time(alert.resolved)),
        "windows": alert.windows,
        "quiet": alert.quiet,
        "evidence": alert.evidence.to_json(),
        "records": [list(record) for record in alert.records],
        "meta": detector.meta(),
        "history": [_moment(alert, time, event)],
    }
    try:
        name = stable_id(event.source, alert.alert)
    except UnicodeEncodeError as exc:
        raise MalformedEvent("the alert's name holds a lone surrogate, which no encoding can carry") from exc
    return AlertPart(name, opened, time, document)


def _head(alert: AlertEvent) -> Document:
    key = alert.key
    named = dict(zip(SERVICE_FIELDS, (key.service, key.namespace, key.component, key.endpoint), strict=True))
    words = {"alert": alert.alert, "state": alert.state.value, "severity": alert.severity.value}
    return {**words, **named, "revision": alert.revision}


def _moment(alert: AlertEvent, time: str, event: CloudEvent) -> Document:
    """What the history keeps of an event: enough to put it in its place, and to see how the alert went."""
    evidence = alert.evidence
    return {
        "state": alert.state.value,
        "severity": alert.severity.value,
        "time": time,
        "end": evidence.end,
        "p_val": evidence.p_value + 0.0,
        "features": [feature.name for feature in evidence.features if feature.is_drift],
        "ce-source": event.source,
        "ce-id": event.id,
    }


def merged_alert(known: Document | None, part: Document) -> Document:
    """Both as one document; `known` is left as it is, and returned where it has all that `part` says."""
    if known is None:
        return part
    moments = {_order(moment): moment for moment in (*known["history"], *part["history"])}
    history = [moments[place] for place in sorted(moments)]
    if len(history) > HISTORY_LIMIT:
        history = [history[0], *history[1 - HISTORY_LIMIT :]]
    if history == known["history"]:
        return known
    last = max(known, part, key=lambda document: _order(document["history"][-1]))
    return {**last, "history": history}


def _order(moment: Mapping[str, Any]) -> tuple[Any, ...]:
    state = moment["state"]
    place = (state == AlertState.RESOLVED.value, moment["end"], _RANKS[state], moment["time"])
    return *place, moment["ce-source"], moment["ce-id"]
