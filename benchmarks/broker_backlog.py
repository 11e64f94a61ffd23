"""A backlog for the broker's benchmark, written straight into its store; and a broker in this process that drains one.

Invariant: what is written is what the door would have written: routed by the manifests, packed and counted.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker_load import DATA_BYTES

from wayside.eventing.broker import changes
from wayside.eventing.broker.changes import Change
from wayside.eventing.broker.kept import pack
from wayside.eventing.broker.routing import Arrival, Router
from wayside.eventing.broker.service import STORE_FILE, BrokerService, BrokerSettings
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.clock import SystemClock
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.url import Url
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.manifests import load_manifests
from wayside.eventing.triggers.names import BrokerName
from wayside.eventing.vocabulary import ServiceKey

_STORE_LIMIT_BYTES = 64 << 30
_BATCH = 500
_BROKER = BrokerName("default", "default")
_DATA = b'"' + b"x" * (DATA_BYTES - 2) + b'"'


async def fill(data: Path, manifest: Path, events: int, types: Sequence[str]) -> None:
    """Let so many events wait, of these types in turn."""
    manifests = load_manifests((manifest,), Resolver({}))
    router, clock = Router(manifests), SystemClock()
    store = BrokerStore(data / STORE_FILE, _STORE_LIMIT_BYTES, clock)
    await store.start()
    await store.register([trigger.name for trigger in manifests.triggers], manifests.brokers)
    for first in range(0, events, _BATCH):
        numbers = range(first, min(first + _BATCH, events))
        made = [Change(pack(_arrival(router, number, types), clock.time_ns())) for number in numbers]
        await store.change(partial(changes.apply, changes=made, cursors={}))
    await store.stop()


def _arrival(router: Router, number: int, types: Sequence[str]) -> Arrival:
    extensions = ServiceKey("default", "income", "predictor", "default").extensions()
    event_type = types[number % len(types)]
    event = CloudEvent(f"{number:036d}", "http://localhost:9081/", event_type, _DATA, extensions=extensions)
    return router.route(_BROKER, event, [])


class CountingSink:
    """Takes every event at once; `full` is set once there were so many."""

    def __init__(self, limit: int) -> None:
        self.full = asyncio.Event()
        self._left = limit

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, event: CloudEvent) -> None:
        self._left -= 1
        if not self._left:
            self.full.set()


@dataclass(frozen=True, slots=True)
class Drained:
    """A backlog that a broker in this process delivered, to the last settlement on disk."""

    deliveries: int
    elapsed_s: float
    cpu_s: float
    commits: int

    @property
    def rate(self) -> float:
        return self.deliveries / self.elapsed_s


async def drain(data: Path, manifest: Path, urls: Sequence[str], deliveries: int) -> Drained:
    """Deliver what waits to a sink in this process, which stands at each of the URLs."""
    sink, commits = CountingSink(deliveries), 0
    settings = BrokerSettings(data, (manifest,), {}, port=0, admin_port=0, store_limit_bytes=_STORE_LIMIT_BYTES)
    service = BrokerService(settings, sinks={Url.parse(url): sink for url in urls})

    def note(sql: str) -> None:
        nonlocal commits
        commits += sql == "COMMIT"

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await service.start()
    await service.store.change(lambda connection: connection.set_trace_callback(note))
    await sink.full.wait()
    while any(trigger.waiting for trigger in service.counts().triggers):  # noqa: ASYNC110 - it says how many, not when
        await asyncio.sleep(0.002)
    drained = Drained(deliveries, time.perf_counter() - began_s, time.process_time() - began_cpu_s, commits)
    await service.stop()
    return drained
