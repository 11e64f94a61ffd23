"""One broker in this process, with real HTTP on both sides."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest

from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import STRUCTURED, encode_binary, encode_structured

Until = Callable[..., Awaitable[None]]
NewTrigger = Callable[..., str]


def event(event_id: str = "1", event_type: str = "t", data: bytes = b'{"a": 1}', **extensions: str) -> CloudEvent:
    return CloudEvent(event_id, "/s", event_type, data, datacontenttype="application/json", extensions=extensions)


@pytest.fixture
async def plain(workshop: Any, new_trigger: NewTrigger) -> Any:
    """A broker whose one Trigger matches everything, and its subscriber."""
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url}, body_limit_bytes=1000)
    return broker, subscriber


async def test_an_event_is_delivered_unchanged(plain: Any) -> None:
    broker, subscriber = plain
    sent = event(traceparent="00-ab-cd-01", weird='{"x": "é <b>"}', data=b"\x00\xff\r\n")
    assert await broker.post(sent, [(b"x-request-id", b"77"), (b"authorization", b"secret")]) == 202
    await broker.wait_settled()
    assert subscriber.events == [sent]
    request: Request = subscriber.requests[0]
    assert request.method == b"POST"
    assert request.header(b"prefer") == b"reply"
    assert request.header(b"x-request-id") == b"77"
    assert request.header(b"authorization") is None
    counts = broker.counts()
    assert (counts.matched, counts.delivered, counts.dead_lettered, counts.waiting, counts.attempts) == (1, 1, 0, 0, 1)


async def test_structured_mode_comes_in_and_goes_out_if_asked(workshop: Any, new_trigger: NewTrigger) -> None:
    plain, other = await workshop.subscriber(), await workshop.subscriber()
    triggers = new_trigger("t") + new_trigger("json", delivery="{format: json}")
    broker = await workshop.broker(triggers, {"t": plain.url, "json": other.url})
    headers, body = encode_structured(event())
    assert (await broker.request(headers=headers, body=body)).status == 202
    await broker.wait_settled()
    assert plain.events == other.events == [event()]
    assert plain.requests[0].header(b"content-type") == b"application/json"
    assert other.requests[0].header(b"content-type") == STRUCTURED


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        (b"POST", "/default/default/", 202),
        (b"POST", "/default/default?x=1", 202),
        (b"POST", "/default/other", 404),
        (b"POST", "/other/default", 404),
        (b"POST", "/", 404),
        (b"POST", "/default", 400),
        (b"POST", "/default/default/more", 400),
        (b"GET", "/default/default", 405),
        (b"OPTIONS", "/default/default", 200),
    ],
)
async def test_methods_and_paths(plain: Any, method: bytes, path: str, status: int) -> None:
    headers, body = encode_binary(event())
    response = await plain[0].request(method, path, headers, body)
    assert response.status == status
    if status in (405, 200):
        assert response.header(b"allow") == b"POST, OPTIONS"


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        ([], b"", 400, b"'specversion' is missing"),
        ([(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-type", b"t")], b"", 400, b"'source' is missing"),
        ([(b"ce-specversion", b"0.4"), (b"ce-id", b"1")], b"", 400, b"not supported"),
        ([(b"content-type", b"application/cloudevents-batch+json")], b"[]", 400, b"not supported"),
        ([(b"content-type", STRUCTURED)], b"[" * 900, 400, b"JSON"),
        ([(b"content-type", STRUCTURED)], b'{"specversion": "1.0", "id": "\\ud800"}', 400, b"missing"),
        ([(b"ce-specversion", b"1.0"), (b"ce-id", b"\xff"), (b"ce-type", b"t")], b"", 400, b"UTF-8"),
        ([], b"x" * 1001, 413, b"over 1000 bytes"),
    ],
)
async def test_malformed_is_answered_with_a_reason_and_counted(
    plain: Any, headers: Any, body: bytes, status: int, says: bytes
) -> None:
    broker, subscriber = plain
    response = await broker.request(headers=headers, body=body)
    assert response.status == status
    assert says in response.body
    malformed = 1.0 if status == 400 else 0.0
    assert f'wayside_broker_events_total{{outcome="malformed"}} {malformed}' in await broker.metrics()
    assert await broker.post(event()) == 202
    await broker.wait_settled()
    assert subscriber.ids == ["1"]


async def test_the_same_event_again_is_accepted_and_not_delivered_again(plain: Any) -> None:
    broker, subscriber = plain
    answers = await asyncio.gather(*(broker.post(event()) for _ in range(20)))
    assert set(answers) == {202}
    await broker.wait_settled()
    assert subscriber.ids == ["1"]
    view = await broker.admin("/triggers")
    assert (view["events"], view["duplicates"], view["conflicts"]) == (1, 19, 0)
    assert view["triggers"][0]["matched"] == 1
    assert 'wayside_broker_events_total{outcome="duplicate"} 19.0' in await broker.metrics()


async def test_one_key_with_other_data_is_kept_apart_and_counted(plain: Any) -> None:
    broker, subscriber = plain
    await asyncio.gather(*(broker.post(event(data=b"%d" % (number % 3))) for number in range(12)))
    await broker.wait_settled()
    assert sorted(delivered.data for delivered in subscriber.events) == [b"0", b"1", b"2"]
    view = await broker.admin("/triggers")
    assert (view["events"], view["duplicates"], view["conflicts"]) == (3, 9, 2)


async def test_keys_that_differ_in_a_zero_byte_are_two_events(plain: Any) -> None:
    broker, subscriber = plain
    for event_id in ("a", "a\0b"):
        assert await broker.post(event(event_id)) == 202
    await broker.wait_settled()
    assert sorted(subscriber.ids) == ["a", "a\0b"]


async def test_only_what_matches_is_delivered(workshop: Any, new_trigger: NewTrigger) -> None:
    wanted, everything = await workshop.subscriber(), await workshop.subscriber()
    triggers = new_trigger("wanted", {"type": "t", "tier": ""}) + new_trigger("everything")
    broker = await workshop.broker(triggers, {"wanted": wanted.url, "everything": everything.url})
    await broker.post(event("1", tier="gold"))
    await broker.post(event("2"))
    await broker.post(event("3", "other", tier="gold"))
    await broker.wait_settled()
    assert wanted.ids == ["1"]
    assert sorted(everything.ids) == ["1", "2", "3"]
    assert (broker.counts("wanted").matched, broker.counts("everything").matched) == (1, 3)


async def test_a_reply_comes_back_in_and_is_matched(workshop: Any, new_trigger: NewTrigger) -> None:
    scorer, listener = await workshop.subscriber(), await workshop.subscriber()
    verdict = CloudEvent("v", "/scorer", "verdict", b"{}", datacontenttype="application/json")
    scorer.answer = lambda _: Response(200, *encode_binary(verdict))
    triggers = new_trigger("scorer", {"type": "t"}) + new_trigger("listener", {"type": "verdict"})
    broker = await workshop.broker(triggers, {"scorer": scorer.url, "listener": listener.url})
    await broker.post(event())
    await broker.wait_settled()
    assert listener.events == [verdict]
    assert (await broker.admin("/triggers"))["events"] == 2


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        ([503, 429, 200], 3),
        ([404, 202], 2),
        ([Response(200, [], b'{"plain": "json"}'), Response(204)], 2),
        ([Response(200, [(b"ce-specversion", b"1.0")]), Response(200)], 2),
    ],
)
async def test_it_is_tried_again_until_it_is_taken(plain: Any, answers: list[Any], attempts: int) -> None:
    broker, subscriber = plain
    script = [Response(answer) if isinstance(answer, int) else answer for answer in answers]
    subscriber.answer = lambda _: script.pop(0)
    await broker.post(event())
    await broker.wait_settled()
    assert (broker.counts().delivered, broker.counts().attempts) == (1, attempts)


@pytest.mark.parametrize("in_flight", [1, 32])
async def test_a_subscriber_that_hangs_delays_no_other(
    workshop: Any, new_trigger: NewTrigger, until: Until, in_flight: int
) -> None:
    slow, quick = await workshop.subscriber(), await workshop.subscriber()
    released = asyncio.Event()

    async def hang(_: CloudEvent) -> Response:
        await released.wait()
        return Response(200)

    slow.answer = hang
    triggers = new_trigger("slow") + new_trigger("quick")
    broker = await workshop.broker(triggers, {"slow": slow.url, "quick": quick.url}, in_flight=in_flight)
    for number in range(100):
        assert await broker.post(event(str(number))) == 202
    await until(lambda: broker.counts("quick").delivered == 100)
    assert len(slow.events) <= in_flight
    assert broker.counts("slow").waiting == 100
    released.set()
    await broker.wait_settled()
    assert broker.counts("slow").delivered == 100


async def test_one_bad_event_does_not_hold_up_the_others(workshop: Any, new_trigger: NewTrigger, until: Until) -> None:
    subscriber = await workshop.subscriber()
    subscriber.answer = lambda received: Response(500 if received.id == "bad" else 200)
    trigger = new_trigger("t", delivery="{retry: 1, backoffDelay: PT1H}")
    broker = await workshop.broker(trigger, {"t": subscriber.url}, in_flight=1)
    await broker.post(event("bad"))
    await broker.post(event("good"))
    await until(lambda: broker.counts().delivered == 1)
    assert broker.counts().waiting == 1


async def test_retry_after_is_obeyed_where_the_trigger_allows_it(
    workshop: Any, new_trigger: NewTrigger, until: Until
) -> None:
    subscriber = await workshop.subscriber()
    subscriber.answer = lambda _: Response(503, [(b"retry-after", b"3600")])
    triggers = new_trigger("patient", delivery="{retry: 1, backoffDelay: PT0.001S, retryAfterMax: PT1H}")
    triggers += new_trigger("hasty", delivery="{retry: 1, backoffDelay: PT0.001S}")
    broker = await workshop.broker(triggers, {"patient": subscriber.url, "hasty": subscriber.url})
    await broker.post(event())
    await until(lambda: broker.counts("hasty").dead_lettered == 1)
    assert (broker.counts("patient").waiting, broker.counts("patient").dead_lettered) == (1, 0)


async def test_a_trigger_sees_what_came_after_it_and_keeps_what_came_before(
    workshop: Any, new_trigger: NewTrigger, until: Until
) -> None:
    first, second = await workshop.subscriber(), await workshop.subscriber()
    first.answer = lambda _: Response(500)
    urls = {"first": first.url, "second": second.url}
    held = new_trigger("first", delivery="{retry: 1, backoffDelay: PT1H}")
    broker = await workshop.broker(held, urls)
    await broker.post(event("1"))
    await broker.service.stop()
    broker = await workshop.broker(new_trigger("second"), urls)
    await broker.post(event("2"))
    await until(lambda: second.events)
    gone = broker.counts("first")
    assert (gone.matched, gone.waiting, gone.active) == (1, 1, False)
    await broker.service.stop()
    first.answer = lambda _: Response(200)
    broker = await workshop.broker(held + new_trigger("second"), urls)
    await broker.wait_settled()
    assert first.ids[-1] == "1"
    assert second.ids == ["2"]
    assert (broker.counts("first").delivered, broker.counts("second").matched) == (1, 1)


async def test_a_full_store_refuses_until_there_is_room(workshop: Any, new_trigger: NewTrigger, until: Until) -> None:
    subscriber = await workshop.subscriber()
    released = asyncio.Event()

    async def hang(_: CloudEvent) -> Response:
        await released.wait()
        return Response(200)

    subscriber.answer = hang
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url}, store_limit_bytes=20_000)
    accepted = 0
    while (status := await broker.post(event(str(accepted), data=b"x" * 1000))) == 202:
        accepted += 1
    headers, body = encode_binary(event("more"))
    response = await broker.request(headers=headers, body=body)
    assert (status, response.status, response.header(b"retry-after")) == (503, 503, b"5")
    assert 10 < accepted < 20
    assert 'wayside_broker_events_total{outcome="refused"} 2.0' in await broker.metrics()
    released.set()
    await broker.wait_settled()

    async def accepts() -> bool:
        return bool(await broker.post(event("more")) == 202)

    await until(accepts)
    await broker.wait_settled()
    assert broker.counts().delivered == accepted + 1
    assert len(set(subscriber.ids)) == accepted + 1


async def test_a_full_store_still_takes_the_replies_that_empty_it(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    released = asyncio.Event()

    async def reply(received: CloudEvent) -> Response:
        await released.wait()
        return Response(200, *encode_binary(event(f"reply to {received.id}", "reply")))

    subscriber.answer = reply
    broker = await workshop.broker(new_trigger("t", {"type": "t"}), {"t": subscriber.url}, store_limit_bytes=10_000)
    number = 0
    while await broker.post(event(str(number), data=b"x" * 3000)) == 202:
        number += 1
    released.set()
    await broker.wait_settled()
    assert broker.counts().delivered == broker.counts().matched


async def test_a_stop_waits_for_what_is_in_flight(workshop: Any, new_trigger: NewTrigger, until: Until) -> None:
    subscriber = await workshop.subscriber()
    begun, released = asyncio.Event(), asyncio.Event()

    async def hang(_: CloudEvent) -> Response:
        begun.set()
        await released.wait()
        return Response(200)

    subscriber.answer = hang
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    await broker.post(event())
    await begun.wait()
    stopping = asyncio.create_task(broker.service.stop())

    async def refuses() -> bool:
        try:
            await broker.post(event("late"))
        except Unreachable:
            return True
        return False

    await until(refuses)
    released.set()
    await stopping
    again = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    await again.wait_settled()
    assert subscriber.ids.count("1") == 1
    assert again.counts().delivered == again.counts().matched


async def test_health_and_readiness(plain: Any) -> None:
    broker, _ = plain
    assert "wayside_broker_trigger_waiting" in await broker.metrics()
    view = await broker.admin("/triggers")
    assert json.dumps(view)
    names = {"namespace", "broker", "name", "matched", "delivered", "dead_lettered", "waiting", "attempts"}
    assert names <= set(view["triggers"][0])
    await broker.service.stop()
    await broker.service.stop()


async def test_a_damaged_store_is_not_ready_and_ends_the_broker_so_that_a_start_salvages(
    workshop: Any, new_trigger: NewTrigger
) -> None:
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    for number in range(40):
        await broker.post(event(str(number), data=os.urandom(3000)))
    await broker.wait_settled()
    path = workshop.folder / "data" / "journal.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(size - 8192))
    answers = {await broker.post(event(f"z{number}")) for number in range(10)}
    assert answers == {503}
    with pytest.raises(WaysideError, match="is damaged: start again"):
        await asyncio.wait_for(broker.service.wait_failed(), 5)
    url = Url.parse(f"http://127.0.0.1:{broker.service.admin_port}/readyz")
    assert (await workshop.client.send(b"GET", url, [], timeout_s=5)).body == b"not ready: store\n"


async def test_attributes_are_bounded_in_structured_mode_too(workshop: Any, new_trigger: NewTrigger) -> None:
    """As headers are: else an event would come in that no subscriber can be sent."""
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    headers, body = encode_structured(event("1", data=bytes(100_000)))
    assert (await broker.request(headers=headers, body=body)).status == 202
    headers, body = encode_structured(CloudEvent("2", "/s", "t", b"", subject="x" * 70_000))
    refused = await broker.request(headers=headers, body=body)
    assert (refused.status, refused.body) == (400, b"the attributes are over 65536 bytes\n")
    await broker.wait_settled()
    assert subscriber.ids == ["1"]
