"""CloudEvents in HTTP messages, both modes, against the specification, the SDK and hostile bytes."""

import base64
import contextlib
import json
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import example, given
from hypothesis import strategies as st

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode, decode_structured, encode_binary, encode_structured, escape, is_event
from wayside.eventing.vocabulary import REQUEST

Headers = list[tuple[bytes, bytes]]
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_TOKENS = st.sampled_from(["%", "%41", "%e9", '"', '"quoted"', "\\", " ", "\r\nce-id: 2", "\0", "é", "😀", "{", "a"])
_HOSTILE = st.lists(_TOKENS).map("".join) | _TEXT
_REQUIRED = _HOSTILE.filter(bool)
_CONTENT_TYPE = st.sampled_from(["application/json", "text/plain; charset=utf-8", "a/b+json", "", "x/ü", "no type"])
_NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: (
        name not in dict.fromkeys(["id", "source", "type", "time", "subject", "specversion", "data", "dataschema"])
        and name != "datacontenttype"
    )
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
_EVENTS = st.builds(
    CloudEvent,
    id=_REQUIRED,
    source=_REQUIRED,
    type=_REQUIRED,
    data=st.binary() | _JSON | st.sampled_from([b"null", b" 1", b"1 ", b"1e5", b'"\\ud800"', b"NaN", b"\xef\xbb\xbf1"]),
    time=st.none() | _HOSTILE,
    datacontenttype=st.none() | _CONTENT_TYPE,
    dataschema=st.none() | _HOSTILE,
    subject=st.none() | _HOSTILE,
    extensions=st.dictionaries(_NAMES, _HOSTILE, max_size=4),
)
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


@given(_EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype=""))
def test_binary_mode_round_trip(event: CloudEvent) -> None:
    headers, body = encode_binary(event)
    assert is_event(headers)
    assert decode(headers, body) == event


@given(_EVENTS)
@example(CloudEvent(id="a", source="b", type="c", datacontenttype="application/json", data=b"1.10"))
@example(CloudEvent(id="a", source="b", type="c", datacontenttype="application/json", data=b"1e400"))
def test_structured_mode_round_trip(event: CloudEvent) -> None:
    headers, body = encode_structured(event)
    assert is_event(headers)
    json.loads(body, parse_constant=pytest.fail)
    assert decode(headers, body) == event


@given(_HOSTILE)
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
        (_binary(**{"ce-specversion": b"0.3"}), "0.3"),
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
        _structured(specversion="0.3"),
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
        decode([(b"content-type", b"application/cloudevents+json")], body)


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
    event = decode_structured(_structured(**members))
    assert (event.data, event.datacontenttype) == (data, content_type)


@pytest.mark.parametrize(
    "data",
    [b"1.10", b"1e400", b"-0.0", b'{"a" : 1.0000000000000000001 ,"a":2}', b'["\\u00e9", "\\/"]', b'"},{"', b"NaN"],
)
def test_json_data_is_neither_reparsed_nor_rounded(data: bytes) -> None:
    body = b'\xef\xbb\xbf {\n "specversion" : "1.0","data":\t' + data + b' ,"id":"1", "source":"s","type":"t" }\r\n'
    assert decode_structured(body).data == data


def test_attributes_take_their_canonical_form() -> None:
    event = decode_structured(_structured(yes=True, no=False, count=-3, nothing=None, subject="s"))
    assert event.extensions == {"yes": "true", "no": "false", "count": "-3"}
    assert event.subject == "s"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"CE-SpecVersion", b"1.0")], True),
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
        | st.sampled_from([b"ce-id", b"ce-source", b"ce-type", b"ce-specversion", b"ce-data", b"content-type"]),
        st.binary(max_size=24) | st.sampled_from([b"1.0", b"application/cloudevents+json", b"%ff", b'"\\']),
    )
)
_FUZZED_BODIES = (
    st.binary()
    | _JSON
    | st.lists(st.sampled_from([*list('{}[]:,"\\ 1e'), '"id"', '"data"'])).map(lambda parts: "".join(parts).encode())
)


@given(_FUZZED_HEADERS, _FUZZED_BODIES)
def test_no_bytes_raise_anything_but_malformed(headers: Headers, body: bytes) -> None:
    for each in (headers, [(b"content-type", b"application/cloudevents+json")], _KSERVE + headers):
        with contextlib.suppress(MalformedEvent):
            decode(each, body)


@given(
    st.dictionaries(st.text(max_size=4), st.none() | st.floats() | st.text() | st.lists(st.text()), max_size=3),
    st.data(),
)
def test_no_envelope_raises_anything_but_malformed(members: dict[str, Any], data: st.DataObject) -> None:
    attribute = data.draw(st.sampled_from(["id", "data", "data_base64", "datacontenttype", "time", "specversion"]))
    value = data.draw(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()))
    with contextlib.suppress(MalformedEvent):
        encode_binary(decode_structured(_structured(**{**members, attribute: value})))


_PLAIN = CloudEvent(
    id="1",
    source="/s",
    type=REQUEST,
    time="2020-11-25T08:45:32.947168Z",
    datacontenttype="application/json",
    subject='Euro € 100% "x"',
    data=b'{"instances":[[1.5,2]]}',
    extensions={"inferenceservicename": "digits", "metadata": '{"A":["b c"]}', "endpoint": ""},
)


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_the_sdk_reads_what_we_write(encode: Any) -> None:
    headers, body = encode(_PLAIN)
    message = sdk.HTTPMessage(headers={name.decode(): value.decode() for name, value in headers}, body=body)
    read = sdk.from_http(message, JSONFormat())
    assert (read.get_id(), read.get_source(), read.get_type()) == ("1", "/s", REQUEST)
    assert read.get_subject() == _PLAIN.subject
    assert read.get_data() == json.loads(_PLAIN.data)
    assert {name: read.get_extension(name) for name in _PLAIN.extensions} == _PLAIN.extensions


@pytest.mark.parametrize("write", [sdk.to_binary, sdk.to_structured])
@given(subject=_REQUIRED, extension=_HOSTILE)
def test_we_read_what_the_sdk_writes(write: Any, subject: str, extension: str) -> None:
    attributes = {
        "id": "1",
        "source": "/s",
        "type": REQUEST,
        "specversion": "1.0",
        "datacontenttype": "application/json",
    }
    written = write(
        SdkEvent({**attributes, "subject": subject, "metadata": extension}, {"instances": [[1.5, 2]]}), JSONFormat()
    )
    event = decode([(name.encode(), value.encode()) for name, value in written.headers.items()], written.body)
    assert event.key == ("/s", "1", REQUEST)
    assert event.subject == subject
    assert event.extensions == {"metadata": extension}
    assert json.loads(event.data) == {"instances": [[1.5, 2]]}


def test_data_that_is_no_json_travels_as_base64() -> None:
    event = CloudEvent(id="1", source="s", type="t", data=b"\x00\xff", datacontenttype="application/json")
    assert json.loads(encode_structured(event)[1])["data_base64"] == base64.b64encode(b"\x00\xff").decode()
