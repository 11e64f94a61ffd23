"""The JSON event format and its batches, against the specification and hostile bytes."""

import base64
import contextlib
import json
import sys
import time
from typing import Any

import pytest
from event_strategies import EVENTS
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import read_events
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.json_format import Refusal, decode, decode_batch, encode, encode_batch


@given(EVENTS)
def test_round_trip(event: CloudEvent) -> None:
    body = encode(event)
    json.loads(body, parse_constant=pytest.fail)
    assert decode(body) == event


@given(st.lists(EVENTS, max_size=5), st.data())
def test_batch_round_trip(events: list[CloudEvent], data: st.DataObject) -> None:
    body = encode_batch(events)
    assert list(decode_batch(body)) == events
    spaced = b"\xef\xbb\xbf \n" + body.replace(b"}, {", b"}\r\n,\t{") if events else body
    assert len(list(decode_batch(spaced))) == len(events)


def _structured(**changed: Any) -> bytes:
    envelope = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", **changed}
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"\xff",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"data":' + b"9" * 5000 + b"}",
        _structured().decode().encode("utf-16"),
        _structured(id=None),
        _structured(id=""),
        _structured(specversion="0.4"),
        _structured(specversion=0.2),
        _structured(specversion=1.0),
        _structured(id=1.5),
        _structured(id=["x"]),
        _structured(subject={"x": 1}),
        _structured(Upper="x"),
        _structured(x="\ud800"),
        _structured(datacontenttype="a\r\nb"),
        _structured(datacontenttype="text/plain", data="\ud800"),
        _structured(data_base64="!"),
        _structured(data_base64="A"),
        _structured(data_base64=1),
        _structured(data_base64=["AA=="]),
        _structured(data_base64="ü"),
        _structured(data=1, data_base64="AA=="),
        _structured()[:-1] + b', "id": "2"}',
        _structured() + b" x",
    ],
)
def test_structured_messages_that_are_no_event(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode(body)


@pytest.mark.parametrize(
    ("members", "data", "content_type"),
    [
        ({}, b"", None),
        ({"data": None}, b"", None),
        ({"data_base64": None}, b"", None),
        ({"data_base64": ""}, b"", None),
        ({"data_base64": "AP8="}, b"\x00\xff", None),
        ({"data_base64": "AP8=", "datacontenttype": "x/y"}, b"\x00\xff", "x/y"),
        ({"data": {"a": [1, "é"]}}, b'{"a": [1, "\\u00e9"]}', "application/json"),
        ({"data": "text"}, b'"text"', "application/json"),
        ({"data": "text", "datacontenttype": None}, b'"text"', "application/json"),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text", "text/plain"),
        ({"data": "é", "datacontenttype": "text/plain"}, "é".encode(), "text/plain"),
        ({"data": "text", "datacontenttype": "a/b+json; c=d"}, b'"text"', "a/b+json; c=d"),
        ({"data": [1], "datacontenttype": "text/plain"}, b"[1]", "text/plain"),
        ({"data": False}, b"false", "application/json"),
        ({"data": 0}, b"0", "application/json"),
    ],
)
def test_structured_data(members: dict[str, Any], data: bytes, content_type: str | None) -> None:
    event = decode(_structured(**members))
    assert (event.data, event.datacontenttype) == (data, content_type)


@pytest.mark.parametrize(
    "data",
    [b"1.10", b"1e400", b"-0.0", b'{"a" : 1.0000000000000000001 ,"a":2}', b'["\\u00e9", "\\/"]', b'"},{"', b"NaN"],
)
def test_json_data_is_neither_reparsed_nor_rounded(data: bytes) -> None:
    body = b'\xef\xbb\xbf {\n "specversion" : "1.0","data":\t' + data + b' ,"id":"1", "source":"s","type":"t" }\r\n'
    assert decode(body).data == data


def test_attributes_take_their_canonical_form() -> None:
    event = decode(_structured(yes=True, no=False, count=-3, nothing=None, subject="s"))
    assert event.extensions == {"yes": "true", "no": "false", "count": "-3"}
    assert event.subject == "s"


@given(
    st.dictionaries(st.text(max_size=4), st.none() | st.floats() | st.text() | st.lists(st.text()), max_size=3),
    st.data(),
)
def test_no_envelope_raises_anything_but_malformed(members: dict[str, Any], data: st.DataObject) -> None:
    attribute = data.draw(st.sampled_from(["id", "data", "data_base64", "datacontenttype", "time", "specversion"]))
    value = data.draw(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()))
    with contextlib.suppress(MalformedEvent):
        encode_binary(decode(_structured(**{**members, attribute: value})))


