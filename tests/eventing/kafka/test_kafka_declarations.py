"""What `--plain` declares, and which records it is asked about."""

from contextlib import suppress

import pytest
from event_strategies import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.errors import ConfigurationError, MalformedEvent
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import KafkaRecord, encode, encode_structured
from wayside.eventing.kafka.declarations import Declarations, is_plain, parse_declarations
from wayside.eventing.kafka.letter import letters_of
from wayside.eventing.kafka.plain import Declaration
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.payloads.payload import Kind, Protocol
from wayside.eventing.vocabulary import KAFKA_RECORD, REQUEST, RESPONSE, ServiceKey

DIGITS = ServiceKey("default", "digits", "predictor", "")
ROWS = Declaration(Kind.REQUEST, Protocol.V2, DIGITS)


@pytest.mark.parametrize(
    ("texts", "declared"),
    [
        ([], {}),
        (["knative"], {"": None}),
        (["request:v2:default/digits"], {"": ROWS}),
        (["rows=request:v2:default/digits"], {"rows": ROWS}),
        (["rows=request:v2:default/digits, other=knative"], {"rows": ROWS, "other": None}),
        (
            ["rows=request:v2:default/digits", "response:json:default/digits"],
            {"rows": ROWS, "": Declaration(Kind.RESPONSE, Protocol.JSON, DIGITS)},
        ),
    ],
)
def test_what_is_declared(texts: list[str], declared: dict[str, Declaration | None]) -> None:
    assert parse_declarations(texts) == Declarations(declared)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"write \[TOPIC=\]KIND:PROTOCOL"),
        ("request", r"write \[TOPIC=\]KIND:PROTOCOL"),
        ("Knative", r"write \[TOPIC=\]KIND:PROTOCOL"),
        ("verdict:v2:default/digits", "'verdict' is no kind of request, response, feedback"),
        ("request:v3:default/digits", "'v3' is no protocol of v1, v2, "),
        ("request:detector:default/digits", "'detector' is no protocol"),
        ("request:v2:digits", "'digits' is not NAMESPACE/SERVICE"),
        ("request:v2:default/Digits", "is not NAMESPACE/SERVICE"),
        ("request:v2:/digits", "is not NAMESPACE/SERVICE"),
        ("request:v2:a/b/c", "is not NAMESPACE/SERVICE"),
        ("t=knative,t=knative", "t is declared twice"),
        ("knative,request:v2:a/b", "every topic is declared twice"),
    ],
)
def test_what_cannot_be_declared(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_declarations([text])


def test_a_topic_that_is_not_read_cannot_be_declared() -> None:
    with pytest.raises(ConfigurationError, match="declares topic 'row', which kafka://k:9092/rows does not read"):
        Subscription(KafkaAddress("k:9092", ("rows",)), "g", plain=parse_declarations(["row=knative"]))


EVENT = CloudEvent("1", "s", "t", b"{}", datacontenttype="application/json")
BROKEN = [("ce_specversion", b"1.0"), ("ce_source", b"s"), ("ce_type", b"t")]


@pytest.mark.parametrize(
    ("headers", "plain"),
    [
        ([], True),
        ([("content-type", b"application/json")], True),
        ([("trace", b"1"), ("Content-Type", None)], True),
        ([("content-type", b"\xff")], True),
        (encode(EVENT)[0], False),
        (encode_structured(EVENT)[0], False),
        (BROKEN, False),
        ([("ce_id", None)], False),
        ([("trace", b"1"), ("ce_knativeerrorcode", b"400")], True),
        ([("ce_knativeerrorcode", b"400"), ("wayside-omitted-bytes", b"4")], False),
        ([("ce_knativeerrorcode", b"400"), *BROKEN], False),
        ([("trace", b"1"), ("Content-Type", b"Application/CloudEvents-Batch+JSON")], False),
    ],
)
def test_what_claims_nothing_is_plain(headers: list[tuple[str, bytes | None]], plain: bool) -> None:
    assert is_plain(KafkaRecord("t", 0, 0, headers)) is plain


@pytest.mark.parametrize(
    ("texts", "topic", "event_type"),
    [
        (["rows=request:v2:default/digits", "response:v2:default/digits"], "rows", REQUEST),
        (["rows=request:v2:default/digits", "response:v2:default/digits"], "other", RESPONSE),
        (["knative"], "rows", KAFKA_RECORD),
    ],
)
def test_a_plain_record_is_what_its_topic_is_declared_as(texts: list[str], topic: str, event_type: str) -> None:
    event = parse_declarations(texts).read(KafkaRecord(topic, 1, 2, value=b"[[1]]"))
    assert (event.type, event.data) == (event_type, b"[[1]]")
    assert event.source == f"/apis/v1/namespaces/default/kafkasources/wayside#{topic}"
    assert event.id == "partition:1/offset:2"


@pytest.mark.parametrize("texts", [[], ["other=knative"]])
def test_a_plain_record_that_nobody_declared_is_malformed_and_told_of_the_flag(texts: list[str]) -> None:
    with pytest.raises(MalformedEvent, match=r"no CloudEvent: .* declare them: --plain rows="):
        parse_declarations(texts).read(KafkaRecord("rows", 0, 0, value=b"{}"))


def test_a_dead_letter_of_a_plain_record_can_be_read_as_plain_again_and_one_without_its_bytes_cannot() -> None:
    record = KafkaRecord("rows", 1, 2, [("trace", b"7")], value=b"[[1]]")
    whole, *cut = letters_of(record, "g", 400, "no row")
    declared = parse_declarations(["request:v2:default/digits"])
    event = declared.read(KafkaRecord("g.dead-letters", 0, 0, [*whole.headers], value=whole.value))
    assert (event.type, event.data, event.extensions["kafkaheadertrace"]) == (REQUEST, b"[[1]]", "7")
    for letter in cut:
        with pytest.raises(MalformedEvent):
            declared.read(KafkaRecord("g.dead-letters", 0, 0, [*letter.headers], value=letter.value))


def test_a_record_whose_headers_cannot_be_read_is_malformed_wherever_it_lies() -> None:
    record = KafkaRecord("rows", 0, 0, value=b"[[1]]", unreadable="a header's name is not UTF-8")
    with pytest.raises(MalformedEvent, match="a header's name is not UTF-8; its headers are lost"):
        parse_declarations(["knative"]).read(record)


def test_an_event_stays_an_event_and_a_broken_one_stays_broken() -> None:
    declared = parse_declarations(["request:v2:default/digits"])
    assert declared.read(KafkaRecord("t", 0, 0, [*encode(EVENT)[0]], value=b"{}")) == EVENT
    with pytest.raises(MalformedEvent, match="'id' is missing"):
        declared.read(KafkaRecord("t", 0, 0, [*BROKEN], value=b"{}"))


@given(st.one_of(HOSTILE, st.from_regex(r"[a-z=]{0,3}(request|x):(v2|x):[a-zA-Z/.-]{0,6}(,knative)?", fullmatch=True)))
def test_any_text_is_a_declaration_or_refused(text: str) -> None:
    with suppress(ConfigurationError):
        assert parse_declarations([text]).by_topic


@given(
    st.lists(st.tuples(st.sampled_from(["ce_id", "ce_x", "content-type", "h"]) | HOSTILE, st.none() | st.binary())),
    st.none() | st.binary(),
    st.sampled_from([[], ["knative"], ["request:v2:default/digits"]]),
)
def test_any_record_is_an_event_or_malformed(
    headers: list[tuple[str, bytes | None]], value: bytes | None, texts: list[str]
) -> None:
    with suppress(MalformedEvent):
        assert parse_declarations(texts).read(KafkaRecord("t", 0, 0, headers, value=value)).data is not None
