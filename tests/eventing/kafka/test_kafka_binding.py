"""CloudEvents in Kafka messages, against the specification, the SDK and hostile bytes."""

import json

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import encode_structured
from wayside.eventing.kafka.binding import decode, encode, message_key
from wayside.eventing.vocabulary import INFERENCE_SERVICE, NAMESPACE

_HOSTILE = st.lists(st.sampled_from(["%", "%41", '"', " ", "\r\n", "\0", "é", "😀", "a"])).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"])
)
_NAMES = st.sampled_from(["namespace", "inferenceservicename", "partitionkey", "metadata", "x1"])
_EVENTS = st.builds(
    CloudEvent,
    id=_HOSTILE.filter(bool),
    source=_HOSTILE.filter(bool),
    type=_HOSTILE.filter(bool),
    data=st.binary(),
    time=st.none() | _HOSTILE,
    datacontenttype=st.sampled_from([None, "", "application/json", "text/plain; charset=utf-8"]),
    dataschema=st.none() | _HOSTILE,
    subject=st.none() | _HOSTILE,
    extensions=st.dictionaries(_NAMES, _HOSTILE, max_size=4),
)
MINIMAL = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", b"t")]


@given(_EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype=""))
def test_round_trip(event: CloudEvent) -> None:
    assert decode(*encode(event)) == event
    assert message_key(event)


@given(_EVENTS)
def test_structured_messages_are_read(event: CloudEvent) -> None:
    headers, value = encode_structured(event)
    assert decode([(name.decode(), text) for name, text in headers], value) == event


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in MINIMAL] + ["content-type", "ce_X"]), st.binary())))
def test_hostile_headers_are_refused_and_nothing_else(headers: list[tuple[str, bytes | None]]) -> None:
    try:
        decode(headers, b"")
    except MalformedEvent as exc:
        assert str(exc)  # noqa: PT017 - anything else would fail


def test_the_sdk_reads_what_we_write() -> None:
    event = CloudEvent("1", "/s", "t", b"\x00\xff", "2026-01-01T00:00:00Z", "application/octet-stream", None, "sub é")
    headers, value = encode(event)
    message = sdk.KafkaMessage(headers=dict(headers), key=None, value=value)
    read = sdk.from_binary(message, JSONFormat(), SdkEvent)
    assert (read.get_id(), read.get_source(), read.get_type()) == ("1", "/s", "t")
    assert (read.get_data(), read.get_subject(), read.get_datacontenttype()) == (
        event.data,
        "sub é",
        event.datacontenttype,
    )


@pytest.mark.parametrize("mode", [sdk.to_binary, sdk.to_structured])
def test_we_read_what_the_sdk_writes(mode: object) -> None:
    attributes = {"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "datacontenttype": "application/json"}
    written = mode(SdkEvent({**attributes, "subject": "é", "partitionkey": "p"}, {"a": 1}), JSONFormat())  # type: ignore[operator]
    read = decode(list(written.headers.items()), written.value)
    assert (read.id, read.subject, json.loads(read.data)) == ("1", "é", {"a": 1})
    key = written.key.encode() if isinstance(written.key, str) else written.key
    assert key in (message_key(read), None)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "specversion"),
        (MINIMAL[:1], "'id'"),
        ([*MINIMAL, ("ce_id", b"2")], "twice"),
        ([*MINIMAL, ("ce_subject", b"\xff")], "UTF-8"),
        ([*MINIMAL, ("ce_Bad", b"x")], "not allowed"),
        ([("ce_specversion", b"0.3"), *MINIMAL[1:]], "not supported"),
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


def test_keys_go_by_service_unless_the_event_asks_for_another() -> None:
    def key(**extensions: str) -> bytes:
        return message_key(CloudEvent("1", "src", "t", extensions=extensions))

    assert key(**{NAMESPACE: "ns", INFERENCE_SERVICE: "digits", "endpoint": "canary"}) == b"ns/digits"
    assert key(**{NAMESPACE: "ns", INFERENCE_SERVICE: "digits", "partitionkey": "mine"}) == b"mine"
    assert key() == b"src"
    assert key(**{NAMESPACE: "a", INFERENCE_SERVICE: "b/c"}) != key(**{NAMESPACE: "a/b", INFERENCE_SERVICE: "c"})
    assert key(**{NAMESPACE: "a"}) != key(**{INFERENCE_SERVICE: "a"})
