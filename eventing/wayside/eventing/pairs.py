"""Which record an event belongs to: the request, the response and the verdicts of one inference share a subject.

Invariant: joining uses only what the logger minted, (source, id), never what a client sent. Stores join by upsert on
`subject_of` and `role_of`; a streaming join (parts that wait for partners) belongs here too.
"""

from dataclasses import dataclass
from enum import StrEnum

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import (
    ADVERSARIAL,
    DRIFT,
    OUTLIER,
    REQUEST,
    RESPONSE,
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


_ROLES = {
    REQUEST: Role.REQUEST,
    RESPONSE: Role.RESPONSE,
    OUTLIER: Role.OUTLIER,
    ADVERSARIAL: Role.ADVERSARIAL,
    DRIFT: Role.DRIFT,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The inference that an event speaks of: the (source, id) that its request and response share."""

    source: str
    id: str


def role_of(event: CloudEvent) -> Role | None:
    """The part an event fills, or None where it has none in a record."""
    return _ROLES.get(event.type)


def subject_of(event: CloudEvent) -> Subject:
    """The inference a request, a response or a row verdict speaks of.

    Raises `MalformedEvent` for a row verdict that does not name its subject.
    """
    if event.type in (REQUEST, RESPONSE):
        return Subject(event.source, event.id)
    source, name = event.extensions.get(SUBJECT_SOURCE), event.extensions.get(SUBJECT_ID)
    if not source or not name:
        raise MalformedEvent(f"verdict names no subject: send '{SUBJECT_SOURCE}' and '{SUBJECT_ID}'")
    return Subject(source, name)
