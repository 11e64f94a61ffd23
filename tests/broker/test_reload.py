"""Manifests that change while events flow: what is new takes part, what is gone rests, and nobody else notices."""

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response

RELOAD_S = 0.02
IN_FORCE = "have changed, and are in force"
BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
Until = Callable[..., Awaitable[None]]


def trigger(name: str, url: str, event_type: str = "t", annotations: str = "{}") -> str:
    """A Trigger's document."""
    return (
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\n"
        f"metadata: {{name: {name}, annotations: {annotations}}}\nspec:\n  broker: default\n"
        f"  filter: {{attributes: {{type: {event_type}}}}}\n  subscriber: {{uri: '{url}'}}\n"
        "  delivery: {retry: 3, backoffPolicy: linear, backoffDelay: PT0.005S}\n"
    )


class Stream:
    """Events that are posted one after another by a few senders, of types in turn, until it is told to end."""

    def __init__(self, broker: Any, types: tuple[str, ...]) -> None:
        self.accepted: list[CloudEvent] = []
        self._broker = broker
        self._numbers = itertools.count()
        self._types = itertools.cycle(types)

    async def post(self) -> None:
        while True:
            event = CloudEvent(str(next(self._numbers)), "/s", next(self._types), b"{}")
            assert await self._broker.post(event) == 202
            self.accepted.append(event)

    def ids(self, event_type: str, since: int = 0) -> set[str]:
        """Of those that were accepted; `since` so many of them were."""
        return {event.id for event in self.accepted[since:] if event.type == event_type}


