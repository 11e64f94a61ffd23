"""Kafka records that are no CloudEvents: KafkaSource's mapping, and what a declaration adds."""

import pytest
from event_strategies import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import decode, encode
from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.plain import Declaration, RecordSource, event_of
from wayside.eventing.payloads.payload import Kind, Protocol
from wayside.eventing.vocabulary import FEEDBACK, REQUEST, RESPONSE, ServiceKey

_READER = RecordSource("ns", "stream")
_SERVICE = ServiceKey("ns", "digits", "predictor", "default")
_RECORD = KafkaRecord(
    topic="rows",
    partition=3,
    offset=7,
    headers=[("Content-Type", b"Application/JSON"), ("X-Trace_Id", b"t1"), ("gone", None), ("raw", b"\xff")],
    key=b"k",
    value=b'{"instances": [[1.10]]}',
    timestamp_ms=1_700_000_000_123,
)
_AS_KAFKA_SOURCE = CloudEvent(
    id="partition:3/offset:7",
    source="/apis/v1/namespaces/ns/kafkasources/stream#rows",
    type="dev.knative.kafka.event",
    subject="partition:3#7",
    time="2023-11-14T22:13:20.123000000Z",
    datacontenttype="Application/JSON",
    data=b'{"instances": [[1.10]]}',
    extensions={"partitionkey": "k", "key": "k", "kafkaheaderxtraceid": "t1", "kafkaheaderraw": "/w=="},
)


def test_undeclared_records_are_what_kafka_source_makes_of_them() -> None:
    assert event_of(_RECORD, _READER) == _AS_KAFKA_SOURCE


@pytest.mark.parametrize(
    ("kind", "type_"), [(Kind.REQUEST, REQUEST), (Kind.RESPONSE, RESPONSE), (Kind.FEEDBACK, FEEDBACK)]
)
@pytest.mark.parametrize("protocol", Protocol)
def test_declared_records_are_inference_events(kind: Kind, protocol: Protocol, type_: str) -> None:
    event = event_of(_RECORD, _READER, Declaration(kind, protocol, _SERVICE))
    assert event.type == type_
    assert ServiceKey.of(event) == _SERVICE
    assert event.extensions["payloadprotocol"] == protocol.value
    assert (event.id, event.source, event.data) == (_AS_KAFKA_SOURCE.id, _AS_KAFKA_SOURCE.source, _RECORD.value)
    assert set(_AS_KAFKA_SOURCE.extensions.items()) <= set(event.extensions.items())


def test_a_verdict_is_no_plain_record() -> None:
    with pytest.raises(ConfigurationError, match="cannot be a verdict"):
        Declaration(Kind.VERDICT, Protocol.DETECTOR, _SERVICE)


def test_a_record_of_nothing_is_an_event_of_nothing() -> None:
    event = event_of(KafkaRecord("t", 0, 0), _READER)
    assert (event.data, event.time, event.datacontenttype, event.extensions) == (b"", None, None, {})


@pytest.mark.parametrize(
    ("timestamp_ms", "time"),
    [
        (-62_135_596_800_000, "0001-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999000000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999000000Z"),
        (-62_135_596_800_001, None),
        (253_402_300_800_000, None),
        (1 << 60, None),
        (-(1 << 63), None),
    ],
)
def test_a_timestamp_that_no_time_can_write_is_no_time(timestamp_ms: int, time: str | None) -> None:
    assert event_of(KafkaRecord("t", 0, 0, timestamp_ms=timestamp_ms), _READER).time == time


def test_a_binary_key_travels_as_base64() -> None:
    assert event_of(KafkaRecord("t", 0, 0, key=b"\xff\x00"), _READER).extensions["key"] == "/wA="


@given(
    st.lists(st.tuples(HOSTILE, st.none() | st.binary()), max_size=5),
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_every_record_makes_an_event_that_can_be_sent(
    headers: list[tuple[str, bytes | None]], key: bytes | None, value: bytes | None, timestamp_ms: int | None
) -> None:
    record = KafkaRecord("t", 1, 2, headers, key, value, timestamp_ms)
    event = event_of(record, _READER)
    assert event == event_of(record, _READER)
    assert event.data == (value or b"")
    assert decode(encode(event)) == event
