"""How much is fetched ahead: as documented by default, and little where little may be in flight."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from wayside.eventing.kafka.holding import SourceLimits
from wayside.eventing.kafka.prefetch import prefetch_settings
from wayside.eventing.kafka.sink import KafkaEventSink
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.sink import MemorySink


@pytest.mark.parametrize(
    ("in_flight", "events", "kbytes", "fetch_bytes"),
    [
        (1, "20", "80", str(80 << 10)),
        (8, "160", "640", str(640 << 10)),
        (512, "10000", "32768", str(1 << 20)),
        (1024, "10000", "32768", str(1 << 20)),
    ],
)
def test_what_is_fetched_ahead_goes_by_what_may_be_in_flight(
    in_flight: int, events: str, kbytes: str, fetch_bytes: str
) -> None:
    assert prefetch_settings(SourceLimits(events=in_flight)) == {
        "queued.min.messages": events,
        "queued.max.messages.kbytes": kbytes,
        "fetch.message.max.bytes": fetch_bytes,
    }


class Received:
    """What a consumer received, by its statistics."""

    def __init__(self) -> None:
        self.bytes = 0

    def note(self, text: str) -> None:
        statistics = json.loads(text)
        if "cgrp" in statistics:
            self.bytes = max(self.bytes, statistics["rx_bytes"])


class Gated(MemorySink):
    """Takes one event after the other, each only after the source was paused."""

    def __init__(self, paused: Callable[[], bool], wait_until: Any) -> None:
        super().__init__()
        self._paused = paused
        self._wait_until = wait_until

    async def send(self, event: Any) -> None:
        await self._wait_until(self._paused)
        await super().send(event)


async def test_a_slow_sink_with_few_in_flight_has_little_fetched_again(
    names: Any, make_event: Any, wait_until: Any
) -> None:
    names.create(1)
    received, topic = Received(), KafkaEventSink(names.address, {}, 10.0)
    await topic.start()
    await asyncio.gather(*(topic.send(make_event(number, data=bytes(10_000))) for number in range(2000)))
    await topic.stop()
    config: dict[str, Any] = {"statistics.interval.ms": "200", "stats_cb": received.note}
    limits = SourceLimits(events=1)

    def paused() -> bool:
        return any(at["paused"] for at in source.view()["partitions"])

    sink = Gated(paused, wait_until)
    source = KafkaSource(names.subscription, sink, config, CollectorRegistry(), limits=limits)
    await source.start()
    await wait_until(lambda: len(sink.events) >= 4)
    await source.stop()
    assert 10_000 < received.bytes < 5_000_000
