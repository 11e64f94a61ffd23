"""What becomes of an event that its subscriber will not have."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import encode_binary

Until = Callable[..., Awaitable[None]]
NewTrigger = Callable[..., str]


def event(event_id: str = "1", **extensions: str) -> CloudEvent:
    return CloudEvent(event_id, "/s", "t", b'{"a": 1}', datacontenttype="application/json", extensions=extensions)


async def test_a_loop_of_replies_ends_with_the_ttl(workshop: Any, new_trigger: NewTrigger) -> None:
    echo = await workshop.subscriber()

    def again(received: CloudEvent) -> Response:
        assert "knativebrokerttl" not in received.extensions
        return Response(200, *encode_binary(event(str(int(received.id) + 1))))

    echo.answer = again
    broker = await workshop.broker(new_trigger("t"), {"t": echo.url})
    assert await broker.post(event("1", knativebrokerttl="6")) == 202
    await broker.wait_settled()
    assert echo.ids == ["1", "2", "3", "4", "5"]
    (letter,) = (await broker.admin("/dead-letters"))["dead_letters"]
    assert letter["event"]["id"] == "5"
    assert "TTL is spent" in letter["reason"]
    assert await broker.post(event("9", knativebrokerttl="1")) == 400


async def test_a_subscriber_that_cannot_be_reached_is_tried_again(workshop: Any, new_trigger: NewTrigger) -> None:
    gone = await workshop.subscriber()
    await gone.stop()
    broker = await workshop.broker(new_trigger("t"), {"t": gone.url})
    await broker.post(event())
    await broker.wait_settled()
    assert (broker.counts().dead_lettered, broker.counts().attempts) == (1, 4)
    (letter,) = (await broker.admin("/dead-letters"))["dead_letters"]
    assert letter["code"] == 500
    assert gone.url in letter["reason"]


async def test_dead_letters_are_kept_and_listed_with_their_reason(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    subscriber.answer = lambda received: Response.text(400 if received.id == "bad" else 500, "<script>no</script>")
    await broker.post(event("bad"))
    await broker.post(event("worse"))
    await broker.wait_settled()
    letters = (await broker.admin("/dead-letters"))["dead_letters"]
    assert [letter["event"]["id"] for letter in letters] == ["worse", "bad"]
    assert [(letter["attempts"], letter["code"], letter["reason"]) for letter in letters] == [
        (4, 500, "answered 500"),
        (1, 400, "answered 400"),
    ]
    assert letters[0]["trigger"] == {"namespace": "default", "broker": "default", "name": "t"}
    counts = broker.counts()
    assert (counts.matched, counts.delivered, counts.dead_lettered, counts.attempts) == (2, 0, 2, 5)


async def test_a_dead_letter_sink_gets_the_event_with_its_story(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber, dead = await workshop.subscriber(), await workshop.subscriber()
    subscriber.answer = lambda _: Response(422, [], b"no such thing")
    outages = [Response(400), Response(503)]
    dead.answer = lambda _: outages.pop() if outages else Response(200)
    delivery = f"{{backoffDelay: PT0.005S, deadLetterSink: {{uri: '{dead.url}'}}}}"
    broker = await workshop.broker(new_trigger("t", delivery=delivery), {"t": subscriber.url})
    await broker.post(event())
    await broker.wait_settled()
    assert len(subscriber.events) == 1
    letter = dead.events[-1]
    assert len(dead.events) == 3
    assert (letter.key, letter.data) == (event().key, event().data)
    assert letter.extensions["knativeerrordest"] == subscriber.url
    assert letter.extensions["knativeerrorcode"] == "422"
    assert base64.b64decode(letter.extensions["knativeerrordata"]) == b"no such thing"
    assert "knativebrokerttl" not in letter.extensions
    counts = broker.counts()
    assert (counts.matched, counts.delivered, counts.dead_lettered, counts.attempts) == (1, 0, 1, 1)
    assert (await broker.admin("/dead-letters"))["dead_letters"] == []


async def test_what_a_dead_letter_sink_refuses_survives_a_restart(
    workshop: Any, new_trigger: NewTrigger, until: Until
) -> None:
    subscriber, dead = await workshop.subscriber(), await workshop.subscriber()
    subscriber.answer, dead.answer = (lambda _: Response(400)), (lambda _: Response(500))
    trigger = new_trigger("t", delivery=f"{{backoffDelay: PT0.005S, deadLetterSink: {{uri: '{dead.url}'}}}}")
    broker = await workshop.broker(trigger, {"t": subscriber.url})
    await broker.post(event())
    await until(lambda: len(dead.events) >= 2)
    await broker.service.stop()
    dead.answer = lambda _: Response(200)
    again = await workshop.broker(trigger, {"t": subscriber.url})
    await again.wait_settled()
    assert len(subscriber.events) == 1
    assert again.counts().dead_lettered == 1
