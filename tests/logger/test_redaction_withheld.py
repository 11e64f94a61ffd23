"""Bodies that cannot be read without doubt lose their data; headers; compression after redaction."""

import gzip
import json
import random
import zlib
from typing import Any

import pytest
from redaction_stage import MASK, answer_with, event_with, hashed, redacted

from wayside.eventing import vocabulary as words
from wayside.eventing.payloads.encoding import inflate
from wayside.eventing.payloads.payload import Limits
from wayside.logger.redaction.compression import compressed
from wayside.logger.redaction.redactor import APPLIED, WITHHELD, Redactor, bare
from wayside.logger.redaction.rules import parse_rule

_SSN = b'"ssn":"078-05-1120"'
_TEXT_STREAM = "text/event-stream"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{" + _SSN, "application/json"),
        (b"{" + _SSN + b"} {}", "application/json"),
        (b"{" + _SSN + b"}\n{" + _SSN + b"}\n", "application/x-ndjson"),
        (b'{"ssn":"1",' + _SSN + b"}", "application/json"),
        (b'{"a":{"b":1,"b":2},' + _SSN + b"}", "application/json"),
        (b"{" + _SSN + b',"a":' + b"[" * 70 + b"]" * 70 + b"}", "application/json"),
        (b"[" * 1_000_000, "application/json"),
        (b"{" + _SSN + b',"a":"\\ud800"}', "application/json"),
        (b"{" + _SSN + b',"a":"\xff"}', "application/json"),
        (b"{" + _SSN + b',"a":01}', "application/json"),
        (b"{" + _SSN + b',"a":' + b"9" * 5000 + b"}", "application/json"),
        ("{" + _SSN.decode() + "}", "application/json; charset=utf-16"),
        (b"ssn=078-05-1120&a=1", "application/x-www-form-urlencoded"),
        (b'--x\r\nContent-Disposition: form-data; name="ssn"\r\n\r\n078\r\n--x--', "multipart/form-data; boundary=x"),
        (b"My number is 078-05-1120", "text/plain"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        (b"\x80\x04\x95pickle", None),
        (b"ssn,a\n078,1\n", "text/csv"),
        (b"data: {" + _SSN + b"}\ndata: {}\n\n", _TEXT_STREAM),
        (b"data: {" + _SSN + b"\n\n", _TEXT_STREAM),
        (b"data: My number is 078-05-1120\n\n", _TEXT_STREAM),
        (b"data: {}\nssn: 078-05-1120\n\n", _TEXT_STREAM),
        (b"data: {}\n\n{" + _SSN + b"}", _TEXT_STREAM),
        (b'{"columns":[["ssn","x"]],"data":[[1]]}', "application/json"),
        (b'{"names":["ssn"],"data":{"ndarray":[[1]]}}', "application/json"),
        (
            b'{"inputs":[{"name":"ssn","shape":[1],"datatype":"INT32","parameters":{"shared_memory_region":"x"},'
            b'"contents":{"intContents":[42]}}]}',
            "application/json",
        ),
        (
            b'{"inputs":[{"name":"ssn","shape":[1],"datatype":"INT32","data":[0],"contents":{"intContents":[42]}}]}',
            "application/json",
        ),
        (b'{"data":{"names":["ssn"],"tftensor":{"stringVal":["MDc4"]}}}', "application/json"),
        (b'{"data":{"names":["ssn","b"],"ndarray":[[1,2],[3]]}}', "application/json"),
        (b'{"data":{"names":["ssn"],"ndarray":[1,2]}}', "application/json"),
        (b'{"data":{"names":["ssn"],"tensor":{"shape":[2,2],"values":[1,2,3,4]}}}', "application/json"),
        (
            b'{"inputs":[{"name":"ssn","shape":[1],"datatype":"BYTES","contents":{"bytesContents":["MDc4"]}}]}',
            "application/json",
        ),
        (
            b'{"inputs":[{"name":"ssn","shape":[1],"datatype":"INT8"}],"rawInputContents":["MDc4"]}',
            "application/json",
        ),
    ],
)
@pytest.mark.parametrize("rule", ["column:ssn=mask", "column:ssn=drop"])
def test_a_body_that_cannot_be_read_is_emitted_without_data(body: bytes | str, content_type: str, rule: str) -> None:
    data = body.encode("utf-16") if isinstance(body, str) else body
    event = redacted(answer_with(data, content_type, inferenceheaderlength="4"), rule)
    plain = redacted(event_with(data, content_type), rule)
    for each in (event, plain):
        assert each.data == b""
        assert each.extensions == {words.METADATA: "{}", words.REDACTION: WITHHELD}
    assert (plain.id, plain.source, plain.datacontenttype) == ("7", "pod", content_type)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"{" + _SSN + b"}", mtime=0)[:-3], "gzip"),
        (b"{" + _SSN + b"}", "gzip"),
        (b"{" + _SSN + b"}", "br"),
        (b"{" + _SSN + b"}", "zstd"),
        (zlib.compress(b"{" + _SSN + b"}") + b"x", "deflate"),
        (gzip.compress(b"[" + b" " * (33 << 20) + b"]", mtime=0), "gzip"),
    ],
)
def test_a_body_that_does_not_inflate_is_withheld(body: bytes, encoding: str) -> None:
    event = redacted(event_with(body, contentencoding=encoding), "column:ssn=drop")
    assert (event.data, dict(event.extensions)) == (b"", {words.METADATA: "{}", words.REDACTION: WITHHELD})


