"""Events of CloudEvents 0.1 to 0.3, as their specifications and the senders of their time wrote them."""

import json
from typing import Any

import pytest
from event_strategies import HOSTILE, REQUIRED, Headers
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing import http_binding, json_format
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka import binding as kafka
from wayside.eventing.versions import event_of, older_version, upgrade

_BODY = b'{ "instances" : [[6.80, 2.8e0]] }\n'
_UPGRADED = CloudEvent(
    id="i",
    source="/s",
    type="t",
    data=_BODY,
    time="2019-10-20T14:36:01.54878345Z",
    datacontenttype="application/json",
    dataschema="/schema",
)


def _raised(version: str, **extensions: str) -> CloudEvent:
    return _UPGRADED.with_extensions(upgradedfrom=version, **extensions)


_SPEC_01: Headers = [
    (b"CE-CloudEventsVersion", b'"0.1"'),
    (b"CE-EventType", b'"t"'),
    (b"CE-EventTypeVersion", b'"1.5"'),
    (b"CE-EventTime", b'"2019-10-20T14:36:01.54878345Z"'),
    (b"CE-EventID", b'"i"'),
    (b"CE-Source", b'"/s"'),
    (b"CE-SchemaURL", b'"/schema"'),
    (b"CE-X-TestExtension", b'"a \\"quoted\\" \\u00e9 %E2%82%AC"'),
    (b"CE-X-Count", b"5"),
    (b"CE-X-Map", b'{"a": [1, 2.50]}'),
    (b"Content-Type", b"application/json"),
]
_GO_01: Headers = [
    (b"Ce-Cloudeventsversion", b"0.1"),
    (b"Ce-Eventtype", b"t"),
    (b"Ce-Eventtime", b"2019-10-20T14:36:01.54878345Z"),
    (b"Ce-Eventid", b"i"),
    (b"Ce-Source", b"/s"),
    (b"Ce-Dataschema", b"/schema"),
    (b"Ce-X-Knativehistory", b'"channel"'),
    (b"Content-Type", b"application/json"),
]
_GO_02: Headers = [
    (b"Ce-Specversion", b"0.2"),
    (b"Ce-Type", b"t"),
    (b"Ce-Time", b"2019-10-20T14:36:01.54878345Z"),
    (b"Ce-Id", b"i"),
    (b"Ce-Source", b"/s"),
    (b"Ce-Schemaurl", b"/schema"),
    (b"Ce-Knativehistory", b'"channel \\u003c 100%"'),
    (b"Ce-Trace-Id", b'"x"'),
    (b"Ce-Flag", b"true"),
    (b"Content-Type", b"application/json"),
]
_GO_03: Headers = [
    (b"Ce-Specversion", b"0.3"),
    (b"Ce-Type", b"t"),
    (b"Ce-Time", b"2019-10-20T14:36:01.54878345Z"),
    (b"Ce-Id", b"i"),
    (b"Ce-Source", b"/s"),
    (b"Ce-Schemaurl", b"/schema"),
    (b"Ce-Datacontentencoding", b"base64"),
    (b"Ce-Traceparent", b"00-e0-62-00"),
    (b"Content-Type", b"application/json"),
]
# Seldon's engine, 2019: version 0.2, and yet the id by its name in 0.1
_SELDON_ENGINE: Headers = [
    (b"CE-SpecVersion", b"0.2"),
    (b"CE-Type", b"t"),
    (b"CE-Time", b"2019-10-20T14:36:01.54878345Z"),
    (b"CE-EventID", b"i"),
    (b"CE-Source", b"/s"),
    (b"ce-schemaurl", b"/schema"),
    (b"Content-Type", b"application/json"),
]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            _SPEC_01,
            _raised("0.1", eventtypeversion="1.5", testextension='a "quoted" é €', count="5", map='{"a": [1, 2.50]}'),
        ),
        (_GO_01, _raised("0.1", knativehistory="channel")),
        (_GO_02, _raised("0.2", knativehistory="channel < 100%", traceid="x", flag="true")),
        (_GO_03, _raised("0.3", datacontentencoding="base64", traceparent="00-e0-62-00")),
        (_SELDON_ENGINE, _raised("0.2")),
    ],
)
def test_binary_http(headers: Headers, expected: CloudEvent) -> None:
    assert http_binding.is_event(headers)
    for order in (headers, headers[::-1]):
        assert http_binding.decode(order, _BODY) == expected


