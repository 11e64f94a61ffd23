"""The broker as a process that is asked to stop, and one whose disk has no room: nothing accepted is lost."""

import asyncio
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from crash_processes import STORE, BrokerProcess, Load, differing_counts, is_intact, resolutions

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Response
from wayside.eventing.http_binding import encode_binary

BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n"
EVENTS = 600
STOP_S = 15.0  # five seconds for requests in hand, five for deliveries, and a machine that is busy
ROOM_BYTES = 200_000
Until = Callable[..., Awaitable[None]]


@pytest.fixture
async def stage(workshop: Any, new_trigger: Callable[..., str]) -> AsyncIterator[tuple[BrokerProcess, Any]]:
    """A broker's process that was not started yet, and the subscriber of its one Trigger."""
    subscriber = await workshop.subscriber()
    delivery = "{retry: 1000, backoffPolicy: linear, backoffDelay: PT0.02S}"
    (workshop.folder / "manifest.yaml").write_text(BROKER + new_trigger("t", delivery=delivery))
    broker = BrokerProcess(workshop.folder, resolutions({"t": subscriber.url}))
    yield broker, subscriber
    await broker.stop()


def answer_late(subscriber: Any, after: int, wait_s: float) -> None:
    """From one event on, the subscriber takes its time."""

    async def answer(_: CloudEvent) -> Response:
        await asyncio.sleep(wait_s if len(subscriber.events) > after else 0)
        return Response(200)

    subscriber.answer = answer


async def test_sigterm_under_load_loses_nothing_and_delivers_nothing_twice(stage: Any, until: Until) -> None:
    broker, subscriber = stage
    answer_late(subscriber, 0, 0.005)
    await broker.start()
    load = Load()
    posting = asyncio.create_task(load.post(broker, [str(number) for number in range(EVENTS)]))
    await until(lambda: len(load.accepted) > EVENTS // 3)
    began_s = time.monotonic()
    assert await broker.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began_s < STOP_S
    await posting
    assert differing_counts(broker.folder) == 0
    before = set(load.accepted)
    await broker.start()
    await load.post(broker)
    await until(broker.is_settled)
    assert before < load.accepted == {str(number) for number in range(EVENTS)}
    assert sorted(subscriber.ids) == sorted(load.accepted)


async def test_sigterm_does_not_wait_for_a_subscriber_that_hangs(stage: Any, until: Until) -> None:
    broker, subscriber = stage
    answer_late(subscriber, 20, 60.0)
    await broker.start()
    load = Load()
    await load.post(broker, [str(number) for number in range(100)])
    await until(lambda: len(subscriber.events) > 20)
    began_s = time.monotonic()
    assert await broker.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began_s < STOP_S
    assert differing_counts(broker.folder) == 0
    answer_late(subscriber, 0, 0)
    await broker.start()
    await until(broker.is_settled)
    assert set(subscriber.ids) == load.accepted


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the files of another process")
async def test_a_disk_without_room_refuses_and_recovers(stage: Any, until: Until) -> None:
    """RLIMIT_FSIZE, set in mid-stream: writes fail, of arrivals and of settlements alike."""
    broker, subscriber = stage
    await broker.start()
    load = Load(data_bytes=2_000)
    await load.post(broker, [f"before-{number}" for number in range(200)])
    largest = max(file.stat().st_size for file in (broker.folder / "data").glob(f"{STORE}*"))
    before = resource.prlimit(broker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (largest + ROOM_BYTES, before[1]))
    await load.post(broker, [f"during-{number}" for number in range(5_000)])
    assert load.refused
    during = set(load.accepted)
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, before)
    await load.post(broker)
    await until(broker.is_settled, 30)
    assert len(load.accepted) == 5_200
    assert during < load.accepted == set(subscriber.ids)
    assert await broker.stop(signal.SIGTERM) == 0
    assert differing_counts(broker.folder) == 0
    assert is_intact(broker.folder)


async def test_a_full_database_refuses_with_advice_and_goes_on_delivering_once_there_is_room(
    workshop: Any, new_trigger: Callable[..., str], until: Until
) -> None:
    subscriber, has_room = await workshop.subscriber(), asyncio.Event()

    async def answer(_: CloudEvent) -> Response:
        await has_room.wait()
        return Response(200)

    subscriber.answer = answer
    broker = await workshop.broker(new_trigger("t"), {"t": subscriber.url})

    async def limit_pages(pages: int) -> None:
        await broker.service.store.change(lambda to: to.execute(f"PRAGMA max_page_count={pages}").fetchone())

    await limit_pages(100)
    accepted = []
    for number in range(1_000):
        event = CloudEvent(str(number), "/s", "t", b"x" * 10_000)
        if await broker.post(event) != 202:
            break
        accepted.append(event)
    headers, body = encode_binary(event)
    refused = await broker.request(headers=headers, body=body)
    assert refused.status == 503
    assert b"make room" in refused.body
    assert int(refused.header(b"retry-after") or b"0") >= 1
    await limit_pages(100_000)
    has_room.set()
    assert await broker.post(event) == 202
    await until(lambda: {*subscriber.ids} == {one.id for one in (*accepted, event)})
    await broker.wait_settled()
    assert broker.counts().delivered == len(accepted) + 1
