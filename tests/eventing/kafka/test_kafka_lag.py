"""How far a member is behind: by what it settled, else by what was committed, and only of what it holds."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.groups import GroupPosition
from wayside.eventing.kafka.holding import Holding, SourceLimits
from wayside.eventing.kafka.lag import lag_of
from wayside.eventing.kafka.offsets import PartitionId
from wayside.eventing.kafka.sink import KafkaEventSink
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.sink import MemorySink


def holding(*settled: int) -> Holding:
    """Partition 0 of topic "t", with these offsets settled."""
    made = Holding(SourceLimits())
    made.take_over([PartitionId("t", 0)])
    for offset in settled:
        record = KafkaRecord("t", 0, offset)
        held = made.begin(record)
        assert held is not None
        made.end(held, record, finished=True)
    return made


@pytest.mark.parametrize(
    ("settled", "committed", "lag"),
    [((), None, 8), ((), 5, 5), ((5, 6), 5, 3), ((8, 9), 2, 0)],
)
def test_what_is_settled_counts_before_what_is_committed(
    settled: tuple[int, ...], committed: int | None, lag: int
) -> None:
    position = GroupPosition("t", 0, low=2, end=10, committed=committed)
    assert lag_of([position], holding(*settled), ["t", "u"]) == {"t": lag, "u": 0}


def test_what_another_member_reads_is_its_lag() -> None:
    assert lag_of([GroupPosition("t", 1, low=0, end=10, committed=0)], holding(), ["t"]) == {"t": 0}


class Closed(MemorySink):
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def send(self, event: CloudEvent) -> None:
        await self.gate.wait()
        await super().send(event)


async def test_lag_is_measured_while_the_sink_hangs_and_stopping_is_quick(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    """Twelve partitions that hold nothing more: what asks for their ends must not wait behind the fetch of each."""
    names.create(partitions=12)
    registry, sink, topic = CollectorRegistry(), Closed(), KafkaEventSink(names.address, {}, 10.0)
    source = KafkaSource(names.subscription, sink, {}, registry)

    def lag() -> float | None:
        return registry.get_sample_value("wayside_source_lag", {"topic": names.topic})

    await topic.start()
    await asyncio.gather(*(topic.send(make_event(n, service=f"s{n}")) for n in range(20)))
    await source.start()
    await wait_until(lambda: lag() == 20)
    sink.gate.set()
    await wait_until(lambda: lag() == 0)
    began_s = time.monotonic()
    await source.stop()
    assert time.monotonic() - began_s < 2.0
    await topic.stop()