_ENVELOPE_01 = {
    "cloudEventsVersion": "0.1",
    "eventType": "t",
    "eventTypeVersion": "1.5",
    "source": "/s",
    "eventID": "i",
    "eventTime": "2019-10-20T14:36:01.54878345Z",
    "schemaURL": "/schema",
    "contentType": "application/json",
    "extensions": {"comExampleExtension": "value", "n": 5, "none": None},
}
_ENVELOPE_02 = {
    "specversion": "0.2",
    "type": "t",
    "source": "/s",
    "id": "i",
    "time": "2019-10-20T14:36:01.54878345Z",
    "schemaurl": "/schema",
    "contenttype": "application/json",
    "comexampleextension2": {"otherValue": 5.0},
}
_ENVELOPE_03 = {
    "specversion": "0.3",
    "type": "t",
    "source": "/s",
    "id": "i",
    "time": "2019-10-20T14:36:01.54878345Z",
    "schemaurl": "/schema",
    "datacontenttype": "application/json",
    "subject": "sub",
}


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (_ENVELOPE_01, _raised("0.1", eventtypeversion="1.5", comexampleextension="value", n="5")),
        (_ENVELOPE_02, _raised("0.2", comexampleextension2='{"otherValue": 5.0}')),
        (
            _ENVELOPE_02 | {"extensions": {"inBag": [1]}},
            _raised("0.2", comexampleextension2='{"otherValue": 5.0}', inbag="[1]"),
        ),
    ],
)
def test_structured(envelope: dict[str, Any], expected: CloudEvent) -> None:
    body = json.dumps(envelope).encode()[:-1] + b', "data": ' + _BODY.strip() + b" }"
    assert json_format.decode(body).data == _BODY.strip()
    assert json_format.decode(body).with_extensions() == CloudEvent.from_attributes(
        dict(expected.attributes()), _BODY.strip()
    )


@pytest.mark.parametrize(
    ("envelope", "data", "expected"),
    [
        (_ENVELOPE_03, {"data": "AP8=", "datacontentencoding": "Base64", "datacontenttype": "a/b"}, b"\x00\xff"),
        (_ENVELOPE_03, {"data": "eyJhIjoxfQ==", "datacontentencoding": "base64"}, b'{"a":1}'),
        (_ENVELOPE_03, {"data": "AP8=", "datacontentencoding": "8bit", "datacontenttype": "a/b"}, b"AP8="),
        (_ENVELOPE_02, {"data": "AP8=", "contenttype": "application/octet-stream"}, b"\x00\xff"),
        (_ENVELOPE_02, {"data": "plain text", "contenttype": "application/octet-stream"}, b"plain text"),
        (_ENVELOPE_02, {"data": "<much wow/>", "contenttype": "text/xml"}, b"<much wow/>"),
        (_ENVELOPE_02, {"data": "AP8=", "contenttype": "image/svg+xml; x=y"}, b"AP8="),
        (_ENVELOPE_01, {"data": "AP8=", "contentType": "application/vnd.apache.thrift.binary"}, b"\x00\xff"),
        (_ENVELOPE_01, {"data": "text"}, b'"text"'),
        (_ENVELOPE_01, {"data": None}, b""),
        (_ENVELOPE_01, {"data_base64": "AP8="}, b"\x00\xff"),
        (_ENVELOPE_01, {}, b""),
    ],
)
def test_structured_data(envelope: dict[str, Any], data: dict[str, Any], expected: bytes) -> None:
    event = json_format.decode(json.dumps(envelope | data).encode())
    assert event.data == expected
    assert event.extensions.get("datacontentencoding") == ("8bit" if "8bit" in data.values() else None)


def test_text_that_claims_to_be_bytes_is_refused_by_name() -> None:
    body = json.dumps(_ENVELOPE_03 | {"data": "no!", "datacontentencoding": "base64"}).encode()
    with pytest.raises(MalformedEvent, match="'data' is not base64"):
        json_format.decode(body)


def test_data_given_twice_is_refused() -> None:
    with pytest.raises(MalformedEvent, match="both 'data' and 'data_base64'"):
        json_format.decode(json.dumps(_ENVELOPE_02 | {"data": "a", "data_base64": "AA=="}).encode())


def test_kafka() -> None:
    headers = [(f"ce_{name}", value.encode()) for name, value in _ENVELOPE_03.items() if name != "datacontenttype"]
    event = kafka.decode([*headers, ("ce_knativeHistory", b"c"), ("content-type", b"application/json")], _BODY)
    assert event == CloudEvent.from_attributes(
        dict(_raised("0.3", knativehistory="c").attributes()) | {"subject": "sub"}, _BODY
    )
    bag = [("ce_cloudEventsVersion", b"0.1"), ("ce_eventID", b"i"), ("ce_eventType", b"t"), ("ce_source", b"/s")]
    assert kafka.decode(bag, None).key == ("/s", "i", "t")


_NATIVE = {"specversion": "0.2", "id": "i", "source": "s", "type": "t"}
_FIRST = {"cloudEventsVersion": "0.1", "eventID": "i", "source": "s", "eventType": "t"}
_AS_10 = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}


