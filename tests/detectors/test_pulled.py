"""Detectors that pull from the real Kafka and are killed: the verdicts of undisturbed ones, none lost, none twice."""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.scoring.judge import RowJudge
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.binding import decode
from wayside.eventing.kafka.cluster import ensure_topics
from wayside.eventing.kafka.sink import KafkaEventSink

from .conftest import at, drift_in, later, normal_rows, request_event, wait_until
from .test_cli import Process, running

COUNT, ROWS = 600, 17
WINDOWS = COUNT * ROWS // 50


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a detector reads and writes, and the flags that say so."""

    servers: str
    name: str
    flags: tuple[str, ...]

    @property
    def addresses(self) -> list[KafkaAddress]:
        """Of events, and of verdicts."""
        return [KafkaAddress(self.servers, (f"{self.name}-{kind}",)) for kind in ("events", "verdicts")]


@pytest.fixture
async def topics(service: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Topics]:
    """Topics and a group that no other test has; deleted in the end."""
    config = tmp_path / "kafka.properties"
    config.write_text("session.timeout.ms=6000\nheartbeat.interval.ms=500\n")  # who was killed is soon taken for dead
    made = Topics(service("KAFKA"), f"test-{uuid.uuid4().hex}", ())
    events_at, verdicts_at = made.addresses
    own = [*events_at.topics, *verdicts_at.topics]
    await ensure_topics(made.servers, own, {})
    source = ("--source", str(events_at), "--group", made.name, "--sink-url", str(verdicts_at))
    yield replace(made, flags=(*source, "--kafka-config", str(config)))
    admin = AdminClient({"bootstrap.servers": made.servers})
    for deleted in admin.delete_topics([*own, f"{made.name}.dead-letters"]).values():
        deleted.exception()


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


def verdicts_in(address: KafkaAddress, count: int) -> dict[str, set[str]]:
    """What the verdict topic holds, by id, once it holds `count`."""
    found: dict[str, set[str]] = {}
    config = {"bootstrap.servers": address.servers, "group.id": address.topics[0], "auto.offset.reset": "earliest"}
    with Consumer(config) as consumer:
        consumer.subscribe(list(address.topics))
        while len(found) < count:
            message = consumer.poll(15)  # longer than a member that was killed is taken for alive
            assert message is not None, f"only {len(found)} of {count} verdicts"
            event = decode(message.headers() or [], message.value())  # type: ignore[arg-type]
            found.setdefault(event.id, set()).add(repr(event))
    return found


async def test_killed_anywhere_pulled_drift_gives_the_same_windows_each_once(
    topics: Topics, ks: Artifact, ks_folder: Path, tmp_path: Path
) -> None:
    flags = ("--artifact", str(ks_folder), "--data", str(tmp_path / "killed"))
    events_at, verdicts_at = topics.addresses
    events = [*(request_event(normal_rows(ROWS, n), str(n), at(n / 100)) for n in range(COUNT)), later(60)]
    topic = KafkaEventSink(events_at, {}, 10.0)
    await topic.start()
    async with running(*flags, *topics.flags) as process:
        for first in range(0, COUNT, COUNT // 3):
            last = first + COUNT // 3
            sending = asyncio.create_task(send_all(topic, events[first : None if last == COUNT else last]))
            if first:
                await kill_in_the_middle(process)
            await sending
        async with asyncio.timeout(60):
            while not await settled(process):
                await asyncio.sleep(0.02)
    await topic.stop()
    async with drift_in(tmp_path / "calm", ks) as calm:
        assert await calm.take(*events) == ["scored"] * (COUNT + 1)
        await wait_until(lambda: calm.view()[2:] == (WINDOWS, 0))
    assert verdicts_in(verdicts_at, len(calm.sink.events)) == {
        verdict.id: {repr(verdict)} for verdict in calm.sink.events
    }


async def scored(processes: list[Process]) -> list[float]:
    """Rows that each of them has scored since it started."""
    texts = [(await process.get("/metrics")).body.decode() for process in processes]
    lines = [
        next(line for line in text.splitlines() if line.startswith("wayside_detector_rows_total{")) for text in texts
    ]
    return [float(line.split()[1]) for line in lines]


async def test_two_row_detectors_share_the_events_and_one_takes_over_what_the_other_was_killed_at(
    topics: Topics, knn: Artifact, knn_folder: Path
) -> None:
    events_at, verdicts_at = topics.addresses
    rows = normal_rows(4, 1)
    events = [request_event(rows, str(n), inferenceservicename=f"service-{n % 24}") for n in range(COUNT)]
    half = COUNT // 2
    sink = KafkaEventSink(events_at, {}, 10.0)
    await sink.start()
    flags = ("--artifact", str(knn_folder), *topics.flags)
    async with running(*flags) as first, running(*flags) as second:
        await asyncio.gather(*map(sink.send, events[:half]))
        async with asyncio.timeout(40):
            while min(await scored([first, second])) == 0:  # it takes a moment until both have partitions
                await asyncio.sleep(0.05)
                await asyncio.gather(*map(sink.send, events[:half]))
        sending = asyncio.create_task(send_all(sink, events[half:]))
        await first.end(signal.SIGKILL)
        await sending
        verdicts = await asyncio.to_thread(verdicts_in, verdicts_at, COUNT)
        await first.start()
    await sink.stop()
    judge, identity = RowJudge.of(knn), knn.identity(None)
    calm = [judge.verdict(judge.score(rows)).event(event, identity) for event in events]
    assert verdicts == {verdict.id: {repr(verdict)} for verdict in calm}
