"""Events shown, replayed and redelivered over the admin port of a broker that runs."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import JSON, Headers, Response
from wayside.eventing.http.url import Url

Until = Callable[..., Awaitable[None]]
NewTrigger = Callable[..., str]
ORDERED = "{name: t, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}}"


def event(event_id: str, event_type: str = "a", data: bytes = b'{"a": 1.0}', **extensions: str) -> CloudEvent:
    return CloudEvent(event_id, "/s", event_type, data, datacontenttype="application/json", extensions=extensions)


async def ask(broker: Any, path: str, body: object = None, headers: Headers | None = None) -> Response:
    """A GET, or with a body a POST, to the admin port."""
    url = Url.parse(f"http://127.0.0.1:{broker.service.admin_port}{path}")
    method, text = (b"GET", b"") if body is None else (b"POST", json.dumps(body).encode())
    answer = await broker.client.send(method, url, [JSON] if headers is None else headers, text, timeout_s=10)
    assert isinstance(answer, Response)
    return answer


async def told(broker: Any, path: str, body: object = None) -> Any:
    answer = await ask(broker, path, body)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def replay(broker: Any, **asked: object) -> Mapping[str, int]:
    """All steps of a replay to the Trigger `t`, added up."""
    totals, done = dict[str, int](), False
    asked = {"trigger": "t", "from": "1h", **asked}
    while not done:
        step = await told(broker, "/replay", asked)
        for name in ("looked", "replayed", "filtered", "waiting", "dead_letters"):
            totals[name] = totals.get(name, 0) + step[name]
        asked |= {"after": step["last"], "to": step["to"]}
        done = step["done"]
    return totals


@pytest.fixture
async def kept(workshop: Any, new_trigger: NewTrigger) -> Any:
    """A broker that keeps 1 (type a, settled), 2 (type b), 3 (a dead letter of `t`)."""
    subscriber = await workshop.subscriber()
    subscriber.answer = lambda received: Response(400 if received.id == "3" else 200)
    triggers = new_trigger("t", {"type": "a"}) + new_trigger("u", {"type": "b"})
    broker = await workshop.broker(triggers, {"t": subscriber.url, "u": subscriber.url})
    for one in (event("1"), event("2", "b", b"\xff", traceparent="é"), event("3")):
        assert await broker.post(one) == 202
    await broker.wait_settled()
    broker.subscriber = subscriber
    return broker


async def test_events_are_shown_with_how_they_stand(kept: Any) -> None:
    page = await told(kept, "/events?data=json")
    first, second, third = page["events"]
    assert (page["done"], page["last"], page["newest"], page["damaged"]) == (True, 3, 3, [])
    assert first["deliveries"] == [{"trigger": "default/default/t", "state": "settled"}]
    assert (first["position"], first["broker"], first["size"]) == (1, "default/default", 10)
    assert first["event"]["data"] == {"a": 1.0}
    assert second["event"]["traceparent"] == "é"
    assert base64.b64decode(second["event"]["data_base64"]) == b"\xff"
    (letter,) = third["deliveries"]
    assert (letter["state"], letter["attempts"], letter["code"], letter["reason"]) == (
        "dead-letter",
        1,
        400,
        "answered 400",
    )


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["1", "2", "3"]),
        ("?order=newest", ["3", "2", "1"]),
        ("?order=newest&after=3&limit=1", ["2"]),
        ("?after=2", ["3"]),
        ("?after=9", []),
        ("?limit=2", ["1", "2"]),
        ("?trigger=t", ["1", "3"]),
        ("?trigger=default/default/u&type=b", ["2"]),
        ("?dead_letters=true", ["3"]),
        ("?dead_letters=true&trigger=u", []),
        ("?type=a", ["1", "3"]),
        ("?type=s", []),
        ("?source=/s&type=b", ["2"]),
        ("?from=1h", ["1", "2", "3"]),
        ("?to=1h", []),
        ("?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00%2B01:00", ["1", "2", "3"]),
    ],
)
async def test_which_events_are_shown(kept: Any, query: str, ids: list[str]) -> None:
    page = await told(kept, f"/events{query}")
    assert [one["event"]["id"] for one in page["events"]] == ids
    assert all("data" not in one["event"] and "data_base64" not in one["event"] for one in page["events"])


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/events?limit=0", None, "limit: 0 is not a whole number from 1 to 1000"),
        ("/events?limit=x", None, "limit: 'x' is not a whole number"),
        ("/events?after=-1", None, "after: '-1' is not"),
        ("/events?order=up", None, "order: 'up' is none of oldest, newest"),
        ("/events?data=xml", None, "data: 'xml' is none of none, base64, json"),
        ("/events?dead_letters=1", None, "dead_letters: '1' is neither true nor false"),
        ("/events?form=1h", None, "unknown field 'form': there are from, to, order"),
        ("/events?from=soon", None, "'soon' is neither a time such as"),
        ("/events?from=1h&to=2h", None, "from: is not before to"),
        ("/events?type=", None, "type: '' is not a text"),
        ("/events?type=a&type=b", None, "names a field twice"),
        ("/events?type=%ff", None, "the query cannot be read"),
        ("/events?trigger=x", None, "no Trigger is called 'x': there are default/default/t, default/default/u"),
        ("/replay", {"from": "1h"}, "trigger: is missing"),
        ("/replay", {"trigger": "t"}, "from: is missing"),
        ("/replay", {"trigger": "v", "from": "1h"}, "no Trigger is called 'v'"),
        ("/replay", {"trigger": ["t"], "from": "1h"}, "trigger: ['t'] is not a text"),
        ("/replay", {"trigger": "t", "from": "1h", "dry-run": True}, "unknown field 'dry-run'"),
        ("/replay", {"trigger": "t", "from": "1h", "limit": True}, "limit: True is not"),
        ("/redeliver", {"positions": 3}, "positions: 3 is not a list of positions"),
        ("/redeliver", {"positions": [1.5]}, "positions: [1.5] is not a list"),
        ("/redeliver", {"positions": list(range(1001))}, "1001 positions are more than 1000"),
        ("/redeliver", {"trigger": "x"}, "no Trigger is called 'x'"),
        ("/redeliver", [], "is not a JSON object"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_its_reason(kept: Any, path: str, body: object, says: str) -> None:
    answer = await ask(kept, path, body)
    assert answer.status == 400
    assert says in answer.body.decode()
    assert kept.counts().replayed == 0


async def test_data_that_is_too_large_for_a_page_is_left_out(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    await broker.post(event("1", data=bytes((8 << 20) + 1)))
    await broker.post(event("2", data=bytes(8 << 20)))
    pages = [await told(broker, f"/events?data=base64&after={after}") for after in (0, 1)]
    (large,), (fits,) = (page["events"] for page in pages)
    assert (large["size"], large["data_left_out"], "data_base64" in large["event"]) == ((8 << 20) + 1, True, False)
    assert len(base64.b64decode(fits["event"]["data_base64"])) == 8 << 20


async def test_a_new_trigger_gets_the_events_from_before_it(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    before = await workshop.broker(new_trigger("u", {"type": "none"}), {"u": subscriber.url})
    for number in range(20):
        await before.post(event(str(number), "ab"[number % 2]))
    await before.service.stop()
    broker = await workshop.broker(new_trigger("t", {"type": "a"}), {"t": subscriber.url})
    foreseen = await replay(broker, dry_run=True, limit=3)
    assert (foreseen["looked"], foreseen["replayed"], foreseen["filtered"]) == (20, 10, 10)
    assert subscriber.ids == []
    assert await replay(broker, limit=3) == foreseen
    await broker.wait_settled()
    assert subscriber.ids == [str(number) for number in range(0, 20, 2)]
    counts = broker.counts()
    assert (counts.matched, counts.replayed, counts.delivered, counts.filtered) == (10, 10, 10, 0)
    shown = await told(broker, "/triggers")
    assert [one["replayed"] for one in shown["triggers"] if one["name"] == "t"] == [10]


async def test_a_redelivered_dead_letter_that_fails_again_is_one_again(kept: Any) -> None:
    assert (await replay(kept))["dead_letters"] == 1
    await kept.wait_settled()
    made = await told(kept, "/redeliver", {})
    assert (made["redelivered"], made["triggers"], made["done"]) == (1, {"default/default/t": 1}, True)
    await kept.wait_settled()
    assert kept.subscriber.ids.count("3") == 2
    kept.subscriber.answer = lambda _: Response(200)
    assert (await told(kept, "/redeliver", {"trigger": "t", "positions": [3]}))["redelivered"] == 1
    await kept.wait_settled()
    assert (await told(kept, "/redeliver", {"positions": [3]}))["redelivered"] == 0
    counts = kept.counts()
    assert (counts.matched, counts.delivered, counts.dead_lettered, counts.replayed) == (3, 3, 0, 1)
    assert (await told(kept, "/events?dead_letters=true"))["events"] == []


async def test_an_ordered_trigger_gets_a_replay_in_order(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    trigger = new_trigger("t").replace("{name: t}", ORDERED, 1)
    broker = await workshop.broker(trigger, {"t": subscriber.url})
    for number in range(30):
        await broker.post(event(str(number), partitionkey="ab"[number % 2]))
    await broker.wait_settled()
    del subscriber.events[:]
    answers = iter([Response(503)])
    subscriber.answer = lambda received: next(answers, Response(200)) if received.id == "4" else Response(200)
    assert (await replay(broker, limit=7))["replayed"] == 30
    await broker.wait_settled()
    for parity in (0, 1):
        taken = [int(name) for name in dict.fromkeys(subscriber.ids) if int(name) % 2 == parity]
        assert taken == list(range(parity, 30, 2))


async def test_a_replay_while_events_flow_gives_each_its_deliveries(workshop: Any, new_trigger: NewTrigger) -> None:
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url}, in_flight=4)
    await asyncio.gather(*(broker.post(event(f"old-{number}")) for number in range(60)))
    await broker.wait_settled()
    flowing = asyncio.gather(*(broker.post(event(f"new-{number}")) for number in range(200)))
    first, second = await asyncio.gather(replay(broker, limit=5), replay(broker, limit=5))
    await flowing
    await broker.wait_settled()
    replayed = first["replayed"] + second["replayed"]
    assert replayed >= 60
    counts = broker.counts()
    assert (counts.matched, counts.delivered, counts.replayed) == (260 + replayed, 260 + replayed, replayed)
    assert len(subscriber.ids) == 260 + replayed
    assert len(set(subscriber.ids)) == 260


async def test_what_is_asked_for_while_the_subscriber_hangs_survives_a_restart(
    workshop: Any, new_trigger: NewTrigger, until: Until
) -> None:
    subscriber = await workshop.subscriber()
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    for number in range(5):
        await broker.post(event(str(number)))
    await broker.wait_settled()
    down = True
    subscriber.answer = lambda _: Response(503, [(b"retry-after", b"30")]) if down else Response(200)
    assert (await replay(broker))["replayed"] == 5
    await until(lambda: len(subscriber.events) == 10)
    assert (await replay(broker))["waiting"] == 5
    await broker.service.stop()
    down = False
    again = await workshop.broker(new_trigger("t"), {"t": subscriber.url})
    await again.wait_settled()
    assert (again.counts().delivered, again.counts().replayed) == (10, 5)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-type", b"application/json; charset=utf-8")], 200),
        ([(b"content-type", b"text/plain")], 415),
        ([], 415),
        ([JSON, (b"origin", b"http://127.0.0.1:8611")], 403),
    ],
)
async def test_no_web_page_can_ask_for_a_change(kept: Any, headers: Headers, status: int) -> None:
    assert (await ask(kept, "/redeliver", {}, headers)).status == status
    assert (await ask(kept, "/redeliver")).status == 405


async def test_who_hangs_up_leaves_nothing_behind_that_nobody_delivers(kept: Any, until: Until) -> None:
    body = json.dumps({"trigger": "t", "from": "1h"}).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", kept.service.admin_port)
    head = f"POST /replay HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.transport.abort()
    await kept.post(event("last"))
    await kept.wait_settled()
    assert kept.counts().matched == kept.counts().replayed + 3
    assert kept.subscriber.ids.count("1") == 1 + kept.counts().replayed