@pytest.mark.parametrize(
    ("given_attributes", "expected"),
    [
        (_NATIVE, {}),
        (_FIRST, {}),
        (_FIRST | {"x-id": "mine"}, {"xid": "mine"}),
        (_FIRST | {"id": "mine", "specVersion": "0.9"}, {"xid": "mine", "xspecversion": "0.9"}),
        (_NATIVE | {"eventid": "old"}, {"eventid": "old"}),
        (_NATIVE | {"upgradedfrom": "me"}, {"xupgradedfrom": "me"}),
        (_NATIVE | {"contenttype": "a/b", "datacontenttype": "a/b"}, {"datacontenttype": "a/b"}),
        (
            _NATIVE | {"contenttype": "a/b", "datacontenttype": "c/d"},
            {"datacontenttype": "a/b", "xdatacontenttype": "c/d"},
        ),
        (_NATIVE | {"schemaurl": "u", "dataschema": "v"}, {"dataschema": "u", "xdataschema": "v"}),
        (_NATIVE | {"subject": "s"}, {"subject": "s"}),
        (_NATIVE | {"cloudEventsVersion": "0.1"}, {"cloudeventsversion": "0.1"}),
        (_NATIVE | {"Camel": "1", "camel": "2"}, {"camel": "1", "xcamel": "2"}),
        (_NATIVE | {"data": "no data"}, {"xdata": "no data"}),
        (_NATIVE | {"-": "dash"}, {"x": "dash"}),
    ],
)
def test_names_that_meet(given_attributes: dict[str, str], expected: dict[str, str]) -> None:
    version = "0.1" if "eventID" in given_attributes else "0.2"
    assert upgrade(given_attributes) == _AS_10 | {"upgradedfrom": version} | expected


def test_three_of_one_name_are_refused() -> None:
    with pytest.raises(MalformedEvent, match="both named 'xa'"):
        upgrade(_NATIVE | {"a": "1", "A": "2", "-a": "3"})


@pytest.mark.parametrize("version", ["", "0.0", "0.4", "1.0", "1.0.0", "1.1", "2", "0.1 ", " 0.2"])
def test_other_versions_are_none_of_its_business(version: str) -> None:
    attributes = {**_AS_10, "specversion": version}
    assert older_version(attributes) is None
    assert upgrade(attributes) == attributes


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({**_AS_10, "specversion": "0.4"}, "'0.4' is not supported"),
        ({name: value for name, value in _AS_10.items() if name != "specversion"}, "'specversion' is missing"),
        ({**_FIRST, "cloudEventsVersion": "0.2.1"}, "specversion"),
        ({"specversion": "0.3", "source": "s", "type": "t"}, "'id' is missing"),
        ({"specversion": "0.3", "id": "", "source": "s", "type": "t"}, "'id' is missing or empty"),
    ],
)
def test_what_cannot_be_upgraded_is_refused_with_a_reason(attributes: dict[str, str], reason: str) -> None:
    with pytest.raises(MalformedEvent, match=reason):
        event_of(attributes, b"")


_ANY_NAMES = st.sampled_from(
    [
        "id",
        "eventID",
        "type",
        "eventType",
        "source",
        "time",
        "eventTime",
        "contentType",
        "schemaurl",
        "x-id",
        "x-a",
        "A",
    ]
) | st.text(st.characters(codec="ascii"), max_size=6)


@given(
    st.sampled_from(["0.1", "0.2", "0.3"]),
    st.dictionaries(_ANY_NAMES, HOSTILE, max_size=8),
    REQUIRED,
    st.binary(),
)
def test_nothing_is_lost_and_what_was_raised_stays(
    version: str, others: dict[str, str], name: str, data: bytes
) -> None:
    attributes = {"eventID": name, "source": "s", "eventType": "t", **others, "specversion": version}
    try:
        event = event_of(attributes, data)
    except MalformedEvent:
        return
    values = dict(event.attributes())
    kept = [value for given_name, value in attributes.items() if given_name != "specversion"]
    assert set(kept) <= set(values.values())
    assert values["upgradedfrom"] == version
    assert upgrade(values) == values
    assert http_binding.decode(*http_binding.encode_binary(event)) == event
    assert json_format.decode(json_format.encode(event)) == event
    assert kafka.decode(*kafka.encode(event)) == event


@given(st.sampled_from([b"0.1", b"0.2"]), HOSTILE)
def test_json_values_in_headers_are_read(version: bytes, value: str) -> None:
    names = [(b"ce-source", b"s"), (b"ce-eventtype", b"t"), (b"ce-eventid", b"i")]
    written = json.dumps(value).replace("%", "%25").encode()
    headers = [(b"ce-specversion", version), *names, (b"ce-x-value", written)]
    assert http_binding.decode(headers, b"").extensions["value"] == value
