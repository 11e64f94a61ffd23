"""CloudEvents in Kafka messages, both modes, against the specification and hostile bytes."""

import pytest
from event_strategies import EVENTS
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import (
    OVERHEAD_BYTES,
    KafkaRecord,
    decode,
    encode,
    encode_structured,
    message_key,
)
from wayside.eventing.vocabulary import INFERENCE_SERVICE, NAMESPACE

MINIMAL = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", b"t")]


@given(EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype=""))
def test_round_trip(event: CloudEvent) -> None:
    assert decode(*encode(event)) == event
    assert message_key(event)


@given(EVENTS)
def test_structured_round_trip(event: CloudEvent) -> None:
    headers, value = encode_structured(event)
    assert decode(headers, value) == event
    assert (
        decode([("Content-Type", b"Application/CloudEvents+JSON; charset=utf-8"), ("ce_id", b"other")], value) == event
    )


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in MINIMAL] + ["content-type", "ce_X"]), st.binary())))
def test_hostile_headers_are_refused_and_nothing_else(headers: list[tuple[str, bytes | None]]) -> None:
    try:
        decode(headers, b"")
    except MalformedEvent as exc:
        assert str(exc)  # noqa: PT017 - anything else would fail


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "specversion"),
        (MINIMAL[:1], "'id'"),
        ([*MINIMAL, ("ce_id", b"2")], "twice"),
        ([*MINIMAL, ("ce_subject", b"\xff")], "UTF-8"),
        ([*MINIMAL, ("ce_Bad", b"x")], "not allowed"),
        ([("ce_specversion", b"0.4"), *MINIMAL[1:]], "not supported"),
        ([("content-type", b"application/cloudevents-batch+json")], "not supported"),
        ([("content-type", b"application/cloudevents+json")], "JSON"),
    ],
)
def test_what_is_no_event(headers: list[tuple[str, bytes | None]], reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        decode(headers, b"x")


def test_a_tombstone_is_an_event_without_data_and_an_empty_header_none() -> None:
    event = decode([*MINIMAL, ("ce_subject", None), ("Content-Type", b"text/plain"), ("other", b"\xff")], None)
    assert (event.data, event.subject, event.datacontenttype) == (b"", None, "text/plain")


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (b"", None, None),
        (b"", "text/plain", b""),
        (b"", "application/cloudevents+json", ...),
        (b"x", None, b"x"),
    ],
)
def test_an_event_without_data_has_no_value(data: bytes, content_type: str | None, value: object) -> None:
    _, encoded = encode(CloudEvent("1", "s", "t", data, datacontenttype=content_type))
    assert encoded if value is ... else encoded == value


def test_a_record_is_as_large_as_all_that_is_in_it() -> None:
    headers: list[tuple[str, bytes | None]] = [("name", b"12345678"), ("é", None)]
    assert KafkaRecord("t", 0, 0).size_bytes == OVERHEAD_BYTES
    assert KafkaRecord("t", 0, 0, headers, b"key", b"value").size_bytes == OVERHEAD_BYTES + 4 + 8 + 1 + 3 + 5


def test_keys_go_by_service_unless_the_event_asks_for_another() -> None:
    def key(**extensions: str) -> bytes:
        return message_key(CloudEvent("1", "src", "t", extensions=extensions))

    assert key(**{NAMESPACE: "ns", INFERENCE_SERVICE: "digits", "endpoint": "canary"}) == b"ns/digits"
    assert key(**{NAMESPACE: "ns", INFERENCE_SERVICE: "digits", "partitionkey": "mine"}) == b"mine"
    assert key() == b"src"
    assert key(**{NAMESPACE: "a", INFERENCE_SERVICE: "b/c"}) != key(**{NAMESPACE: "a/b", INFERENCE_SERVICE: "c"})
    assert key(**{NAMESPACE: "a"}) != key(**{INFERENCE_SERVICE: "a"})
