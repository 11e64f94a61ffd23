import base64

import pytest

from wayside.eventing.broker.routing import Router, TtlSpent
from wayside.eventing.broker.wire import (
    BadReply,
    Failure,
    dead_letter,
    forwarded,
    read_reply,
)
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import encode_binary, encode_structured
from wayside.eventing.triggers.manifests import Manifests
from wayside.eventing.triggers.names import BrokerName

EVENT = CloudEvent("1", "/s", "t", b"\x00data", extensions={"traceparent": "00-1-2-01"})


def test_a_spent_ttl_is_refused_and_a_live_one_is_taken_off() -> None:
    name = BrokerName("default", "default")
    router = Router(Manifests(frozenset([name]), ()))
    arrival = router.route(name, EVENT.with_extensions(knativebrokerttl="9"), [])
    assert (arrival.event, arrival.ttl) == (EVENT, 8)
    with pytest.raises(TtlSpent, match="loop"):
        router.route(name, EVENT.with_extensions(knativebrokerttl="1"), [])


def test_headers_that_travel_on() -> None:
    kept = [(b"x-request-id", b"1"), (b"knative-x", b"2"), (b"x-b3-traceid", b"3"), (b"retry-after", b"4")]
    dropped = [(b"authorization", b"x"), (b"cookie", b"x"), (b"ce-id", b"1"), (b"host", b"h"), (b"xknative-", b"")]
    assert forwarded([*kept, *dropped]) == kept


def test_a_dead_letter_says_where_how_and_why() -> None:
    letter = dead_letter(EVENT, "http://s/", Failure.of(Response(400, [], b"x" * 5000)))
    assert (letter.data, letter.key) == (EVENT.data, EVENT.key)
    assert letter.extensions["traceparent"] == EVENT.extensions["traceparent"]
    assert letter.extensions["knativeerrordest"] == "http://s/"
    assert letter.extensions["knativeerrorcode"] == "400"
    assert len(letter.extensions["knativeerrordata"]) == 1024
    assert base64.b64decode(letter.extensions["knativeerrordata"]) == b"x" * 768


@pytest.mark.parametrize("encode", [encode_binary, encode_structured])
def test_a_reply_has_the_ttl_of_what_it_replies_to(encode: object) -> None:
    headers, body = encode(EVENT.with_extensions(knativebrokerttl="200"))  # type: ignore[operator]
    assert read_reply(Response(200, headers, body), ttl=7) == EVENT.with_extensions(knativebrokerttl="7")


def test_what_is_no_reply() -> None:
    assert read_reply(Response(202), 255) is None
    with pytest.raises(BadReply, match="no CloudEvent"):
        read_reply(Response(200, [(b"content-type", b"application/json")], b"{}"), 255)
    with pytest.raises(BadReply, match="malformed"):
        read_reply(Response(200, [(b"ce-specversion", b"1.0")], b"{}"), 255)
