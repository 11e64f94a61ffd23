"""Heads of posted events: the binding's headers, or values as KServe's agent writes them; never a line break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode, encode_binary
from wayside.logger.emit.event_heads import HeadWriter

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NASTY = st.text(st.sampled_from('a |"%\r\n\t\x00\x7f\x85é€😀{}:,'), max_size=12)
VALUES = TEXT | NASTY
NAMES = st.sampled_from(["a", "b1", "metadata", "requestid", "traceparent", "endpoint"])
EVENTS = st.builds(
    CloudEvent,
    id=VALUES.filter(bool),
    source=VALUES.filter(bool),
    type=VALUES.filter(bool),
    data=st.binary(max_size=20),
    time=st.none() | VALUES,
    datacontenttype=st.none() | st.sampled_from(["text/plain; charset=utf-8", "x/ü", "application/cloudevents+json"]),
    dataschema=st.none() | VALUES,
    subject=st.none() | VALUES,
    extensions=st.dictionaries(NAMES, VALUES, max_size=4),
)


def read(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    assert head.endswith(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    assert not any(byte in line for line in lines for byte in b"\r\n\x00")
    return first, [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


@given(st.lists(EVENTS, max_size=4))
def test_a_head_holds_what_the_binding_says(events: list[CloudEvent]) -> None:
    writer = HeadWriter("/ns/broker?q=%7B1", "broker:80")
    for event in events:
        head, body = writer.message(event)
        first, headers = read(head)
        expected, expected_body = encode_binary(event)
        assert first == b"POST /ns/broker?q=%7B1 HTTP/1.1"
        assert sorted(headers) == sorted(
            [*expected, (b"host", b"broker:80"), (b"content-length", b"%d" % len(expected_body))]
        )
        assert body == expected_body
        assert decode(headers, body) == decode(expected, expected_body)


@given(EVENTS)
def test_raw_values_travel_as_they_are_and_end_no_line(event: CloudEvent) -> None:
    head, _ = HeadWriter("/", "h", raw_values=True).message(event)
    read(head)


def test_raw_values_are_those_of_the_agent() -> None:
    given = '{"a": "100%", "ü": 1}'
    event = CloudEvent("1", "s", "t", extensions={"metadata": given, "bad": "a\r\nb: c\tд"})
    _, headers = read(HeadWriter("/", "h", raw_values=True).message(event)[0])
    assert dict(headers)[b"ce-metadata"] == given.encode()
    assert dict(headers)[b"ce-bad"] == "a%0D%0Ab: c\tд".encode()


def test_many_shapes_of_events_are_forgotten_again() -> None:
    writer = HeadWriter("/", "h")
    for number in range(1000):
        head, _ = writer.message(CloudEvent("1", "s", "t", extensions={f"x{number}": "1"}))
        assert b"ce-x%d: 1\r\n" % number in head


@pytest.mark.parametrize("value", ['"x"', " x", "x ", "a|", "| x", '|"', "x |", "%41", "a b", 'a"b'])
def test_values_that_need_a_look(value: str) -> None:
    event = CloudEvent("1", "s", "t", extensions={"a": value, "b": value})
    _, headers = read(HeadWriter("/", "h").message(event)[0])
    assert decode(headers, b"") == event
