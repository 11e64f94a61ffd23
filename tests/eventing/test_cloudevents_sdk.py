"""Wayside's codecs beside the `cloudevents` SDK: alike wherever the SDK keeps the bytes, and each place where it does
not, named and shown. docs/events.md lists what `test_divergence_*` prove.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk_http
from cloudevents.core.bindings import kafka as sdk_kafka
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v03.event import CloudEvent as SdkEvent03
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from event_strategies import DATA, HOSTILE, NAMES, REQUIRED
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing import http_binding
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka import binding as kafka
from wayside.eventing.sdk import from_sdk, to_sdk

_JSON = JSONFormat()
_TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat().replace("+00:00", "Z"))
_KEPT = st.builds(
    CloudEvent,
    id=REQUIRED,
    source=REQUIRED,
    type=REQUIRED,
    data=DATA,
    time=_TIMES,
    datacontenttype=st.sampled_from(["application/octet-stream", "image/png", "application/json"]),
    dataschema=st.none() | REQUIRED,
    subject=st.none() | REQUIRED,
    extensions=st.dictionaries(NAMES, HOSTILE, max_size=4),
)
_EVENT = CloudEvent(
    id="1", source="/s", type="t", time="2020-11-25T08:45:32.947168Z", datacontenttype="application/json", data=b"[1]"
)
_BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


def _http_of_sdk(message: sdk_http.HTTPMessage) -> tuple[http_binding.Headers, bytes]:
    return [(name.encode(), value.encode()) for name, value in message.headers.items()], message.body


def _http_for_sdk(headers: http_binding.Headers, body: bytes) -> sdk_http.HTTPMessage:
    return sdk_http.HTTPMessage({name.decode(): value.decode() for name, value in headers}, body)


def _kafka_of_sdk(message: sdk_kafka.KafkaMessage) -> tuple[list[tuple[str, bytes]], bytes]:
    return list(message.headers.items()), message.value


def _attributes(event: CloudEvent) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(event.attributes())
    return attributes | {"time": datetime.fromisoformat(attributes["time"])}


# What the SDK keeps.


@given(_KEPT)
def test_converted_there_and_back(event: CloudEvent) -> None:
    converted = to_sdk(event)
    assert converted.get_data() == (event.data or None)
    assert dict(converted.get_attributes()) == _attributes(event)
    assert from_sdk(converted) == event


@pytest.mark.parametrize("write", [sdk_http.to_binary, sdk_http.to_structured])
@given(_KEPT)
def test_we_read_over_http_what_the_sdk_writes(write: Callable[..., Any], event: CloudEvent) -> None:
    assert http_binding.decode(*_http_of_sdk(write(to_sdk(event), _JSON))) == event


@pytest.mark.parametrize("write", [sdk_kafka.to_binary, sdk_kafka.to_structured])
@given(_KEPT)
def test_we_read_from_kafka_what_the_sdk_writes(write: Callable[..., Any], event: CloudEvent) -> None:
    assert kafka.decode(*_kafka_of_sdk(write(to_sdk(event), _JSON))) == event


@pytest.mark.parametrize("encode", [http_binding.encode_binary, http_binding.encode_structured])
@given(_KEPT)
def test_the_sdk_reads_over_http_the_attributes_that_we_write(encode: Callable[..., Any], event: CloudEvent) -> None:
    read = sdk_http.from_http(_http_for_sdk(*encode(event)), _JSON)
    assert dict(read.get_attributes()) == _attributes(event)


@pytest.mark.parametrize("encode", [kafka.encode, kafka.encode_structured])
@given(_KEPT)
def test_the_sdk_reads_from_kafka_the_attributes_that_we_write(encode: Callable[..., Any], event: CloudEvent) -> None:
    headers, value = encode(event)
    read = sdk_kafka.from_kafka(sdk_kafka.KafkaMessage(dict(headers), None, value), _JSON)
    assert dict(read.get_attributes()) == _attributes(event)


@given(st.binary().filter(lambda data: data and not _is_text(data)))
def test_the_sdk_reads_bytes_that_are_no_text(data: bytes) -> None:
    event = CloudEvent(id="1", source="s", type="t", time=_EVENT.time, datacontenttype="image/png", data=data)
    for message in (http_binding.encode_binary(event), http_binding.encode_structured(event)):
        assert sdk_http.from_http(_http_for_sdk(*message), _JSON).get_data() == data


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


# Conversions: what cannot cross is refused, and what is written is told.


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"time": "2020-11-25T08:45:32.947168928Z"}, "cut_time=True"),
        ({"time": "2020-11-25T08:45:32.0000001Z"}, "cut_time=True"),
        ({"time": "2016-12-31T23:59:60Z"}, "leap second"),
        ({"time": "noon"}, "RFC 3339"),
        ({"time": ""}, "RFC 3339"),
        ({"subject": ""}, "subject"),
        ({"datacontenttype": ""}, "datacontenttype"),
        ({"dataschema": ""}, "dataschema"),
    ],
)
def test_what_the_sdk_cannot_hold_is_refused(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        to_sdk(CloudEvent(id="1", source="s", type="t", **changed))  # type: ignore[arg-type]


def test_a_finer_time_is_cut_where_asked() -> None:
    event = CloudEvent(id="1", source="s", type="t", time="2020-11-25T08:45:32.947168928Z")
    assert to_sdk(event, cut_time=True).get_time() == datetime(2020, 11, 25, 8, 45, 32, 947168, UTC)


@pytest.mark.parametrize(
    "time", ["2020-11-25T08:45:32.5000000Z", "2020-11-25t08:45:32.5z", "2020-11-25T10:15:32.5+01:30"]
)
def test_the_moment_survives_though_not_its_spelling(time: str) -> None:
    converted = to_sdk(CloudEvent(id="1", source="s", type="t", time=time))
    assert converted.get_time() == datetime(2020, 11, 25, 8, 45, 32, 500000, UTC)
    assert from_sdk(converted).time in ("2020-11-25T08:45:32.500000Z", "2020-11-25T10:15:32.500000+01:30")


def test_no_time_stays_no_time() -> None:
    event = CloudEvent(id="1", source="s", type="t")
    assert to_sdk(event).get_time() is None
    assert from_sdk(to_sdk(event)) == event
    assert "ce-time" not in sdk_http.to_binary(to_sdk(event), _JSON).headers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (b"\x00\xff", "AP8="),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00Z"),
        (datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=-3))), "2020-01-02T00:00:00-03:00"),
    ],
)
def test_extensions_take_their_canonical_form(value: Any, text: str) -> None:
    event = SdkEvent({"source": "s", "type": "t", "ext": value})
    assert from_sdk(event).extensions == {"ext": text}


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}, datetime(2020, 1, 2)])  # noqa: DTZ001 - that is what is refused
def test_extensions_that_no_event_can_carry_are_refused(value: Any) -> None:
    with pytest.raises(MalformedEvent, match="'ext' is a"):
        from_sdk(SdkEvent({"source": "s", "type": "t", "ext": value}))


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (None, None, b""),
        (b"\x00", "application/json", b"\x00"),
        ("é", "application/json", "é".encode()),
        ({"a": [1, "é"]}, None, b'{"a": [1, "\\u00e9"]}'),
        ([1, 2], "application/vnd.x+json; charset=utf-8", b"[1, 2]"),
    ],
)
def test_data_of_the_sdk(data: Any, content_type: str | None, expected: bytes) -> None:
    attributes = {"source": "s", "type": "t"} | ({"datacontenttype": content_type} if content_type else {})
    assert from_sdk(SdkEvent(attributes, data)).data == expected


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        ({"a": 1}, "text/plain", "give bytes"),
        ({"a": object()}, None, "cannot be written as JSON"),
        ({"a": float("nan")}, None, "cannot be written as JSON"),
        ("\ud800", None, "surrogate"),
    ],
)
def test_data_that_cannot_be_written_is_refused(data: Any, content_type: str | None, reason: str) -> None:
    attributes = {"source": "s", "type": "t"} | ({"datacontenttype": content_type} if content_type else {})
    with pytest.raises(MalformedEvent, match=reason):
        from_sdk(SdkEvent(attributes, data))


def test_events_of_03_are_upgraded() -> None:
    old = SdkEvent03(
        {
            "specversion": "0.3",
            "id": "1",
            "source": "s",
            "type": "t",
            "time": datetime(2020, 1, 2, tzinfo=UTC),
            "schemaurl": "/schema",
            "datacontentencoding": "base64",
            "datacontenttype": "a/b",
        },
        b"\x00\xff",
    )
    assert from_sdk(old) == CloudEvent(
        "1", "s", "t", b"\x00\xff", "2020-01-02T00:00:00Z", "a/b", "/schema", None, {"upgradedfrom": "0.3"}
    )


def test_without_the_sdk_the_extra_is_named() -> None:
    program = "import sys; sys.modules['cloudevents'] = None; import wayside.eventing.sdk"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingExtra: the cloudevents SDK needs the extra 'cloudevents'" in done.stderr


# Where the SDK changes what passes, or takes what is no event. One test a divergence.


def _received(headers: dict[str, str], body: bytes = b"") -> Any:
    return sdk_http.from_http(sdk_http.HTTPMessage(headers, body), _JSON)


def test_divergence_the_mode_is_told_by_any_ce_header() -> None:
    headers, body = http_binding.encode_structured(_EVENT)
    headers += [(b"ce-id", b"2")]
    assert http_binding.decode(headers, body) == _EVENT
    with pytest.raises(CloudEventValidationError):
        sdk_http.from_http(_http_for_sdk(headers, body), _JSON)


@pytest.mark.parametrize(("missing", "invented"), [("ce-id", "id"), ("ce-specversion", "specversion")])
def test_divergence_what_is_missing_is_invented(missing: str, invented: str) -> None:
    headers = {name: value for name, value in _BINARY.items() if name != missing}
    assert _received(headers).get_attributes()[invented]
    with pytest.raises(MalformedEvent, match=invented):
        http_binding.decode([(name.encode(), value.encode()) for name, value in headers.items()], b"")


def test_divergence_a_missing_time_is_invented() -> None:
    assert _received(_BINARY).get_time() is not None
    assert http_binding.decode([(name.encode(), value.encode()) for name, value in _BINARY.items()], b"").time is None


@pytest.mark.parametrize("body", [b'{"a" : 1.10}', b'{"a": 1e400}', b'{"a":1,"a":2}', b'["x"]', '"é"'.encode()])
def test_divergence_json_is_written_anew(body: bytes) -> None:
    received = _received(_BINARY | {"content-type": "application/json"}, body)
    assert sdk_http.to_binary(received, _JSON).body != body
    headers = [(name.encode(), value.encode()) for name, value in _BINARY.items()]
    assert http_binding.encode_binary(http_binding.decode(headers, body))[1] == body


def test_divergence_data_in_lists_is_written_as_python() -> None:
    event = SdkEvent({"source": "s", "type": "t", "datacontenttype": "application/json"}, ["a"])  # type: ignore[arg-type]
    assert sdk_http.to_binary(event, _JSON).body == b"['a']"
    assert from_sdk(event).data == b'["a"]'


def test_divergence_times_are_cut_to_microseconds() -> None:
    fine = "2020-11-25T08:45:32.947168928Z"
    received = _received(_BINARY | {"ce-time": fine})
    assert sdk_http.to_binary(received, _JSON).headers["ce-time"] == "2020-11-25T08:45:32.947168Z"
    event = http_binding.decode([(b"ce-time", fine.encode()), *_headers(_BINARY)], b"")
    assert dict(http_binding.encode_binary(event)[0])[b"ce-time"] == fine.encode()


def _headers(headers: dict[str, str]) -> http_binding.Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def test_divergence_times_that_are_none_raise_bare_errors() -> None:
    with pytest.raises(ValueError, match="noon"):
        _received(_BINARY | {"ce-time": "noon"})
    assert http_binding.decode([(b"ce-time", b"noon"), *_headers(_BINARY)], b"").time == "noon"


def test_divergence_booleans_are_written_as_python() -> None:
    event = SdkEvent({"source": "s", "type": "t", "flag": True})
    assert sdk_http.to_binary(event, _JSON).headers["ce-flag"] == "True"
    assert from_sdk(event).extensions["flag"] == "true"


def test_divergence_text_is_told_from_bytes_by_looking() -> None:
    received = _received(_BINARY | {"content-type": "application/octet-stream"}, b"text")
    assert received.get_data() == "text"
    event = http_binding.decode([(b"content-type", b"application/octet-stream"), *_headers(_BINARY)], b"text")
    assert event.data == b"text"


def test_divergence_base64_is_read_with_its_errors() -> None:
    body = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data_base64": "AP8=!!"}'
    headers = {"content-type": "application/cloudevents+json"}
    assert _received(headers, body).get_data() == b"\x00\xff"
    with pytest.raises(MalformedEvent, match="base64"):
        http_binding.decode(_headers(headers), body)


def test_divergence_a_member_given_twice_is_taken_once() -> None:
    body = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "id": "2"}'
    headers = {"content-type": "application/cloudevents+json"}
    assert _received(headers, body).get_id() == "2"
    with pytest.raises(MalformedEvent, match="twice"):
        http_binding.decode(_headers(headers), body)


def test_divergence_batches_raise_bare_errors() -> None:
    headers, body = http_binding.encode_batched([_EVENT])
    with pytest.raises(AttributeError):
        sdk_http.from_http(_http_for_sdk(headers, body), _JSON)
    assert http_binding.decode_batched(headers, body) == [_EVENT]


def test_divergence_data_that_is_an_event_is_written_in_binary_mode() -> None:
    inner = b'{"specversion": "1.0", "id": "2", "source": "/inner", "type": "t"}'
    event = CloudEvent(id="1", source="s", type="t", time=_EVENT.time, datacontenttype="application/cloudevents+json")
    event = replace(event, data=inner)
    written = _http_of_sdk(sdk_http.to_binary(to_sdk(event), _JSON))
    assert http_binding.decode(*written).id == "2", "the specification tells the mode by the content type"
    assert http_binding.decode(*http_binding.encode_binary(event)) == event
    on_kafka = _kafka_of_sdk(sdk_kafka.to_binary(to_sdk(event), _JSON))
    assert kafka.decode(*on_kafka).id == "2"
    assert kafka.decode(*kafka.encode(event)) == event


def test_divergence_quoted_values_are_not_unquoted() -> None:
    headers = _BINARY | {"ce-subject": '"quoted"'}
    assert _received(headers).get_subject() == '"quoted"'
    assert http_binding.decode(_headers(headers), b"").subject == "quoted"


def test_divergence_a_percent_that_encodes_no_text_is_replaced() -> None:
    headers = _BINARY | {"ce-ext": "50%FF"}
    assert _received(headers).get_extension("ext") == "50\ufffd"
    assert http_binding.decode(_headers(headers), b"").extensions["ext"] == "50%FF"


def test_divergence_empty_optional_attributes_are_refused() -> None:
    headers = _BINARY | {"ce-subject": ""}
    with pytest.raises(CloudEventValidationError):
        _received(headers)
    assert http_binding.decode(_headers(headers), b"").subject == ""


def test_divergence_versions_01_and_02_are_refused() -> None:
    headers = _BINARY | {"ce-specversion": "0.2"}
    with pytest.raises(CloudEventValidationError):
        _received(headers)
    assert http_binding.decode(_headers(headers), b"").extensions == {"upgradedfrom": "0.2"}


def test_divergence_kafka_headers_are_a_dict() -> None:
    headers, value = kafka.encode(_EVENT)
    twice: Any = [*headers, ("ce_id", b"2")]
    with pytest.raises(AttributeError):
        sdk_kafka.from_kafka(sdk_kafka.KafkaMessage(twice, None, value), _JSON)
    assert sdk_kafka.from_kafka(sdk_kafka.KafkaMessage(dict(twice), None, value), _JSON).get_id() == "2"
    with pytest.raises(MalformedEvent, match="twice"):
        kafka.decode(twice, value)


def test_divergence_a_kafka_header_without_value_raises_a_bare_error() -> None:
    headers: dict[str, Any] = dict(kafka.encode(_EVENT)[0])
    with pytest.raises(AttributeError):
        sdk_kafka.from_kafka(sdk_kafka.KafkaMessage(headers | {"ce_subject": None}, None, b""), _JSON)
    assert kafka.decode([*headers.items(), ("ce_subject", None)], None).subject is None


@given(st.binary(min_size=1))
def test_divergence_bytes_of_json_travel_as_base64(data: bytes) -> None:
    event = CloudEvent(id="1", source="s", type="t", datacontenttype="application/json", data=data)
    assert "data_base64" in json.loads(sdk_http.to_structured(to_sdk(event), _JSON).body)
    assert json.loads(http_binding.encode_structured(_EVENT)[1])["data"] == [1]
