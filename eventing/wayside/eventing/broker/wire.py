"""What passes between the broker and those around it: the headers it forwards, TTL, replies, dead letters.

Source: Knative Eventing's broker data plane; CloudEvents 1.0.
Invariant: pure. Data is never touched. The TTL that breaks loops is taken off an event at the door and put on a reply;
no subscriber sees it.
"""

import base64
from dataclasses import dataclass

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers, Response
from wayside.eventing.http_binding import decode, is_event
from wayside.eventing.vocabulary import ERROR_CODE, ERROR_DATA, ERROR_DESTINATION, TTL

_FORWARDED = frozenset((b"x-request-id", b"retry-after"))
_FORWARDED_PREFIXES = (b"knative-", b"x-b3-")
PREFER_REPLY = (b"prefer", b"reply")
BAD_REPLY = 502
ATTRIBUTES_LIMIT = 64 << 10
_UNREACHABLE = 500
_ERROR_DATA_BYTES = 768  # 1024 characters as base64


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery failed for good: the status, a reason for people, and the first bytes of the answer."""

    code: int
    reason: str
    response: bytes = b""

    @classmethod
    def of(cls, response: Response, code: int | None = None, reason: str | None = None) -> "Failure":
        """From an answer; where it is a 2xx and yet no success, with the code and reason that say so."""
        code = response.status if code is None else code
        return cls(code, reason or f"answered {code}", response.body[:_ERROR_DATA_BYTES])

    @classmethod
    def unreachable(cls, cause: Exception) -> "Failure":
        """No answer came."""
        return cls(_UNREACHABLE, str(cause), str(cause).encode()[:_ERROR_DATA_BYTES])


class BadReply(MalformedEvent):
    """A 2xx whose body is neither empty nor a CloudEvent; the delivery counts as failed with a 502."""


def read_event(headers: Headers, body: bytes) -> CloudEvent:
    """The event in a message, its attributes bounded as a head bounds them in binary mode. Raises `MalformedEvent`."""
    event = decode(headers, body)
    if len(body) > ATTRIBUTES_LIMIT and _attribute_bytes(event) > ATTRIBUTES_LIMIT:
        raise MalformedEvent(f"the attributes are over {ATTRIBUTES_LIMIT} bytes")
    return event


def _attribute_bytes(event: CloudEvent) -> int:
    return sum(len(name) + len(value.encode()) for name, value in event.attributes())


def forwarded(headers: Headers) -> Headers:
    """The headers that travel on with an event, names in lower case."""
    return [pair for pair in headers if pair[0] in _FORWARDED or pair[0].startswith(_FORWARDED_PREFIXES)]


def dead_letter(event: CloudEvent, destination: str, failure: Failure) -> CloudEvent:
    """The event as a dead-letter sink gets it: with where, how and why it failed."""
    return event.with_extensions(
        **{
            ERROR_DESTINATION: destination,
            ERROR_CODE: str(failure.code),
            ERROR_DATA: base64.b64encode(failure.response).decode() or None,
        }
    )


def read_reply(response: Response, ttl: int) -> CloudEvent | None:
    """The event in a 2xx, with the TTL of the event that it replies to; None where there is none. Raises `BadReply`."""
    if not is_event(response.headers):
        if response.body:
            raise BadReply("answered with a body that is no CloudEvent; send an empty body or a CloudEvent")
        return None
    try:
        reply = read_event(response.headers, response.body)
    except MalformedEvent as exc:
        raise BadReply(f"answered with a malformed CloudEvent: {exc}") from exc
    return reply.with_extensions(**{TTL: str(ttl)})