class Changing:
    """A broker whose manifest changes under a stream of events."""

    def __init__(self, workshop: Any, until: Until) -> None:
        self._workshop = workshop
        self._until = until
        self.broker: Any = None

    async def start(self, *triggers: str) -> None:
        self.broker = await self._workshop.broker("".join(triggers), {}, reload_s=RELOAD_S, in_flight=8)

    @asynccontextmanager
    async def flowing(self, *types: str) -> AsyncIterator[Stream]:
        """Events come in all the while; afterwards all that can be delivered is."""
        stream = Stream(self.broker, types)
        senders = [asyncio.create_task(stream.post()) for _ in range(8)]
        try:
            yield stream
            await self.pass_by(stream)
        finally:
            for sender in senders:
                sender.cancel()
            ended = await asyncio.gather(*senders, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        await self._until(lambda: not any(one.waiting for one in self.broker.service.counts().triggers if one.active))

    async def pass_by(self, stream: Stream, events: int = 100) -> None:
        """Until so many more were accepted."""
        enough = len(stream.accepted) + events
        await self._until(lambda: len(stream.accepted) >= enough)

    async def change(self, in_force: Callable[[], Any], *triggers: str) -> None:
        """Write the manifest anew, and wait until it is in force."""
        written = self._workshop.folder / "written"
        written.write_text(BROKER + "".join(triggers))
        written.rename(self._workshop.folder / "manifest.yaml")
        await self._until(in_force)

    def is_active(self, name: str) -> bool:
        return any(one.active for one in self.broker.service.counts().triggers if one.name == name)


class Late:
    """Has a subscriber take its time, and knows how many requests were open at once at most."""

    def __init__(self, subscriber: Any) -> None:
        self.most = 0
        self._open = 0
        subscriber.answer = self._answer

    async def _answer(self, _: CloudEvent) -> Response:
        self._open += 1
        self.most = max(self.most, self._open)
        await asyncio.sleep(0.005)
        self._open -= 1
        return Response(200)


@pytest.fixture
def changing(workshop: Any, until: Until) -> Changing:
    return Changing(workshop, until)


async def test_a_trigger_is_added(workshop: Any, changing: Changing) -> None:
    """Who is known to the views matches within one look of the watch: so all later events are its."""
    old, new = await workshop.subscriber(), await workshop.subscriber()
    await changing.start(trigger("old", old.url))
    async with changing.flowing("t") as stream:
        await changing.pass_by(stream)
        await changing.change(lambda: new.events, trigger("old", old.url), trigger("new", new.url))
        since = len(stream.accepted) + 8  # what the senders had under way
    assert stream.ids("t", since) <= set(new.ids)
    assert sorted(old.ids) == sorted(set(old.ids)) == sorted(stream.ids("t") | set(old.ids))
    assert len(new.ids) == len(set(new.ids)) == changing.broker.counts("new").matched


async def test_a_trigger_is_removed_and_comes_back(workshop: Any, changing: Changing) -> None:
    """It rests; what it had matched is delivered when it is back, once, and what came meanwhile is not its."""
    stays, goes = await workshop.subscriber(), await workshop.subscriber()
    both = (trigger("stays", stays.url), trigger("goes", goes.url))
    await changing.start(*both)
    async with changing.flowing("t") as stream:
        await changing.pass_by(stream)
        await changing.change(lambda: not changing.is_active("goes"), both[0])
        await changing.pass_by(stream)
        rested = changing.broker.counts("goes").matched
        await changing.pass_by(stream)
        assert changing.broker.counts("goes").matched == rested
        await changing.change(lambda: changing.is_active("goes"), *both)
    await changing.broker.wait_settled()
    assert stream.ids("t") <= set(stays.ids)
    for subscriber, name in ((stays, "stays"), (goes, "goes")):
        counts = changing.broker.counts(name)
        assert len(subscriber.ids) == len(set(subscriber.ids)) == counts.matched == counts.delivered


async def test_its_filter_changes(workshop: Any, changing: Changing) -> None:
    one, other = await workshop.subscriber(), await workshop.subscriber()
    await changing.start(trigger("one", one.url, "a"), trigger("other", other.url, "a"))
    async with changing.flowing("a", "b") as stream:
        await changing.pass_by(stream)
        has_b = lambda: any(event.type == "b" for event in one.events)  # noqa: E731
        await changing.change(has_b, trigger("one", one.url, "b"), trigger("other", other.url, "a"))
        since = len(stream.accepted) + 8
    assert stream.ids("b", since) <= set(one.ids)
    assert not stream.ids("a", since) & set(one.ids)
    assert stream.ids("a") <= set(other.ids)
    assert not stream.ids("b") & set(other.ids)


async def test_its_subscriber_changes(workshop: Any, changing: Changing) -> None:
    """Every event goes to one of the two, and each but those under way to one alone."""
    before, after = await workshop.subscriber(), await workshop.subscriber()
    await changing.start(trigger("t", before.url))
    async with changing.flowing("t") as stream:
        await changing.pass_by(stream)
        await changing.change(lambda: after.events, trigger("t", after.url))
        rested = len(before.events) + 8
    assert stream.ids("t") <= set(before.ids) | set(after.ids)
    assert not set(before.ids) & set(after.ids)
    assert len(before.events) <= rested


async def test_what_waits_goes_to_the_subscriber_that_it_has_now(workshop: Any, changing: Changing) -> None:
    dead, live = await workshop.subscriber(), await workshop.subscriber()
    dead.answer = lambda _: Response(503, [(b"retry-after", b"0")])
    stubborn = trigger("t", dead.url).replace("retry: 3", "retry: 1000")
    await changing.start(stubborn)
    async with changing.flowing("t") as stream:
        await changing.pass_by(stream)
        await changing.change(lambda: live.events, stubborn.replace(dead.url, live.url))
    assert stream.ids("t") <= set(live.ids)
    assert changing.broker.counts("t").dead_lettered == 0


@pytest.mark.parametrize(
    "annotations",
    [
        "{kafka.eventing.knative.dev/delivery.order: ordered}",
        '{eventing.wayside.dev/in-flight: "1"}',
        '{kafka.eventing.knative.dev/delivery.order: ordered, eventing.wayside.dev/in-flight: "64"}',
    ],
)
async def test_its_order_and_its_bound_change(workshop: Any, changing: Changing, caplog: Any, annotations: str) -> None:
    """Of one key, or bounded by one: one at a time. What was under way is not delivered beside itself."""
    one, other = await workshop.subscriber(), await workshop.subscriber()
    late = Late(one)
    await changing.start(trigger("one", one.url), trigger("other", other.url))
    caplog.set_level(logging.INFO, "wayside.broker")
    async with changing.flowing("t") as stream:
        for times, stated in enumerate((annotations, "{}"), 1):
            await changing.pass_by(stream)
            changed = trigger("one", one.url, annotations=stated)
            await changing.change(
                lambda n=times: caplog.text.count(IN_FORCE) == n, changed, trigger("other", other.url)
            )
            await changing.pass_by(stream)  # what was under way ends meanwhile
            late.most = 0
            await changing.pass_by(stream)
            assert (late.most == 1) is (stated == annotations)
    for subscriber in (one, other):
        assert len(subscriber.ids) == len(set(subscriber.ids))
        assert stream.ids("t") <= set(subscriber.ids)


async def test_a_broken_manifest_changes_nothing(workshop: Any, changing: Changing, caplog: Any) -> None:
    subscriber = await workshop.subscriber()
    await changing.start(trigger("t", subscriber.url))
    async with changing.flowing("t") as stream:
        await changing.change(lambda: "the old ones stay" in caplog.text, "---\nkind: Trigger\n")
        await changing.pass_by(stream)
    assert stream.ids("t") <= set(subscriber.ids)


async def test_a_trigger_that_hangs_while_it_changes_holds_up_no_other_change(workshop: Any, until: Until) -> None:
    hanging, fresh = await workshop.subscriber(), await workshop.subscriber()
    go_on = asyncio.Event()

    async def answer(_: CloudEvent) -> Response:
        await go_on.wait()
        return Response(200)

    hanging.answer = answer
    broker = await workshop.broker(trigger("hang", hanging.url), {}, reload_s=RELOAD_S)
    await broker.post(CloudEvent("0", "/s", "t", b""))
    await until(lambda: hanging.events)
    changed = trigger("hang", hanging.url, annotations='{eventing.wayside.dev/in-flight: "4"}')
    (workshop.folder / "manifest.yaml").write_text(BROKER + changed + trigger("fresh", fresh.url))
    numbers = iter(range(1, 10_000))

    async def is_in_force() -> bool:
        await broker.post(CloudEvent(str(next(numbers)), "/s", "t", b""))
        return bool(fresh.events)

    await until(is_in_force)
    go_on.set()
    await broker.wait_settled()
    assert len(hanging.ids) == len(set(hanging.ids)) == broker.counts("hang").delivered


async def test_what_the_store_cannot_take_now_is_in_force_later(workshop: Any, until: Until, caplog: Any) -> None:
    subscriber = await workshop.subscriber()
    caplog.set_level(logging.INFO, "wayside.broker")
    broker = await workshop.broker(trigger("one", subscriber.url, "other"), {}, reload_s=RELOAD_S)
    with closing(sqlite3.connect(workshop.folder / "data" / "journal.db", isolation_level=None)) as other:
        fail = "SELECT RAISE(ROLLBACK, 'disk I/O error')"
        other.execute(f"CREATE TRIGGER broken BEFORE INSERT ON broker_trigger BEGIN {fail}; END")
        changed = trigger("one", subscriber.url, "other") + trigger("two", subscriber.url)
        (workshop.folder / "manifest.yaml").write_text(BROKER + changed)
        await until(lambda: "are not in force yet" in caplog.text)
        other.execute("DROP TRIGGER broken")
    await until(lambda: IN_FORCE in caplog.text)
    await broker.post(CloudEvent("1", "/s", "t", b""))
    await until(lambda: subscriber.ids == ["1"])
