"""A drift detector that pulls from the real Kafka and is killed: windows as of an undisturbed one, each once."""

import asyncio
import json
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from wayside.detectors.artifact import Artifact
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import decode
from wayside.eventing.kafka.cluster import ensure_topics
from wayside.eventing.kafka.sink import KafkaEventSink

from .conftest import drift_in, normal_rows, request_event, wait_until
from .test_cli import Process, running

COUNT, ROWS = 600, 17
WINDOWS = COUNT * ROWS // 50


async def rows_taken(process: Process) -> int:
    keys = json.loads((await process.get("/windows")).body)["keys"]
    return sum(int(key["rows"]) for key in keys)


async def kill_in_the_middle(process: Process) -> None:
    """Once it has taken some more rows, wherever that is."""
    async with asyncio.timeout(40):
        before = await rows_taken(process)
        while await rows_taken(process) == before:
            await asyncio.sleep(0.005)
    await process.end(signal.SIGKILL)
    await process.start()


async def send_all(topic: KafkaEventSink, events: list[CloudEvent]) -> None:
    for event in events:
        await topic.send(event)


async def settled(process: Process) -> bool:
    view = json.loads((await process.get("/windows")).body)
    return sum(key["windows"] for key in view["keys"]) == WINDOWS and view["outbox"] == 0


def verdicts_in(address: KafkaAddress) -> dict[str, set[str]]:
    """What the verdict topic holds, by id."""
    found: dict[str, set[str]] = {}
    config = {"bootstrap.servers": address.servers, "group.id": address.topics[0], "auto.offset.reset": "earliest"}
    with Consumer(config) as consumer:
        consumer.subscribe(list(address.topics))
        while len(found) < WINDOWS:
            messages = consumer.consume(WINDOWS, timeout=2)
            assert messages or not found, f"only {len(found)} of {WINDOWS} verdicts"
            for event in (decode(message.headers() or [], message.value()) for message in messages):  # type: ignore[arg-type]
                found.setdefault(event.id, set()).add(repr(event))
    return found


async def test_killed_anywhere_pulled_drift_gives_the_same_windows_each_once(
    service: Callable[[str], str], ks: Artifact, ks_folder: Path, tmp_path: Path
) -> None:
    name = f"test-{uuid.uuid4().hex}"
    events_at, verdicts_at = (KafkaAddress(service("KAFKA"), (f"{name}-{kind}",)) for kind in ("events", "verdicts"))
    await ensure_topics(events_at.servers, [*events_at.topics, *verdicts_at.topics], {})
    config = tmp_path / "kafka.properties"
    config.write_text("session.timeout.ms=6000\nheartbeat.interval.ms=500\n")
    flags = ("--artifact", str(ks_folder), "--data", str(tmp_path / "killed"), "--kafka-config", str(config))
    source = ("--source", str(events_at), "--group", name, "--sink-url", str(verdicts_at))
    events = [request_event(normal_rows(ROWS, n), str(n)) for n in range(COUNT)]
    topic = KafkaEventSink(events_at, {}, 10.0)
    await topic.start()
    async with running(*flags, *source) as process:
        for first in range(0, COUNT, COUNT // 3):
            sending = asyncio.create_task(send_all(topic, events[first : first + COUNT // 3]))
            if first:
                await kill_in_the_middle(process)
            await sending
        async with asyncio.timeout(60):
            while not await settled(process):
                await asyncio.sleep(0.02)
    await topic.stop()
    async with drift_in(tmp_path / "calm", ks) as calm:
        assert await calm.take(*events) == ["scored"] * COUNT
        await wait_until(lambda: len(calm.sink.events) == WINDOWS)
    assert verdicts_in(verdicts_at) == {verdict.id: {repr(verdict)} for verdict in calm.sink.events}
    topics = [*events_at.topics, *verdicts_at.topics, f"{name}.dead-letters"]
    for deleted in AdminClient({"bootstrap.servers": events_at.servers}).delete_topics(topics).values():
        deleted.exception()
