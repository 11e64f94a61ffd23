"""Which record an event belongs to: the request, the response, the verdicts and the feedback of one inference share a
subject.

Source: kserve/kserve pkg/logger (request and response share `id` and `source`); seldon-core executor/logger/worker.go
and executor/predictor/predictor_process.go (`requestid` is the prediction's puid, `modelid` the node of the graph).
Invariant: our own events are joined by what the logger minted, (source, id), never by what a client sent. Seldon's have
only its puid, which a client may choose: they are joined in a name space of their own, which no event of ours is in.
"""

from enum import StrEnum
from typing import NamedTuple

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    DRIFT,
    ENDPOINT,
    FEEDBACK,
    INFERENCE_SERVICE,
    KSERVE_DRIFT,
    KSERVE_FEEDBACK,
    KSERVE_OUTLIER,
    MODEL_ID,
    NAMESPACE,
    OUTLIER,
    REQUEST,
    REQUEST_ID,
    RESPONSE,
    SELDON_DRIFT,
    SELDON_FEEDBACK,
    SELDON_OUTLIER,
    SELDON_REQUEST,
    SELDON_RESPONSE,
    SUBJECT_ID,
    SUBJECT_SOURCE,
)


class Role(StrEnum):
    """What part of a record an event fills."""

    REQUEST = "request"
    RESPONSE = "response"
    OUTLIER = "outlier"
    ADVERSARIAL = "adversarial"
    DRIFT = "drift"
    FEEDBACK = "feedback"


PAYLOAD_ROLES = frozenset((Role.REQUEST, Role.RESPONSE))
_ROLES = {
    REQUEST: Role.REQUEST,
    RESPONSE: Role.RESPONSE,
    OUTLIER: Role.OUTLIER,
    ADVERSARIAL: Role.ADVERSARIAL,
    DRIFT: Role.DRIFT,
    FEEDBACK: Role.FEEDBACK,
    KSERVE_FEEDBACK: Role.FEEDBACK,
    SELDON_REQUEST: Role.REQUEST,
    SELDON_RESPONSE: Role.RESPONSE,
    SELDON_OUTLIER: Role.OUTLIER,
}
_NAMED_BY_PUID = frozenset((SELDON_REQUEST, SELDON_RESPONSE, SELDON_OUTLIER, SELDON_FEEDBACK))
# adserver's replies that name no inference: a drift result is of a batch, and names only the request that filled it;
# a result on an event of KServe's logger has that event's id, but a source of its own
_UNJOINABLE = frozenset((SELDON_DRIFT, KSERVE_DRIFT, KSERVE_OUTLIER))
_PUID_SCHEME = "seldon:"


class Subject(NamedTuple):
    """The inference that an event speaks of: the (source, id) that its request and response share."""

    source: str
    id: str


def role_of(event: CloudEvent) -> Role | None:
    """The part an event fills, or None where it has none in a record."""
    return _ROLES.get(event.type)


def subject_of(event: CloudEvent) -> Subject:
    """The inference a request, a response, a row verdict or feedback speaks of.

    Raises `MalformedEvent` where the event does not name it.
    """
    if event.type in (REQUEST, RESPONSE):
        return Subject(event.source, event.id)
    source, name = event.extensions.get(SUBJECT_SOURCE), event.extensions.get(SUBJECT_ID)
    if source and name:
        return Subject(source, name)
    if event.type in _NAMED_BY_PUID:
        return _subject_by_puid(event)
    if event.type in _UNJOINABLE:
        raise MalformedEvent(f"a {event.type} names no inference: it cannot be joined with one")
    what = "feedback" if role_of(event) is Role.FEEDBACK else "verdict"
    raise MalformedEvent(f"{what} names no subject: send '{SUBJECT_SOURCE}' and '{SUBJECT_ID}'")


def subject_or_itself(event: CloudEvent) -> Subject:
    """What a verdict on a payload names: as `subject_of`, and the event itself where it names no inference."""
    if event.type in _NAMED_BY_PUID and event.extensions.get(REQUEST_ID):
        return subject_of(event)
    return Subject(event.source, event.id)


def _subject_by_puid(event: CloudEvent) -> Subject:
    """Seldon logs each node of a graph under the prediction's puid; a detector's reply repeats its extensions."""
    puid = event.extensions.get(REQUEST_ID)
    if not puid:
        raise MalformedEvent(
            f"event names no subject: send '{REQUEST_ID}', Seldon's puid, or '{SUBJECT_SOURCE}' and '{SUBJECT_ID}'"
        )
    names = (event.extensions.get(name, "") for name in (NAMESPACE, INFERENCE_SERVICE, ENDPOINT, MODEL_ID))
    return Subject(_PUID_SCHEME + "/".join(name.replace("%", "%25").replace("/", "%2F") for name in names), puid)


def part_key(event: CloudEvent) -> tuple[str, str, str]:
    """What identifies a part of a record: an event's (source, id, type), but a payload's (subject, type).

    The two differ for Seldon's payloads, of which every event has an id of its own: a second request under a puid is
    kept apart, as is any event with a known key and other bytes.
    """
    if role_of(event) not in PAYLOAD_ROLES:
        return event.key
    subject = subject_of(event)
    return subject.source, subject.id, event.type
