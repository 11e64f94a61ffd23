"""Whatever a subscriber does, nothing is lost between matched, delivered, dead-lettered and waiting."""

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wayside.eventing.broker import tables
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import encode_binary

REPLY = CloudEvent("reply", "/s", "reply", b"{}")
ANSWERS = [
    Response(200),
    Response(202, *encode_binary(REPLY)),
    Response(200, [], b"not an event"),
    Response(503, [(b"retry-after", b"0")]),
    Response(404),
    Response(400),
    Response(302, [(b"location", b"/elsewhere")]),
]


@settings(max_examples=15, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 12), st.sampled_from([b"a", b"b"])), min_size=1, max_size=30),
    script=st.lists(st.sampled_from(range(len(ANSWERS))), min_size=1, max_size=12),
    with_sink=st.booleans(),
)
def test_the_balance_holds(
    make_workshop: Any, new_trigger: Any, events: list[tuple[int, bytes]], script: list[int], with_sink: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(make_workshop(Path(folder)), new_trigger, events, script, with_sink))
        connection = sqlite3.connect(Path(folder) / "data" / "journal.db")
        changed = tables.recount(connection)
        connection.close()
    assert changed == 0


async def _run(
    workshop: Any, new_trigger: Any, events: list[tuple[int, bytes]], script: list[int], with_sink: bool
) -> None:
    subscriber, sink = await workshop.subscriber(), await workshop.subscriber()
    calls = iter(range(10**9))
    subscriber.answer = lambda _: ANSWERS[script[next(calls) % len(script)]]
    dead_letters = f", deadLetterSink: {{uri: '{sink.url}'}}" if with_sink else ""
    delivery = f"{{retry: 2, backoffPolicy: linear, backoffDelay: PT0.001S{dead_letters}}}"
    triggers = new_trigger("all", delivery=delivery) + new_trigger("some", {"type": "t"}, delivery=delivery)
    broker = await workshop.broker(triggers, {"all": subscriber.url, "some": subscriber.url}, in_flight=4)
    answers = await asyncio.gather(*(broker.post(CloudEvent(str(name), "/s", "t", data)) for name, data in events))
    await broker.wait_settled()
    counts = broker.service.counts()
    await workshop.close()

    distinct = len(set(events))
    replied = counts.events - distinct
    assert set(answers) == {202}
    assert replied in (0, 1)
    assert counts.duplicates >= len(events) - distinct
    matched = {trigger.name: trigger.matched for trigger in counts.triggers}
    assert matched == {"all": distinct + replied, "some": distinct}
    assert all(trigger.matched == trigger.delivered + trigger.dead_lettered for trigger in counts.triggers)
    assert sum(trigger.attempts for trigger in counts.triggers) == len(subscriber.requests)
    dead = sum(trigger.dead_lettered for trigger in counts.triggers)
    assert len(sink.requests) == (dead if with_sink else 0)
