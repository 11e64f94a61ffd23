"""The Kafka carrier: events/s into a topic by KafkaEventSink, and out of it by KafkaSource, for events of two sizes."""

import argparse
import asyncio
import os
import time
import uuid

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


async def write(address: KafkaAddress, size: int, flags: argparse.Namespace) -> tuple[int, float]:
    """Events accepted, and the seconds they took; `in_flight` senders, each waiting for its event's delivery."""
    sink = KafkaEventSink(address, {}, 30.0)
    await sink.start()
    began, sent, data = time.perf_counter(), 0, os.urandom(size)

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() - began < flags.seconds:
            extensions = ServiceKey("default", f"s{sent % 16}", "predictor", "").extensions()
            await sink.send(CloudEvent(str(sent), "bench", REQUEST, data, extensions=extensions))
            sent += 1

    await asyncio.gather(*(send() for _ in range(flags.in_flight)))
    elapsed_s = time.perf_counter() - began
    await sink.stop()
    return sent, elapsed_s


async def read(address: KafkaAddress, count: int) -> float:
    """The seconds from the first event to the last."""
    sink = CountingSink()
    source = KafkaSource(Subscription(address, f"{address.topics[0]}-group"), sink, {}, CollectorRegistry())
    await source.start()
    while sink.count < count:  # noqa: ASYNC110 - the sink is not to do more than count
        await asyncio.sleep(0.005)
    elapsed_s = time.perf_counter() - sink.first_s
    await source.stop()
    return elapsed_s


async def run(flags: argparse.Namespace) -> Table:
    table = Table(title=f"{flags.in_flight} senders, {flags.seconds:g} s, one client process, {os.cpu_count()} cores")
    for column in ("events of", "in, events/s", "in, MB/s", "out, events/s", "out, MB/s"):
        table.add_column(column, justify="right")
    admin = AdminClient({"bootstrap.servers": flags.servers})
    for name, size in SIZES.items():
        address = KafkaAddress(flags.servers, (f"bench-{uuid.uuid4().hex}",))
        await ensure_topics(flags.servers, address.topics, {})
        count, in_s = await write(address, size, flags)
        out_s = await read(address, count)
        rates = (count / in_s, count * size / in_s / 1e6, count / out_s, count * size / out_s / 1e6)
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates))
        for future in admin.delete_topics([*address.topics, f"{address.topics[0]}-group.dead-letters"]).values():
            future.result()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", default=os.environ.get("WAYSIDE_TEST_KAFKA", "127.0.0.1:9092"))
    parser.add_argument("--seconds", type=float, default=5.0, help="of writing, for each size")
    parser.add_argument("--in-flight", type=int, default=512)
    Console().print(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
