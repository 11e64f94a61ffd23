"""CloudEvents in HTTP messages, every mode, against the specification and hostile bytes."""

import contextlib
import json

import pytest
from event_strategies import EVENTS, HOSTILE, JSON_TEXTS, Headers
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import (
    decode,
    decode_batched,
    encode_batched,
    encode_binary,
    encode_structured,
    escape,
    is_event,
)
from wayside.eventing.json_format import Refusal
from wayside.eventing.vocabulary import REQUEST

_KSERVE: Headers = [
    (b"Ce-Id", b"5011cc37-0749-4899-8422-f7ac39898cee"),
    (b"Ce-Source", b"http://localhost:9081/"),
    (b"Ce-Specversion", b"1.0"),
    (b"Ce-Type", REQUEST.encode()),
    (b"Ce-Time", b"2020-11-25T08:45:32.947168928Z"),
    (b"Ce-Endpoint", b""),
    (b"Ce-Namespace", b"kfserving-test"),
    (b"Ce-Metadata", b'{"X-Request-Id":["a b"],"X-Half":["100%","50%25"]}'),
    (b"Ce-Traceparent", b"00-8dafd130bae82f9e470a43da22340b56-839d6d891e0d1343-00"),
    (b"Content-Type", b"application/json"),
]


@given(EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype=""))
def test_binary_mode_round_trip(event: CloudEvent) -> None:
    headers, body = encode_binary(event)
    assert is_event(headers)
    assert decode(headers, body) == event


@given(EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype="application/json", data=b"1.10"))
@example(CloudEvent(id="a", source="b", type="c", datacontenttype="application/json", data=b"1e400"))
def test_structured_mode_round_trip(event: CloudEvent) -> None:
    headers, body = encode_structured(event)
    assert is_event(headers)
    json.loads(body, parse_constant=pytest.fail)
    assert decode(headers, body) == event


@given(st.lists(EVENTS, max_size=4))
def test_batched_mode_round_trip(events: list[CloudEvent]) -> None:
    headers, body = encode_batched(events)
    assert is_event(headers)
    assert decode_batched(headers, body) == events
    with pytest.raises(MalformedEvent, match="batch"):
        decode(headers, body)


@given(EVENTS)
def test_a_message_of_one_event_is_a_batch_of_one(event: CloudEvent) -> None:
    assert decode_batched(*encode_binary(event)) == [event] == decode_batched(*encode_structured(event))


def test_a_batch_names_each_refused_event_by_its_index() -> None:
    good = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    body = json.dumps([good, {**good, "id": ""}, 5, {**good, "id": "4", "specversion": "0.2"}]).encode()
    events = decode_batched([(b"Content-Type", b"Application/CloudEvents-Batch+JSON; charset=UTF-8")], body)
    assert [type(event) for event in events] == [CloudEvent, Refusal, Refusal, CloudEvent]
    assert [event.index for event in events if isinstance(event, Refusal)] == [1, 2]


@given(HOSTILE)
def test_no_value_can_end_its_header(value: str) -> None:
    encoded = escape(value)
    assert all(0x20 <= byte < 0x7F for byte in encoded)
    assert encoded == encoded.strip()
    assert not encoded.startswith(b'"')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b"%e2%82%ac", "€"),
        (b'"quoted \\"text\\""', 'quoted "text"'),
        (b'"half', '"half'),
        (b'"a","b"', '"a","b"'),
        (b'{"a":["b c"]}', '{"a":["b c"]}'),
        (b"%2525", "%25"),
        (b"100%", "100%"),
        (b"%zz", "%zz"),
        (b"%E2%82", "%E2%82"),
        (b"%FF", "%FF"),
        ("raw €".encode(), "raw €"),
        (b"", ""),
    ],
)
def test_header_values_are_read_as_the_specification_says(value: bytes, text: str) -> None:
    headers = [
        (b"ce-id", b"1"),
        (b"ce-source", b"s"),
        (b"ce-type", b"t"),
        (b"ce-specversion", b"1.0"),
        (b"ce-x", value),
    ]
    assert decode(headers, b"").extensions == {"x": text}


