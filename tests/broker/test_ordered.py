"""Ordered delivery: one key's events in their order whatever becomes of them, and no key waits for another."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response

ORDERED = "{name: t, annotations: {kafka.eventing.knative.dev/delivery.order: ordered}}"
RETRIES = 2
ANSWERS: Mapping[str, Response] = {
    "taken": Response(200),
    "again": Response(503, [(b"retry-after", b"0")]),
    "refused": Response(400),
    "no event": Response(200, [], b"not an event"),
}
Until = Callable[..., Awaitable[None]]


def ordered(new_trigger: Callable[..., str], delivery: str = "") -> str:
    """The Trigger `t`, which asks for order."""
    return new_trigger("t", delivery=delivery).replace("{name: t}", ORDERED, 1)


class Witness:
    """Answers by a script, one answer an attempt, and writes down what it was asked, key by key."""

    def __init__(self, subscriber: Any, script: Sequence[str]) -> None:
        self.attempts: defaultdict[str, list[int]] = defaultdict(list)
        self.overlaps = 0
        self._script = script
        self._calls = 0
        self._open: set[str] = set()
        subscriber.answer = self._answer

    async def _answer(self, event: CloudEvent) -> Response:
        key, _, number = event.id.partition("-")
        self.overlaps += key in self._open
        self._open.add(key)
        self.attempts[key].append(int(number))
        answer = ANSWERS[self._script[self._calls % len(self._script)]]
        self._calls += 1
        await asyncio.sleep(0)
        self._open.discard(key)
        return answer


async def post(broker: Any, keys: Sequence[str]) -> dict[str, int]:
    """An event for each, one after another, so that they are kept in this order; how many each key got."""
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        event = CloudEvent(f"{key}-{counts[key]}", "/s", "t", b"{}", extensions={"partitionkey": key})
        assert await broker.post(event) == 202
    return counts


@settings(max_examples=25, deadline=None)
@given(
    keys=st.lists(st.sampled_from("abc"), min_size=1, max_size=30),
    script=st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=12),
    with_sink=st.booleans(),
    in_flight=st.sampled_from([1, 2, 16]),
)
def test_each_key_is_delivered_in_its_order_whatever_the_subscriber_answers(
    make_workshop: Any, new_trigger: Any, keys: list[str], script: list[str], with_sink: bool, in_flight: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_deliver(make_workshop(Path(folder)), new_trigger, keys, script, with_sink, in_flight))


async def _deliver(
    workshop: Any, new_trigger: Any, keys: list[str], script: list[str], with_sink: bool, in_flight: int
) -> None:
    subscriber, sink = await workshop.subscriber(), await workshop.subscriber()
    witness = Witness(subscriber, script)
    letters = Witness(sink, ["again", "taken"])
    dead_letters = f", deadLetterSink: {{uri: '{sink.url}'}}" if with_sink else ""
    delivery = f"{{retry: {RETRIES}, backoffPolicy: linear, backoffDelay: PT0.001S{dead_letters}}}"
    broker = await workshop.broker(ordered(new_trigger, delivery), {"t": subscriber.url}, in_flight=in_flight)
    counts = await post(broker, keys)
    await broker.wait_settled()
    found = broker.counts()
    await workshop.close()

    assert witness.overlaps == letters.overlaps == 0
    assert found.matched == len(keys) == found.delivered + found.dead_lettered
    assert sorted(witness.attempts) == sorted(counts)
    for key, attempts in witness.attempts.items():
        assert all(before <= after for before, after in pairwise(attempts))
        assert sorted(set(attempts)) == list(range(1, counts[key] + 1))
        assert max(attempts.count(number) for number in attempts) <= 1 + RETRIES
    for attempts in letters.attempts.values():
        assert attempts == sorted(attempts)


async def test_a_key_that_hangs_holds_up_no_other(workshop: Any, new_trigger: Any, until: Until) -> None:
    """Among many keys, one event of one of them is being answered for ever; the order of that key is kept meanwhile."""
    subscriber, released = await workshop.subscriber(), asyncio.Event()

    async def answer(event: CloudEvent) -> Response:
        if event.id == "stuck-1":
            await released.wait()
        return Response(200)

    subscriber.answer = answer
    broker = await workshop.broker(ordered(new_trigger), {"t": subscriber.url}, in_flight=2)
    keys = [key for number in range(100) for key in ("stuck", f"key{number % 9}")]
    await post(broker, keys)
    try:
        await until(lambda: broker.counts().delivered == 100)
        assert [one for one in subscriber.ids if one.startswith("stuck")] == ["stuck-1"]
    finally:
        released.set()
    await broker.wait_settled()
    assert [one for one in subscriber.ids if one.startswith("stuck")] == [f"stuck-{n}" for n in range(1, 101)]


async def test_a_key_whose_event_is_tried_again_holds_up_no_other(
    workshop: Any, new_trigger: Any, until: Until
) -> None:
    subscriber, mended = await workshop.subscriber(), asyncio.Event()
    again, taken = ANSWERS["again"], ANSWERS["taken"]
    subscriber.answer = lambda event: again if event.id == "bad-1" and not mended.is_set() else taken
    delivery = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.001S}"
    broker = await workshop.broker(ordered(new_trigger, delivery), {"t": subscriber.url}, in_flight=1)
    await post(broker, ["bad", "bad", "good", "good", "good"])
    await until(lambda: "good-3" in subscriber.ids)
    assert "bad-2" not in subscriber.ids
    mended.set()
    await broker.wait_settled()
    assert [one for one in subscriber.ids if one == "bad-2"] == ["bad-2"]
    assert subscriber.ids.index("bad-2") > max(n for n, one in enumerate(subscriber.ids) if one == "bad-1")


async def test_the_order_holds_from_one_start_to_the_next(workshop: Any, new_trigger: Any, until: Until) -> None:
    """What was under way is delivered again, before what comes after it."""
    subscriber, again = await workshop.subscriber(), ANSWERS["again"]
    subscriber.answer = lambda event: again if event.id.endswith("-3") else ANSWERS["taken"]
    delivery = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.001S}"
    broker = await workshop.broker(ordered(new_trigger, delivery), {"t": subscriber.url})
    await post(broker, [key for _ in range(6) for key in "ab"])
    await until(lambda: {"a-3", "b-3"} <= set(subscriber.ids))
    await broker.service.stop()
    before = len(subscriber.ids)
    subscriber.answer = lambda _: ANSWERS["taken"]
    broker = await workshop.broker(ordered(new_trigger, delivery), {"t": subscriber.url})
    await broker.wait_settled()
    assert not {"a-4", "b-4"} & set(subscriber.ids[:before])
    for key in "ab":
        assert [one for one in subscriber.ids[before:] if one[0] == key] == [f"{key}-{n}" for n in range(3, 7)]


async def test_a_stuck_key_with_very_many_events_holds_up_no_other_and_keeps_its_order(
    workshop: Any, new_trigger: Any, until: Until
) -> None:
    """More than are held whole: the rest is held by position, and read again in its turn."""
    subscriber, released = await workshop.subscriber(), asyncio.Event()

    async def answer(event: CloudEvent) -> Response:
        if event.id == "stuck-1":
            await released.wait()
        return Response(200)

    subscriber.answer = answer
    broker = await workshop.broker(ordered(new_trigger), {"t": subscriber.url})
    count = 1100
    await post(broker, ["stuck"] * count + ["other"])
    await until(lambda: "other-1" in subscriber.ids)
    assert subscriber.ids == ["stuck-1", "other-1"]
    released.set()
    await broker.wait_settled()
    assert [one for one in subscriber.ids if one != "other-1"] == [f"stuck-{n}" for n in range(1, count + 1)]
