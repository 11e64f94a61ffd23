"""What the plain records of a source's topics are, by `--plain`, and the reading of every record by it.

Invariant: a record is read as plain only where its topic is declared, and never where it claims to be a CloudEvent: one
that is broken stays broken.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wayside.eventing import json_format
from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import CONTENT_TYPE, PREFIX, KafkaRecord, decode
from wayside.eventing.kafka.letter import OMITTED, REASON_HEADERS
from wayside.eventing.kafka.plain import Declaration, RecordSource, event_of
from wayside.eventing.payloads.payload import Kind, Protocol
from wayside.eventing.vocabulary import ServiceKey

AS_KNATIVE = "knative"
EVERY_TOPIC = ""
_FORM = "write [TOPIC=]KIND:PROTOCOL:NAMESPACE/SERVICE, or [TOPIC=]knative"
_KINDS = (Kind.REQUEST, Kind.RESPONSE, Kind.FEEDBACK)
_PROTOCOLS = tuple(one for one in Protocol if one is not Protocol.DETECTOR)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_NAMESPACE, _READER = "default", "wayside"


@dataclass(frozen=True, slots=True)
class Declarations:
    """By topic, what its plain records are; None: what KafkaSource makes of any. `EVERY_TOPIC` is for all others."""

    by_topic: Mapping[str, Declaration | None] = field(default_factory=dict)

    def read(self, record: KafkaRecord) -> CloudEvent:
        """The event in a record, or the event that a plain record stands for. Raises `MalformedEvent` with a reason.

        A plain record's event has the same id and source for whichever group reads it, so that what a detector says of
        it and what a sink keeps of it meet.
        """
        if record.unreadable:
            raise MalformedEvent(f"{record.unreadable}; its headers are lost to this client, and to this dead letter")
        if not is_plain(record):
            return decode(record.headers, record.value)
        topic = record.topic if record.topic in self.by_topic else EVERY_TOPIC
        if topic not in self.by_topic:
            raise MalformedEvent(
                "no CloudEvent: no header begins with ce_, and the content type is none of CloudEvents'; where plain"
                f" records are what belongs there, declare them: --plain {record.topic}=…"
            )
        declared = self.by_topic[topic]
        namespace = declared.service.namespace if declared else _NAMESPACE
        return event_of(record, RecordSource(namespace, _READER), declared)


def is_plain(record: KafkaRecord) -> bool:
    """Whether a record does not even claim to be a CloudEvent. A dead letter is plain where the record in it was.

    One that lacks its bytes is not: it would be taken for a record of nothing.
    """
    for name, value in record.headers:
        if name == OMITTED or (name.startswith(PREFIX) and name not in REASON_HEADERS):
            return False
        if name.lower() == CONTENT_TYPE and json_format.holds_events((value or b"").decode(errors="replace")):
            return False
    return True


def parse_declarations(texts: list[str]) -> Declarations:
    """Declarations as `--plain` has them, several with commas between. Raises `ConfigurationError`."""
    by_topic: dict[str, Declaration | None] = {}
    for text in (part.strip() for given in texts for part in given.split(",")):
        topic, _, said = text.rpartition("=")
        if topic in by_topic:
            raise ConfigurationError(f"--plain {text!r}: {topic or 'every topic'} is declared twice")
        by_topic[topic] = None if said == AS_KNATIVE else _declaration(text, said)
    return Declarations(by_topic)


def _declaration(text: str, said: str) -> Declaration:
    words = said.split(":")
    if len(words) != 3:
        raise ConfigurationError(f"--plain {text!r}: {_FORM}")
    kind, protocol, service = words
    if kind not in _KINDS:
        raise ConfigurationError(f"--plain {text!r}: {kind!r} is no kind of {', '.join(_KINDS)}")
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"--plain {text!r}: {protocol!r} is no protocol of {', '.join(_PROTOCOLS)}")
    return Declaration(Kind(kind), Protocol(protocol), _service(text, service))


def _service(text: str, said: str) -> ServiceKey:
    names = said.split("/")
    if len(names) != 2 or not all(map(_NAME.fullmatch, names)):
        raise ConfigurationError(
            f"--plain {text!r}: {said!r} is not NAMESPACE/SERVICE, in names as Kubernetes has them"
        )
    return ServiceKey(names[0], names[1], "predictor", "")


def topics_declared(declarations: Declarations) -> Iterator[str]:
    """The topics that are declared by name."""
    return (topic for topic in declarations.by_topic if topic != EVERY_TOPIC)
