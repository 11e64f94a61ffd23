"""Killed without warning: the process that reads, and Kafka itself. Nothing is lost, nothing is committed too early."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.groups import GroupPosition, GroupReader
from wayside.eventing.kafka.sink import KafkaEventSink
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.sink import MemorySink, SinkUnavailable

LAUNCHER = Path(__file__).parents[2] / "services" / "launcher.py"
READER = Path(__file__).parent / "kafka_reader_process.py"
COUNT = 4000
KILLS = 4
# of 64 in flight, each for a tenth of a second on average (kafka_reader_process.py)
MOST_IN_A_SECOND = 640
SLACK_S = 2.0  # of a busy machine, from the commit to the moment this test sees it


def contents(names: Any) -> dict[tuple[int, int], int]:
    """The id of every event by partition and offset."""
    config = {"bootstrap.servers": names.servers, "group.id": "look", "log_level": "0"}
    with Consumer(config) as consumer:
        consumer.assign([TopicPartition(names.topic, number, 0) for number in range(6)])
        found = consumer.consume(COUNT, timeout=20)
        consumer.unassign()
    return {(one.partition(), one.offset()): int(dict(one.headers())["ce_id"]) for one in found}


def acceptances(file: Path) -> list[int]:
    """The ids that were accepted, in their order, each as often as it was."""
    return [int(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def accepted(file: Path) -> set[int]:
    return set(acceptances(file))


def committed(names: Any, events: dict[tuple[int, int], int]) -> set[int]:
    """The events that no member of the group will read again."""
    positions = GroupReader(names.servers, {}).read(names.group, [names.topic])
    return {events[at.partition, offset] for at in positions for offset in range(at.committed or 0)}


def assert_only_accepted_is_committed(names: Any, events: dict[tuple[int, int], int], file: Path) -> int:
    done = committed(names, events)  # first: what is accepted only grows
    assert done <= accepted(file)
    return len(done)


async def test_a_reader_that_is_killed_loses_nothing(
    names: Any, make_event: Any, wait_until: Any, tmp_path: Path
) -> None:
    names.create(6)
    topic = KafkaEventSink(names.address, {}, 10.0)
    await topic.start()
    await asyncio.gather(*(topic.send(make_event(n, service=f"s{n % 31}")) for n in range(COUNT)))
    await topic.stop()
    events, file = await asyncio.to_thread(contents, names), tmp_path / "accepted"
    assert set(events.values()) == set(range(COUNT))

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, READER, names.servers, names.topic, names.group, file])

    reader = start()
    await wait_until(lambda: len(accepted(file)) >= COUNT // 2)
    reader.kill()
    reader.wait()
    assert assert_only_accepted_is_committed(names, events, file) < COUNT
    reader = start()
    await wait_until(lambda: len(committed(names, events)) == COUNT)  # what came again too
    reader.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(reader.wait, 30) == 0
    assert assert_only_accepted_is_committed(names, events, file) == COUNT


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a reader: how many acceptances there were when it ended, and what was committed."""

    accepted: int
    safe: set[int]


async def test_what_comes_again_was_in_flight_or_accepted_since_the_last_commit(
    names: Any, make_event: Any, wait_until: Any, tmp_path: Path
) -> None:
    """Killed several times, each at a random moment after a commit.

    The bound of duplicates for each kill: what was accepted beyond the committed prefix, that is in the second since
    the last commit, and behind an event that was still in flight. What was committed never comes again.
    """
    names.create(6)
    topic, file, random = KafkaEventSink(names.address, {}, 10.0), tmp_path / "accepted", Random(7)
    await topic.start()
    await asyncio.gather(*(topic.send(make_event(n, service=f"s{n % 31}")) for n in range(COUNT)))
    await topic.stop()
    events, reader = await asyncio.to_thread(contents, names), Reader(names, file)
    lives = [await reader.live(events, random.uniform(0.0, 0.9), wait_until) for _ in range(KILLS)]
    await reader.finish(events, wait_until)
    again = acceptances(file)
    for life in lives:
        assert not life.safe & set(again[life.accepted :])
    assert len(again) - COUNT <= sum(len(set(again[: life.accepted]) - life.safe) for life in lives)