def test_data_that_is_no_json_travels_as_base64() -> None:
    event = CloudEvent(id="1", source="s", type="t", data=b"\x00\xff", datacontenttype="application/json")
    assert json.loads(encode(event))["data_base64"] == base64.b64encode(b"\x00\xff").decode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON"),
        (b"{}", "not a JSON array"),
        (b"null", "not a JSON array"),
        (b'"["', "not a JSON array"),
        (b"[{}", "JSON"),
        (b"[{},]", "JSON"),
        (b"[] []", "JSON"),
        (b"\xff[]", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[" + b"9" * 5000 + b"]", "JSON"),
    ],
)
def test_batches_that_are_none(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        decode_batch(body)


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('"{}"', "not a JSON object"),
        ("{}", "specversion"),
        ('{"specversion": "1.0", "id": "1", "source": "s"}', "'type'"),
        ('{"specversion": "1.0", "id": "1", "id": "1", "source": "s", "type": "t"}', "twice"),
        ('{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data_base64": "!"}', "base64"),
    ],
)
def test_an_event_of_a_batch_is_refused_alone(element: str, reason: str) -> None:
    good = _structured().decode()
    events = list(decode_batch(f" [{good},\n{element} , {good}]".encode()))
    assert events[0] == events[2] == decode(good.encode())
    refused = events[1]
    assert isinstance(refused, Refusal)
    assert refused.index == 1
    assert reason in refused.reason


def test_data_in_a_batch_is_neither_reparsed_nor_rounded() -> None:
    texts = ["1.10", '{"a" : 1.0000000000000000001 ,"a":2}', '"},{"', "[ ]", "1e400"]
    elements = [_structured().decode()[:-1] + f', "data":{text} }}' for text in texts]
    events = decode_batch(f"[{','.join(elements)}]".encode())
    assert [event.data.decode() for event in events if isinstance(event, CloudEvent)] == texts


@given(st.binary() | st.lists(st.sampled_from([*"[]{},: 1", '"data"', '"id"', "null"])).map("".join).map(str.encode))
def test_no_batch_raises_anything_but_malformed(body: bytes) -> None:
    with contextlib.suppress(MalformedEvent):
        assert all(isinstance(event, CloudEvent | Refusal) for event in decode_batch(b"[" + body + b"]"))


_PIECES = st.sampled_from(
    [*'[]{},:" \t\n\x0b', "1", "-", "null", "NaN", '"data"', '"id"', '"\\u00e9"', "\ufeff", "\u00a0"]
)
_NEARLY_JSON = st.lists(_PIECES).map("".join) | st.tuples(
    st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)).map(
        json.dumps
    ),
    st.integers(0, 50),
    _PIECES,
).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :])


@given(_NEARLY_JSON)
def test_what_is_json_is_what_pythons_own_reader_takes(text: str) -> None:
    body = text.encode()
    try:
        json.loads(body.decode("utf-8-sig"))
        valid = True
    except ValueError:
        valid = False
    for read in (decode, decode_batch):
        reason = ""
        try:
            read(body)
        except MalformedEvent as exc:
            reason = str(exc)
        assert ("cannot be read as JSON" in reason) is not valid


def test_a_member_given_twice_is_found_among_very_many_at_once() -> None:
    many = ",".join(f'"a{number}":0' for number in range(100_000))
    began = time.perf_counter()
    with pytest.raises(MalformedEvent, match="'z' is given twice"):
        decode(f'{{{many},"z":1,"z":2}}'.encode())
    assert time.perf_counter() - began < 5, "one event of a megabyte may not hold up all others"


@pytest.mark.parametrize("opening", ['"extensions":{"a":', '"context":{"specversion":"1.0"},"extensions":{"a":'])
def test_no_depth_raises_anything_but_malformed(opening: str) -> None:
    head = '{"cloudEventsVersion":"0.1","eventID":"1","source":"s","eventType":"t",'
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):  # between two looks at the same text
        body = f"{head}{opening}{'[' * depth}{']' * depth}}}}}".encode()
        with contextlib.suppress(MalformedEvent):
            decode(body)
        list(read_events(body))
