"""What must hold for any message that claims to carry events: shared by hypothesis and by the coverage-guided fuzzer.

An input is a line for each header, an empty line, and the body; its first byte chooses the binding that reads it.
"""

from collections.abc import Callable, Iterable

from wayside.eventing import http_binding, json_format
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.json_format import Refusal
from wayside.eventing.kafka import binding as kafka_binding

Headers = list[tuple[bytes, bytes]]
Read = Callable[[Headers, bytes], Iterable[CloudEvent | Refusal]]


def check(message: bytes) -> list[CloudEvent]:
    """Read a message by one binding: events, or `MalformedEvent`. Every event is the same again by each carrier."""
    headers, body = _parted(message[1:])
    read = READERS[message[0] % len(READERS)] if message else _read_http
    try:
        events = [event for event in read(headers, body) if isinstance(event, CloudEvent)]
    except MalformedEvent:
        return []
    for event in events:
        _check_event(event)
    return events


def _parted(message: bytes) -> tuple[Headers, bytes]:
    head, _, body = message.partition(b"\n\n")
    lines = (line.partition(b":") for line in head.split(b"\n"))
    return [(name, value) for name, _, value in lines], body


def _check_event(event: CloudEvent) -> None:
    for encode in (http_binding.encode_binary, http_binding.encode_structured):
        headers, body = encode(event)
        assert all(b"\r" not in field and b"\n" not in field for pair in headers for field in pair)
        assert http_binding.is_event(headers)
        assert http_binding.decode(headers, body) == event
        assert http_binding.decode_batched(headers, body) == [event]
    for encode_record in (kafka_binding.encode, kafka_binding.encode_structured):
        assert kafka_binding.decode(*encode_record(event)) == event
    assert list(json_format.decode_batch(json_format.encode_batch([event]))) == [event]


def _read_http(headers: Headers, body: bytes) -> Iterable[CloudEvent | Refusal]:
    return [http_binding.decode(headers, body)]


def _read_batched(headers: Headers, body: bytes) -> Iterable[CloudEvent | Refusal]:
    return http_binding.decode_batched(headers, body)


def _read_json(_: Headers, body: bytes) -> Iterable[CloudEvent | Refusal]:
    return [json_format.decode(body)]


def _read_json_batch(_: Headers, body: bytes) -> Iterable[CloudEvent | Refusal]:
    return json_format.decode_batch(body)


def _read_kafka(headers: Headers, body: bytes) -> Iterable[CloudEvent | Refusal]:
    return [kafka_binding.decode([(name.decode("latin-1"), value) for name, value in headers], body or None)]


READERS: tuple[Read, ...] = (_read_http, _read_batched, _read_json, _read_json_batch, _read_kafka)
