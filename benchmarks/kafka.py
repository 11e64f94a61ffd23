"""The Kafka carrier: events/s into a topic, out of it, and both at once in one process, beside the targets.

In: KafkaEventSink, every event's delivery report awaited. Out: KafkaSource into a sink that counts, commits included.
"""

import argparse
import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.cluster import ensure_topics
from wayside.eventing.kafka.sink import KafkaEventSink
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.vocabulary import REQUEST, ServiceKey

SIZES = {"1 kB": 1_000, "100 kB": 100_000}
ALONE_PER_S, BOTH_PER_S = 20_000, 8_000
TARGETS: Mapping[tuple[str, str], int] = {
    ("1 kB", "in, alone"): ALONE_PER_S,
    ("1 kB", "out, alone"): ALONE_PER_S,
    ("1 kB", "in, both at once"): BOTH_PER_S,
    ("1 kB", "out, both at once"): BOTH_PER_S,
}


@dataclass(frozen=True, slots=True)
class Result:
    """Events of one size that went one way, and the seconds they took."""

    size: str
    way: str
    events: int
    elapsed_s: float

    @property
    def rate_per_s(self) -> float:
        return self.events / self.elapsed_s

    @property
    def verdict(self) -> str:
        target = TARGETS.get((self.size, self.way))
        if target is None:
            return ""
        return f"≥ {target:,} {'met' if self.rate_per_s >= target else 'SHORT'}"


class CountingSink:
    """Accepts events and counts them."""

    def __init__(self) -> None:
        self.count = 0
        self.first_s = 0.0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, event: CloudEvent) -> None:
        if not self.count:
            self.first_s = time.perf_counter()
        self.count += 1


async def write(address: KafkaAddress, size: int, seconds: float, in_flight: int) -> int:
    """Events accepted in `seconds`; `in_flight` senders, each waiting for its event's delivery."""
    sink = KafkaEventSink(address, {}, 30.0)
    await sink.start()
    began, sent, data = time.perf_counter(), 0, os.urandom(size)

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() - began < seconds:
            extensions = ServiceKey("default", f"s{sent % 16}", "predictor", "").extensions()
            sent += 1
            await sink.send(CloudEvent(str(sent), "bench", REQUEST, data, extensions=extensions))

    await asyncio.gather(*(send() for _ in range(in_flight)))
    await sink.stop()
    return sent


@asynccontextmanager
async def reading(address: KafkaAddress) -> AsyncIterator[CountingSink]:
    sink = CountingSink()
    group = f"{address.topics[0]}-group"
    source = KafkaSource(Subscription(address, group), sink, {}, CollectorRegistry())
    await source.start()
    yield sink
    await source.stop()


async def measure_alone(name: str, address: KafkaAddress, flags: argparse.Namespace) -> list[Result]:
    """First in, then all of it out, from the first event to the last."""
    began = time.perf_counter()
    count = await write(address, SIZES[name], flags.seconds, flags.in_flight)
    in_s = time.perf_counter() - began
    async with reading(address) as sink:
        while sink.count < count:  # noqa: ASYNC110 - the sink is not to do more than count
            await asyncio.sleep(0.005)
        out_s = time.perf_counter() - sink.first_s
    return [Result(name, "in, alone", count, in_s), Result(name, "out, alone", count, out_s)]


async def measure_both(name: str, address: KafkaAddress, flags: argparse.Namespace) -> list[Result]:
    """What came out while others went in."""
    async with reading(address) as sink:
        began = time.perf_counter()
        count = await write(address, SIZES[name], flags.seconds, flags.in_flight)
        elapsed_s, out = time.perf_counter() - began, sink.count
    return [Result(name, f"{way}, both at once", events, elapsed_s) for way, events in (("in", count), ("out", out))]


async def run(flags: argparse.Namespace) -> Table:
    table = Table(title=f"{flags.in_flight} senders, {flags.seconds:g} s, one client process, {os.cpu_count()} cores")
    for column in ("events of", "way", "events/s", "MB/s", "target"):
        table.add_column(column, justify="right" if column.endswith("/s") else "left")
    admin = AdminClient({"bootstrap.servers": flags.servers})
    for name, size in SIZES.items():
        for measure in (measure_alone, measure_both):
            address = KafkaAddress(flags.servers, (f"bench-{uuid.uuid4().hex}",))
            await ensure_topics(flags.servers, address.topics, {})
            for result in await measure(name, address, flags):
                rates = (f"{result.rate_per_s:,.0f}", f"{result.rate_per_s * size / 1e6:,.0f}")
                table.add_row(name, result.way, *rates, result.verdict)
            for future in admin.delete_topics([*address.topics, f"{address.topics[0]}-group.dead-letters"]).values():
                future.result()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=os.environ.get("WAYSIDE_TEST_KAFKA", "127.0.0.1:9092"))
    parser.add_argument("--seconds", type=float, default=5.0, help="of writing, for each size and way")
    parser.add_argument("--in-flight", type=int, default=512)
    Console().print(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
