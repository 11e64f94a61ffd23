"""Pulls events from topics as a member of a consumer group and pushes them into a sink. Needs the extra `kafka`.

Order: the events of one partition are handed to the sink in their order, many at once: the next does not wait for the
last to be accepted, and one that is tried again is overtaken. Where it is `ordered`, an event waits for the last one of
its key, and none is overtaken by one of its own.

Invariant: an offset is committed only when every event before it was accepted by the sink, passed over by the filter,
or is a durable dead letter. Whatever ends the process or the membership, all others are read again.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.kafka.binding import KafkaRecord
from wayside.eventing.kafka.cluster import ensure_topics, wait_for_kafka
from wayside.eventing.kafka.consumer import ConsumerFailed, GroupConsumer
from wayside.eventing.kafka.dead_letters import DeadLetters
from wayside.eventing.kafka.delivery import Delivery
from wayside.eventing.kafka.holding import Held, Holding, SourceLimits
from wayside.eventing.kafka.lag import LagMeter
from wayside.eventing.kafka.metrics import SourceMetrics
from wayside.eventing.kafka.offsets import PartitionId
from wayside.eventing.kafka.sink import TopicWriter
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.kafka.workers import Workers
from wayside.eventing.sink import Sink

if TYPE_CHECKING:
    from wayside.eventing.http.admin import Check

log = logging.getLogger("wayside.kafka")
_POLL_S = 0.1
_HANGING_S = 1.0
_COMMIT_EVERY_S = 1.0
_LETTER_TIMEOUT_S = 10.0
_DRAIN_S = 10.0
_COMMIT_WAIT_S = 3.0


def _key(taken: tuple[Held, KafkaRecord]) -> Hashable:
    _, record = taken
    return record.topic, record.partition, record.key


class SourceFailed(WaysideError):
    """The source cannot go on; its process should end and say why."""


class KafkaSource:
    """Reads `subscription`, pushes what `passes` into `sink`, which is the caller's to start before and stop after.

    `SinkUnavailable` is tried again for ever; what the sink refuses, and what is no event, becomes a dead letter.
    A sink that hangs holds up fetching, not the membership.
    """

    def __init__(
        self,
        subscription: Subscription,
        sink: Sink,
        config: Mapping[str, str],
        registry: CollectorRegistry,
        passes: Callable[[CloudEvent], bool] = lambda event: True,
        limits: SourceLimits | None = None,
        ordered: bool = False,
    ) -> None:
        self._subscription = subscription
        self._config = config
        self._metrics = SourceMetrics(registry, subscription.address.topics)
        self._holding = Holding(limits or SourceLimits())
        self._metrics.in_flight.set_function(lambda: self._holding.events)
        writer = TopicWriter(subscription.address.servers, subscription.dead_letters, config, _LETTER_TIMEOUT_S)
        self._letters = DeadLetters(writer, subscription.group)
        self._delivery = Delivery(subscription.plain.read, passes, sink, self._letters, self._metrics)
        self._consumer = GroupConsumer(subscription, config, self._holding.limits, self)
        self._lag = LagMeter(subscription, config, self._holding, self._metrics)
        self._pulling: asyncio.Task[None] | None = None
        self._workers = Workers(self._settle, _key if ordered else None)
        self._paused: set[PartitionId] = set()
        self._fresh: set[PartitionId] = set()
        self._joined = self._stopping = False
        self._commit_at_s = 0.0

    @property
    def checks(self) -> Mapping[str, "Check"]:
        """Readiness: it has joined the group, and goes on."""
        return {"source": lambda: self._joined and self._pulling is not None and not self._pulling.done()}

    def view(self) -> Mapping[str, Any]:
        """What a `/source` page shows."""
        held = sorted(self._holding.partitions.items())
        return {
            "group": self._subscription.group,
            "topics": list(self._subscription.address.topics),
            "in_flight": {"events": self._holding.events, "bytes": self._holding.bytes},
            "partitions": [
                {
                    "topic": one.topic,
                    "partition": one.partition,
                    "committed": at.committed,
                    "paused": one in self._paused,
                }
                for one, at in held
            ],
        }

    async def start(self) -> None:
        """Wait for Kafka, see to the topics, join. Raises `ConfigurationError`."""
        address = self._subscription.address
        await wait_for_kafka(address.servers, self._config, self._subscription.wait_s)
        await ensure_topics(address.servers, address.topics, self._config)
        await ensure_topics(address.servers, [self._subscription.dead_letters], self._config, partitions=1)
        await self._letters.start()
        await self._consumer.start()
        await self._lag.start()
        self._pulling = asyncio.create_task(self._pull())

    async def wait_failed(self) -> None:
        """Return once it was stopped. Raises `SourceFailed` where it cannot go on. For after `start`."""
        assert self._pulling is not None, "started"
        try:
            await asyncio.shield(self._pulling)
        except ConsumerFailed as exc:
            raise SourceFailed(f"group {self._subscription.group} cannot read on: {exc}") from exc

    async def stop(self) -> None:
        """Try nothing again, let what is in flight finish within ten seconds, commit, leave the group."""
        self._stopping = True
        self._delivery.end()
        await self._lag.stop()
        pulling, self._pulling = self._pulling, None
        if pulling is not None:
            await asyncio.gather(pulling, return_exceptions=True)
            await self._drain()
        await self._consumer.close()
        await self._letters.stop()

    async def _drain(self) -> None:
        await self._workers.wait_idle(_DRAIN_S)
        try:
            await self._consumer.commit(self._holding.to_commit(), _COMMIT_WAIT_S)
        except ConsumerFailed as exc:
            log.warning("the last events will come again: %s", exc)
        self._holding.let_go(list(self._holding))
        await self._workers.stop()

    async def _pull(self) -> None:
        loop = asyncio.get_running_loop()
        limits = self._holding.limits
        while not self._stopping:
            if self._workers.failure is not None:
                raise self._workers.failure
            # a little patience spares what is fetched ahead, which a pause would throw away
            await self._holding.wait_room(_HANGING_S)
            await self._steer()
            room = max(1, limits.events - self._holding.events), max(1, limits.bytes - self._holding.bytes)
            fetched = await self._consumer.fetch(*room, _POLL_S)
            self._take(fetched.records)
            self._holding.note_ends(fetched.ends)
            if loop.time() >= self._commit_at_s:
                self._commit_at_s = loop.time() + _COMMIT_EVERY_S
                await self._consumer.commit_soon(self._holding.to_commit())

    async def _steer(self) -> None:
        """Pause what must not be fetched now, and resume what may be again."""
        held = set(self._holding)
        self._paused &= held
        pause = {one for one in held - self._paused if self._holding.full or self._holding.overstretched(one, False)}
        resume = {one for one in self._paused if self._holding.spacious and not self._holding.overstretched(one, True)}
        resume |= (self._fresh & held) - pause
        self._fresh.clear()
        await self._consumer.pause(pause)
        await self._consumer.resume(resume)
        self._paused = (self._paused | pause) - resume

    def _take(self, records: Iterable[KafkaRecord]) -> None:
        begun = ((self._holding.begin(record), record) for record in records)
        self._workers.put([(held, record) for held, record in begun if held is not None])

    async def _settle(self, taken: tuple[Held, KafkaRecord]) -> None:
        held, record = taken
        finished = False
        try:
            # what waited for its turn while its partition went away, or the source was stopped, is read again
            if not held.let_go and not self._stopping:
                finished = await self._delivery.deliver(record, lambda: held.let_go)
        finally:
            self._holding.end(held, record, finished)

    # What the consumer tells of its membership.

    def assigned(self, partitions: Sequence[PartitionId]) -> None:
        self._joined = True
        self._paused -= set(partitions)
        self._fresh |= set(partitions)  # librdkafka remembers that it was paused before it went and came back
        self._holding.take_over(partitions)
        log.info("group %s: this member reads %d partitions", self._subscription.group, len(self._holding.partitions))

    async def release(self, partitions: Sequence[PartitionId], wait_s: float) -> Mapping[PartitionId, int]:
        await self._holding.wait_finished(partitions, wait_s)
        offsets = self._holding.to_commit()
        self.lost(partitions)
        return {one: offsets[one] for one in partitions if one in offsets}

    def lost(self, partitions: Sequence[PartitionId]) -> None:
        self._holding.let_go(partitions)

    def committed(self, offsets: Mapping[PartitionId, int]) -> None:
        self._holding.note_committed(offsets)