@pytest.mark.parametrize(
    "body", [b"", b"  \r\n", b'"078-05-1120"', b'"1]secret"', b"78", b"null", b"[]", b"{}", b'{"a":NaN,"b":1e999}']
)
def test_what_is_read_and_has_no_such_place_passes(body: bytes) -> None:
    event = event_with(body)
    assert redacted(event, "column:ssn=mask", "pointer:/ssn=drop", "pointer:/0=mask", "pointer:/*/x=mask") is event


def test_the_beginning_of_a_body_is_withheld_though_it_reads_well() -> None:
    assert redacted(event_with(b"{}", truncated="true"), "pointer:/ssn=mask").extensions[words.REDACTION] == WITHHELD


def test_header_rules_alone_never_look_at_a_body() -> None:
    event = redacted(
        event_with(b"\xff{", metadata='{"X-User":["Ann"],"B":["1"]}', truncated="true"), "header:x-USER=mask"
    )
    assert event.data == b"\xff{"
    assert event.extensions[words.METADATA] == '{"X-User":["***"],"B":["1"]}'
    assert event.extensions[words.REDACTION] == APPLIED


def test_a_withheld_event_has_its_headers_redacted_too() -> None:
    event = redacted(event_with(b"?", metadata='{"X-User":["Ann"]}'), "header:x-user=drop", "column:a=drop")
    assert dict(event.extensions) == {words.METADATA: "{}", words.REDACTION: WITHHELD}


_HEADERS = {
    words.REQUEST_ID: "r-1",
    words.CLIENT_EVENT_ID: "c-1",
    words.TRACE_PARENT: "00-1-1-01",
    words.TRACE_STATE: "a=b",
}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        ("header:X-Request-Id=drop", {words.REQUEST_ID: None}),
        ("header:x-request-id=mask", {words.REQUEST_ID: MASK}),
        ("header:x-request-id=hash", {words.REQUEST_ID: hashed("r-1")}),
        ("header:Ce-Id=hash", {words.CLIENT_EVENT_ID: hashed("c-1")}),
        ("header:traceparent=hash", {words.TRACE_PARENT: None, words.TRACE_STATE: None}),
        ("header:tracestate=mask", {words.TRACE_STATE: None}),
        ("header:User-Id=drop", {words.METADATA: '{"A":["1","2"]}'}),
        ("header:a=hash", {words.METADATA: json.dumps({"A": [hashed("1"), hashed("2")], "User-Id": ["u"]})}),
    ],
)
def test_header_rules_act_on_every_extension_that_carries_one(rule: str, changed: dict[str, str | None]) -> None:
    metadata = '{"A":["1","2"],"User-Id":["u"]}'
    event = redacted(event_with(b"{}", metadata=metadata, **_HEADERS), rule)
    wanted: dict[str, Any] = {words.METADATA: metadata, **_HEADERS, **changed, words.REDACTION: APPLIED}
    found = {name: json.loads(value) if name == words.METADATA else value for name, value in event.extensions.items()}
    wanted[words.METADATA] = json.loads(wanted[words.METADATA])
    assert found == {name: value for name, value in wanted.items() if value is not None}


@pytest.mark.parametrize("metadata", ["[1]", "{", "3", "[" * 100_000])
def test_metadata_that_cannot_be_read_is_left_out(metadata: str) -> None:
    assert redacted(event_with(b"", metadata=metadata), "header:a=mask").extensions[words.METADATA] == "{}"


def test_where_redaction_itself_fails_nothing_of_a_client_is_left() -> None:
    event = bare(event_with(b"{}", metadata='{"A":["1"]}', namespace="n", contentencoding="gzip", **_HEADERS))
    assert event.data == b""
    assert dict(event.extensions) == {words.METADATA: "{}", "namespace": "n", words.REDACTION: WITHHELD}


def test_without_hashes_no_key_is_needed() -> None:
    assert Redactor([parse_rule("column:a=drop")]).redact(event_with(b"{}")) == event_with(b"{}")


def test_large_data_is_compressed_always_to_the_same_bytes() -> None:
    data = json.dumps([1.5] * 1000).encode()
    event = compressed(event_with(data))
    assert event.extensions[words.CONTENT_ENCODING] == "gzip"
    assert len(event.data) < len(data) / 10
    assert inflate(event.data, "gzip", Limits()) == data
    assert compressed(event_with(data)) == event


@pytest.mark.parametrize(
    "event",
    [
        event_with(b"a" * 1023),
        event_with(random.Random(1).randbytes(5000)),
        event_with(gzip.compress(b"a" * 10_000_000, mtime=0)),
        event_with(b"a" * 5000, contentencoding="br"),
    ],
    ids=["short", "grows", "gzip already", "another coding"],
)
def test_data_is_not_compressed_where_that_is_of_no_use(event: Any) -> None:
    assert compressed(event) is event
