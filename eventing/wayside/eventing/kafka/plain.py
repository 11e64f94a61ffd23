"""Kafka records that are no CloudEvents, made into events: inference streams that never were HTTP.

Source: eventing-kafka-broker's KafkaSource (InvalidCloudEventInterceptor) for the names; what is declared is ours.
Invariant: one record makes one event, always the same one; its value is the data, byte for byte, and every header
travels along.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wayside.eventing.clock import format_time
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import CONTENT_TYPE, KafkaRecord
from wayside.eventing.payloads.payload import Kind, Protocol
from wayside.eventing.vocabulary import (
    FEEDBACK,
    KAFKA_KEY,
    KAFKA_RECORD,
    PARTITION_KEY,
    PAYLOAD_PROTOCOL,
    REQUEST,
    RESPONSE,
    ServiceKey,
)

HEADER_PREFIX = "kafkaheader"
# the years 1 to 9999, which RFC 3339 can write; a record's timestamp is any 64-bit integer that its producer liked
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999
_NOT_A_NAME = re.compile(r"[^a-z0-9]")
_TYPES: Mapping[Kind, str] = {Kind.REQUEST: REQUEST, Kind.RESPONSE: RESPONSE, Kind.FEEDBACK: FEEDBACK}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the records of a topic are: bodies of one kind, in one payload protocol, of one inference service.

    Raises `ConfigurationError` for a kind that no plain record can be.
    """

    kind: Kind
    protocol: Protocol
    service: ServiceKey

    def __post_init__(self) -> None:
        if self.kind not in _TYPES:
            raise ConfigurationError(f"plain records cannot be a {self.kind}: declare {', '.join(_TYPES)}")

    def extensions(self) -> dict[str, str]:
        return {**self.service.extensions(), PAYLOAD_PROTOCOL: self.protocol.value}


@dataclass(frozen=True, slots=True)
class RecordSource:
    """Who reads the records: a name in a namespace, as a KafkaSource has them. It is part of each event's identity."""

    namespace: str
    name: str

    def source(self, topic: str) -> str:
        return f"/apis/v1/namespaces/{self.namespace}/kafkasources/{self.name}#{topic}"


def event_of(record: KafkaRecord, reader: RecordSource, declared: Declaration | None = None) -> CloudEvent:
    """The event of a record: KafkaSource's `dev.knative.kafka.event`, or the inference event that is declared.

    A key or header that is not UTF-8 travels as base64. Of headers of one name the last counts, as in KafkaSource; the
    content type keeps its case, unlike there. A record without a timestamp, or with one outside the years 1 to
    9999, makes an event without a time.
    """
    content_type = next((value for name, value in record.headers if _is_content_type(name) and value is not None), None)
    return CloudEvent(
        id=f"partition:{record.partition}/offset:{record.offset}",
        source=reader.source(record.topic),
        type=_TYPES[declared.kind] if declared else KAFKA_RECORD,
        subject=f"partition:{record.partition}#{record.offset}",
        time=_time(record.timestamp_ms),
        datacontenttype=None if content_type is None else _text(content_type),
        data=record.value or b"",
        extensions={**_key(record.key), **dict(_headers(record)), **(declared.extensions() if declared else {})},
    )


def _time(timestamp_ms: int | None) -> str | None:
    if timestamp_ms is None or not _FIRST_MS <= timestamp_ms <= _LAST_MS:
        return None
    return format_time(timestamp_ms * 1_000_000)


def _key(key: bytes | None) -> dict[str, str]:
    return {} if key is None else {PARTITION_KEY: _text(key), KAFKA_KEY: _text(key)}


def _headers(record: KafkaRecord) -> Iterator[tuple[str, str]]:
    for name, value in record.headers:
        if value is not None and not _is_content_type(name):
            yield HEADER_PREFIX + _NOT_A_NAME.sub("", name.lower()), _text(value)


def _is_content_type(name: str) -> bool:
    return name.lower() == CONTENT_TYPE


def _text(value: bytes) -> str:
    """CloudEvents 1.0, section 3.2: text as it is, other bytes as base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
