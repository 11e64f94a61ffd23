"""How far a member is behind, asked of Kafka beside the reading. Needs the extra `kafka` once it runs.

Invariant: it never holds up what reads. It has a connection and a thread of its own, because on the consumer's the
question would wait behind a fetch that waits for messages.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from wayside.eventing.kafka.groups import GroupPosition, GroupReader
from wayside.eventing.kafka.holding import Holding
from wayside.eventing.kafka.metrics import SourceMetrics
from wayside.eventing.kafka.offsets import PartitionId
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.kafka.thread import WorkThread
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.kafka")
_EVERY_S = 5.0


class LagMeter:
    """Sets `wayside_source_lag` every few seconds, of the partitions in `holding`; it stands while Kafka is away."""

    def __init__(
        self, subscription: Subscription, config: Mapping[str, str], holding: Holding, metrics: SourceMetrics
    ) -> None:
        self._subscription = subscription
        self._config = config
        self._holding = holding
        self._metrics = metrics
        self._thread = WorkThread("wayside-kafka-lag")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises `ConfigurationError` for settings that do not fit."""
        reader = GroupReader(self._subscription.address.servers, self._config)
        self._task = asyncio.create_task(self._run(reader))

    async def stop(self) -> None:
        """May be called twice or before `start`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._thread.end()

    async def _run(self, reader: GroupReader) -> None:
        topics = self._subscription.address.topics
        while True:
            try:
                positions = await self._thread.call(lambda: reader.read(self._subscription.group, topics))
            except SinkUnavailable as exc:
                log.debug("no lag: %s", exc)
            else:
                for topic, events in lag_of(positions, self._holding, topics).items():
                    self._metrics.lag.labels(topic).set(events)
            await asyncio.sleep(_EVERY_S)


def lag_of(positions: Sequence[GroupPosition], holding: Holding, topics: Sequence[str]) -> dict[str, int]:
    """Events by topic that this member has still to settle, of the partitions it holds."""
    lag = dict.fromkeys(topics, 0)
    for at in positions:
        held = holding.partitions.get(PartitionId(at.topic, at.partition))
        if held is not None:
            settled = held.offsets.committable or at.committed or at.low
            lag[at.topic] += max(0, at.end - settled)
    return lag
