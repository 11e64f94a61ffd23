"""A process that reads a topic and notes what it accepted: `kafka_reader_process.py SERVERS TOPIC GROUP FILE [NAME]`.

With a NAME it is a static member of the group, which takes its partitions up again as soon as it is back.
"""

import asyncio
import os
import sys

from prometheus_client import CollectorRegistry

from wayside.eventing.command import run_until_signalled
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.address import KafkaAddress
from wayside.eventing.kafka.holding import SourceLimits
from wayside.eventing.kafka.source import KafkaSource
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.sink import MemorySink


class FileSink(MemorySink):
    """Appends the id of an event to a file, in one write, out of order; some take far longer than the others, so that
    at any moment there are events in flight that others have overtaken.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def send(self, event: CloudEvent) -> None:
        number = int(event.id)
        await asyncio.sleep(1.0 if number % 50 == 0 else 0.008 * (1 + number % 20))
        os.write(self._file, f"{event.id}\n".encode())


async def main(servers: str, topic: str, group: str, path: str, instance: str = "") -> int:
    subscription = Subscription(KafkaAddress(servers, (topic,)), group, 30.0)
    # so that a member that was killed is soon taken for dead
    config = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}
    if instance:
        config["group.instance.id"] = instance
    limits = SourceLimits(events=64)
    source = KafkaSource(subscription, FileSink(path), config, CollectorRegistry(), limits=limits)
    return await run_until_signalled([source], source.wait_failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