class Reader:
    """Starts processes that read, one after the other, as one static member of the group."""

    def __init__(self, names: Any, file: Path) -> None:
        self._names = names
        self._file = file

    def _start(self) -> "subprocess.Popen[bytes]":
        names = self._names
        return subprocess.Popen([sys.executable, READER, names.servers, names.topic, names.group, self._file, "one"])

    async def live(self, events: dict[tuple[int, int], int], more_s: float, wait_until: Any) -> Life:
        """Read until a commit was made, and for `more_s` seconds more; then be killed.

        All that it accepted lies within the second before its first commit and the one after it.
        """
        before, safe_before = len(acceptances(self._file)), committed(self._names, events)
        process = self._start()
        await wait_until(lambda: committed(self._names, events) > safe_before)
        assert len(acceptances(self._file)) - before <= MOST_IN_A_SECOND * (1 + SLACK_S)
        until_s = time.monotonic() + more_s
        await wait_until(lambda: time.monotonic() >= until_s)
        process.kill()
        process.wait()
        safe, done = committed(self._names, events), acceptances(self._file)
        assert safe <= set(done)
        assert len(done) - before <= MOST_IN_A_SECOND * (2 + SLACK_S)
        return Life(len(done), safe)

    async def finish(self, events: dict[tuple[int, int], int], wait_until: Any) -> None:
        """Read until everything is committed, what came again too."""
        process = self._start()
        await wait_until(lambda: len(committed(self._names, events)) == COUNT)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert assert_only_accepted_is_committed(self._names, events, self._file) == COUNT


@pytest.fixture
def own_kafka(service: Callable[[str], str], tmp_path: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A Kafka of the test's own, and what kills or restarts it."""
    service("KAFKA")  # skips where there are no services

    def launch(command: str, *more: str) -> str:
        arguments = [sys.executable, LAUNCHER, command, tmp_path, *more]
        environ = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(Path.home())}
        return subprocess.run(arguments, check=True, capture_output=True, text=True, env=environ, timeout=120).stdout

    addresses = dict(line.split("=", 1) for line in launch("up", "kafka").splitlines())
    yield addresses["WAYSIDE_TEST_KAFKA"], lambda command: print(launch(command, "kafka"))
    launch("down")


async def test_nothing_is_lost_when_kafka_is_killed_and_comes_back(
    own_kafka: tuple[str, Callable[[str], None]], make_event: Any, wait_until: Any
) -> None:
    servers, control = own_kafka
    address = KafkaAddress(servers, ("events",))
    received, registry = MemorySink(), CollectorRegistry()
    source = KafkaSource(Subscription(address, "group", 30.0), received, {}, registry)
    sink = KafkaEventSink(address, {}, 1.0)
    await source.start()
    await sink.start()
    unavailable = []

    async def send(event: CloudEvent) -> None:
        while True:
            try:
                return await sink.send(event)
            except SinkUnavailable as exc:
                unavailable.append(str(exc))
                await asyncio.sleep(0.2)

    await asyncio.gather(*(send(make_event(n, service=f"s{n}")) for n in range(100)))
    await asyncio.to_thread(control, "kill")
    sending = asyncio.gather(*(send(make_event(n, service=f"s{n}")) for n in range(100, 300)))
    await wait_until(lambda: len(unavailable) >= 200)
    await asyncio.to_thread(control, "restart")
    await sending
    await wait_until(lambda: {int(event.id) for event in received.events} == set(range(300)))
    await wait_until(lambda: all(check() for check in source.checks.values()))
    await wait_until(lambda: at_end(GroupReader(servers, {}).read("group", ["events"])))
    await asyncio.to_thread(control, "kill")
    async with asyncio.timeout(15):  # and neither waits for ever for a Kafka that is away
        await source.stop()
        await sink.stop()


def at_end(positions: Sequence[GroupPosition]) -> bool:
    return sum(one.end for one in positions) >= 300 and all(
        one.committed == one.end or one.end == 0 for one in positions
    )
