"""The contract of every carrier: what is accepted comes to each subscriber that wants it, as it was, whoever fails.

Each test runs on the in-memory fake, on the embedded broker over HTTP, and on Kafka.
"""

import asyncio
import json
from typing import Any

import pytest
from carrier_stages import Letter, Subscriber, wait_until

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import INFERENCE_SERVICE, NAMESPACE, REQUEST, RESPONSE


def event(event_id: str, event_type: str = REQUEST, data: bytes = b"{}", **extensions: str) -> CloudEvent:
    return CloudEvent(
        event_id, "/contract", event_type, data, datacontenttype="application/json", extensions=extensions
    )


_TYPED = {"time": "2026-01-01T00:00:00.123456789Z", "dataschema": "urn:x", "subject": 'sübject %25 "quoted"'}
EVENTS = {
    "json, spaced and unrounded": event("a", data=b'{ "b" : 1.10,\n "a": 1e400 }'),
    "bytes": CloudEvent("a", "s", "t", bytes(range(256)), datacontenttype="application/octet-stream"),
    "no data": CloudEvent("a", "s", "t"),
    "no data, of a type": event("a", data=b""),
    "1 MB": CloudEvent("a", "s", "t", bytes(range(256)) * 4096, datacontenttype="application/octet-stream"),
    "unicode": CloudEvent("ä☃", "söurce/€", "t.ü", "日本 😀".encode(), datacontenttype="text/plain", **_TYPED),
    "extensions": event("a", **{NAMESPACE: "n", INFERENCE_SERVICE: "", "metadata": '{"a b":["ü%2F\\t"]}', "x1": " y"}),
    "an event in an event": CloudEvent(
        "a", "s", "t", json.dumps({"specversion": "1.0"}).encode(), datacontenttype="application/cloudevents+json"
    ),
}


@pytest.mark.parametrize("sent", EVENTS.values(), ids=EVENTS.keys())
async def test_an_event_arrives_as_it_was_sent(stage: Any, sent: CloudEvent) -> None:
    everything = Subscriber("everything")
    carrier = await stage(everything)
    await carrier.send(sent)
    await wait_until(lambda: bool(everything.events))
    assert all(received == sent for received in everything.events)


async def test_each_event_comes_to_every_subscriber_that_wants_it_and_to_no_other(stage: Any) -> None:
    everything, requests, responses = Subscriber("all"), Subscriber("asks", REQUEST), Subscriber("answers", RESPONSE)
    carrier = await stage(everything, requests, responses)
    sent = [event(str(n), (REQUEST, RESPONSE, "other")[n % 3]) for n in range(60)]
    await asyncio.gather(*map(carrier.send, sent))
    await wait_until(lambda: len(set(everything.ids)) == 60 and len(set(requests.ids)) == len(set(responses.ids)) == 20)
    assert {one.type for one in requests.events} == {REQUEST}
    assert {one.type for one in responses.events} == {RESPONSE}
    assert await carrier.dead_letters() == []


async def test_a_subscriber_that_is_away_is_tried_again_and_delays_no_other(stage: Any) -> None:
    away, present = Subscriber("away"), Subscriber("present")
    away.away = True
    carrier = await stage(away, present)
    for n in range(5):
        await carrier.send(event(str(n)))
    await wait_until(lambda: len(set(present.ids)) == 5 and away.attempts > 5)
    assert not away.events
    away.away = False
    await wait_until(lambda: len(set(away.ids)) == 5)
    assert await carrier.dead_letters() == []


async def test_what_is_refused_for_good_is_a_dead_letter_with_its_reason_and_the_rest_flows(stage: Any) -> None:
    refusing, taking = Subscriber("refusing"), Subscriber("taking")
    refusing.refused_ids, refusing.malformed_ids = {"1"}, {"3"}
    carrier = await stage(refusing, taking)
    for n in range(5):
        await carrier.send(event(str(n), data=b'{"n":%d}' % n))
    await wait_until(lambda: set(refusing.ids) == {"0", "2", "4"} and len(set(taking.ids)) == 5)

    async def letters() -> list[Letter]:
        return sorted(await carrier.dead_letters(), key=lambda letter: letter.event_id)

    async def are_there() -> bool:
        return len(await letters()) == 2

    await wait_until(are_there)
    assert [(one.subscriber, one.event_id) for one in await letters()] == [("refusing", "1"), ("refusing", "3")]
    assert all(one.reason for one in await letters())
    assert refusing.attempts == 5  # what is refused is not tried again


async def test_a_subscriber_that_hangs_delays_no_other_and_not_its_own_other_events(stage: Any) -> None:
    hanging, present = Subscriber("hanging"), Subscriber("present")
    hanging.hanging_ids = {"0"}
    carrier = await stage(hanging, present)
    for n in range(10):
        await carrier.send(event(str(n)))
    await wait_until(lambda: len(set(present.ids)) == 10 and len(set(hanging.ids)) == 9)
    hanging.let_go.set()
    await wait_until(lambda: len(set(hanging.ids)) == 10)


async def test_events_of_one_key_keep_their_order_where_it_is_asked_for(stage: Any) -> None:
    ordered = Subscriber("ordered", ordered=True)
    ordered.failing_ids = {str(n) for n in range(30) if n % 4 == 0}  # tried again, and not overtaken
    carrier = await stage(ordered)
    for n in range(30):
        await carrier.send(event(str(n), **{NAMESPACE: "default", INFERENCE_SERVICE: f"s{n % 3}"}))
    await wait_until(lambda: len(set(ordered.ids)) == 30)
    for key in range(3):
        ids = [int(received) for received in ordered.ids if int(received) % 3 == key]
        assert list(dict.fromkeys(ids)) == sorted(set(ids))


async def test_what_waited_is_delivered_after_a_stop_and_a_start(durable_stage: Any) -> None:
    away, present = Subscriber("away"), Subscriber("present")
    away.away = True
    carrier = await durable_stage(away, present)
    for n in range(5):
        await carrier.send(event(str(n)))
    await wait_until(lambda: len(set(present.ids)) == 5 and away.attempts > 0)
    await carrier.stop()
    assert not away.events
    away.away = False
    await carrier.start()
    await wait_until(lambda: len(set(away.ids)) == 5)
    await carrier.send(event("5"))
    await wait_until(lambda: len(set(present.ids)) == len(set(away.ids)) == 6)
