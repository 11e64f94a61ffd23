"""Files of logged events: every form, refusals in their place, and no payload taken for an event."""

import json
from typing import Any

import pytest
from event_strategies import EVENTS
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent
from wayside.eventing.event_files import Refusal, looks_like_events, read_events
from wayside.eventing.json_format import encode, encode_batch

_EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
_OLD: dict[str, Any] = {"cloudEventsVersion": "0.1", "eventID": "1", "source": "s", "eventType": "t"}
_AS_READ = CloudEvent(id="1", source="s", type="t")


def _one(shown: Any) -> CloudEvent | Refusal:
    [event] = read_events(json.dumps(shown).encode())
    return event


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_lines_and_arrays_of_structured_events(events: list[CloudEvent]) -> None:
    lines = b"\n".join(encode(event) for event in events)
    assert looks_like_events(lines)
    assert list(read_events(lines)) == events
    assert list(read_events(b"\xef\xbb\xbf" + lines.replace(b"\n", b"\r\n \n") + b"\n")) == events
    array = encode_batch(events)
    assert looks_like_events(array)
    assert list(read_events(b" " + array + b"\n")) == events


@pytest.mark.parametrize("data", ["[1]", "\n[1]", '\n{"x": 1}\n'])
def test_one_object_over_lines(data: str) -> None:
    text = f'{json.dumps(_EVENT, indent=2)[:-1]}, "data": {data} }}\n'.encode()
    assert looks_like_events(text)
    [event] = read_events(text)
    assert isinstance(event, CloudEvent)
    assert event.data.decode() == data.strip()
    [refused] = read_events(text.replace(b'"id"', b'"name"'))
    assert refused == Refusal(0, "required attribute 'id' is missing or empty")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"context": _EVENT}, _AS_READ),
        ({"context": _EVENT, "extensions": None, "data": None}, _AS_READ),
        ({"context": _EVENT, "extensions": {"endpoint": "", "n": 5}}, _AS_READ.with_extensions(endpoint="", n="5")),
        ({"context": _EVENT, "parsed": True, "origin": {"a": 1}}, _AS_READ),
        ({"context": _OLD, "extensions": {}}, _AS_READ.with_extensions(upgradedfrom="0.1")),
        ({"context": _OLD, "extensions": {"myExt": [1]}}, _AS_READ.with_extensions(upgradedfrom="0.1", myext="[1]")),
    ],
)
def test_events_in_display_form(shown: dict[str, Any], expected: CloudEvent) -> None:
    assert looks_like_events(json.dumps(shown).encode())
    assert _one(shown) == expected


def test_an_extension_may_repeat_the_context_which_counts() -> None:
    event = _one({"context": _EVENT | {"datacontenttype": "a/b"}, "extensions": {"datacontenttype": "c/d", "id": "2"}})
    assert isinstance(event, CloudEvent)
    assert (event.id, event.datacontenttype, event.extensions) == ("1", "a/b", {})


@pytest.mark.parametrize("data", ["1.10", '{"a" : 1.0000000000000000001 ,"a":2}', "[1e400, NaN]", '"\\u00e9"', "false"])
def test_data_is_the_text_of_the_file(data: str) -> None:
    shown = f'{{"origin": "x", "context": {json.dumps(_EVENT)}, "data" : {data} , "parsed": true}}'
    for text in (shown, f"[{shown}]", f"{shown}\n{shown}"):
        assert {event.data.decode() for event in read_events(text.encode()) if isinstance(event, CloudEvent)} == {data}


def test_text_data_of_no_json_type_is_the_text() -> None:
    event = _one({"context": _EVENT | {"datacontenttype": "text/plain"}, "data": "é"})
    assert isinstance(event, CloudEvent)
    assert event.data == "é".encode()


def test_what_cannot_be_read_is_refused_in_its_place() -> None:
    good = json.dumps(_EVENT).encode()
    text = b"\n".join([good, b"", b"{", b'{"specversion": "1.0"}', b"[]", good])
    first, broken, empty, listed, last = read_events(text)
    assert first == last == _AS_READ
    assert list(read_events(b"{torn\n" + good))[1] == _AS_READ
    assert [event.index for event in (broken, empty, listed) if isinstance(event, Refusal)] == [1, 2, 3]
    assert isinstance(broken, Refusal)
    assert broken.reason.startswith("line 3: structured event cannot be read as JSON")
    assert isinstance(empty, Refusal)
    assert empty.reason == "line 4: required attribute 'id' is missing or empty"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[{]", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b"\xff", "JSON"),
        (b"5", "not a JSON object"),
        (b'{"context": {}, "data": 1}', "specversion"),
        (b'{"context": [], "data": 1}', "'context'"),
        (b'{"context": {"specversion": "1.0"}, "extensions": 5}', "'extensions' is not a JSON object"),
        (b'{"context": {"id": "1", "id": "2"}}', "twice"),
    ],
)
def test_files_that_hold_no_event(text: bytes, reason: str) -> None:
    [refused] = read_events(text)
    assert isinstance(refused, Refusal)
    assert reason in refused.reason


def test_an_empty_array_holds_no_events() -> None:
    assert list(read_events(b" [ ] ")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"instances": [[1, 2]]}',
        b'{"instances": [{"specversion": "1.0", "type": "t", "id": "1", "source": "s"}]}',
        b'{"instances": [1], "specversion": "1.0"}',
        b'{"inputs": [{"name": "specversion", "datatype": "BYTES", "shape": [1], "data": ["\\"specversion\\""]}]}',
        b'{"jsonData": {"specversion": "1.0", "type": "t"}}',
        b'{"data": {"ndarray": [["specversion"]]}, "meta": {"tags": {"specversion": "1.0", "type": "t"}}}',
        b'{"context": {"a": 1}, "specversion": "1.0", "type": "t"}',
        b'{"messages": [{"role": "user", "content": "{\\"specversion\\": \\"1.0\\"}"}]}',
        b'[["specversion"]]',
        b'"specversion"',
        b'{"specversion": {"type": 1}, "type": "t"}',
        b"\xff" * 9 + b'"specversion"',
        b'"specversion"' + b"[" * 100_000,
        b"[" * 100_000 + b'"specversion"',
    ],
)
def test_no_payload_looks_like_events(body: bytes) -> None:
    assert not looks_like_events(body)


@given(
    st.binary()
    | st.lists(st.sampled_from([*'{}[]:,"1\n ', '"context"', '"specversion"', '"data"'])).map("".join).map(str.encode)
)
def test_no_file_raises(text: bytes) -> None:
    looks_like_events(text)
    for event in read_events(text):
        assert isinstance(event, CloudEvent | Refusal)