def test_an_event_of_kserves_logger_is_read_and_its_bytes_kept() -> None:
    body = b'{ "instances" : [[6.80, 2.8e0]] }\n'
    event = decode(_KSERVE, body)
    assert event.key == ("http://localhost:9081/", "5011cc37-0749-4899-8422-f7ac39898cee", REQUEST)
    assert event.data == body
    assert event.datacontenttype == "application/json"
    assert event.time == "2020-11-25T08:45:32.947168928Z"
    assert event.extensions == {
        "endpoint": "",
        "namespace": "kfserving-test",
        "metadata": '{"X-Request-Id":["a b"],"X-Half":["100%","50%"]}',
        "traceparent": "00-8dafd130bae82f9e470a43da22340b56-839d6d891e0d1343-00",
    }


def _binary(**changed: bytes | None) -> Headers:
    given = {"ce-id": b"1", "ce-source": b"s", "ce-type": b"t", "ce-specversion": b"1.0", **changed}
    return [(name.encode(), value) for name, value in given.items() if value is not None]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "specversion"),
        (_binary(**{"ce-specversion": None}), "specversion"),
        (_binary(**{"ce-specversion": b"0.4"}), "0.4"),
        (_binary(**{"ce-specversion": b"2.0"}), "2.0"),
        (_binary(**{"ce-specversion": b"1.0 "}), "1.0 "),
        (_binary(**{"ce-id": None}), "'id'"),
        (_binary(**{"ce-id": b""}), "'id'"),
        (_binary(**{"ce-source": None}), "'source'"),
        (_binary(**{"ce-type": b""}), "'type'"),
        ([*_binary(), (b"CE-ID", b"2")], "twice"),
        (_binary(**{"ce-data": b"x"}), "'data'"),
        (_binary(**{"ce-": b"x"}), "extension name"),
        (_binary(**{"ce-a-b": b"x"}), "extension name"),
        (_binary(**{"ce-x": b"\xff"}), "UTF-8"),
        ([*_binary(), (b"ce-\xff", b"x")], "UTF-8"),
        (_binary(**{"content-type": b"\xff"}), "UTF-8"),
        (_binary(**{"content-type": b"a\0b"}), "control"),
        (_binary(**{"content-type": b"application/cloudevents-batch+json"}), "batch"),
        (_binary(**{"content-type": b"application/cloudevents+avro"}), "avro"),
        (_binary(**{"content-type": b"application/cloudevents\xff"}), "UTF-8"),
    ],
)
def test_binary_messages_that_are_no_event(headers: Headers, reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        decode(headers, b"")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"CE-SpecVersion", b"1.0")], True),
        ([(b"CE-CloudEventsVersion", b"0.1")], True),
        ([(b"Content-Type", b"application/cloudevents-batch+json")], True),
        ([(b"Content-Type", b"Application/CloudEvents+json; charset=utf-8")], True),
        ([(b"content-type", b"application/json")], False),
        ([(b"ce-id", b"1")], False),
        ([], False),
    ],
)
def test_what_claims_to_be_an_event(headers: Headers, expected: bool) -> None:
    assert is_event(headers) is expected


_FUZZED_HEADERS = st.lists(
    st.tuples(
        st.binary(max_size=12)
        | st.sampled_from(
            [b"ce-id", b"ce-source", b"ce-type", b"ce-specversion", b"ce-data", b"content-type", b"ce-eventID"]
        ),
        st.binary(max_size=24)
        | st.sampled_from([b"1.0", b"application/cloudevents+json", b"%ff", b'"\\', b"0.1", b"0.2", b"0.3"]),
    )
)
_FUZZED_BODIES = (
    st.binary()
    | JSON_TEXTS
    | st.lists(st.sampled_from([*list('{}[]:,"\\ 1e'), '"id"', '"data"'])).map(lambda parts: "".join(parts).encode())
)


@given(_FUZZED_HEADERS, _FUZZED_BODIES)
def test_no_bytes_raise_anything_but_malformed(headers: Headers, body: bytes) -> None:
    for each in (headers, [(b"content-type", b"application/cloudevents+json")], _KSERVE + headers):
        with contextlib.suppress(MalformedEvent):
            decode(each, body)
        with contextlib.suppress(MalformedEvent):
            decode_batched(each, body)
