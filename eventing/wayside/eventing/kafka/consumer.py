"""A member of a consumer group whose every call runs on one thread of its own. Needs the extra `kafka`.

Invariant: librdkafka's consumer is touched by that thread alone, its callbacks included, and no message of a partition
is handed over after the partition was taken away.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from wayside.eventing.kafka.client import (
    ClientErrors,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
    error_of,
    make_client,
)
from wayside.eventing.kafka.fetched import Fetched, record_of
from wayside.eventing.kafka.holding import SourceLimits
from wayside.eventing.kafka.offsets import PartitionId
from wayside.eventing.kafka.prefetch import prefetch_settings
from wayside.eventing.kafka.subscription import Subscription
from wayside.eventing.kafka.thread import WorkThread

log = logging.getLogger("wayside.kafka")
T = TypeVar("T")
_OWN = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    # a transaction's marker, or what was aborted, may end a partition, and would look as if it were still to be read
    "enable.partition.eof": "true",
    "partition.assignment.strategy": "cooperative-sticky",
}
_DEFAULTS = {
    # where the bounds of what is fetched ahead were reached, librdkafka would not look again for a second
    "fetch.queue.backoff.ms": "10",
    # a member that was killed is soon taken for dead, so that whoever stands in its place need not wait for 45 s
    "session.timeout.ms": "10000",
}
_AHEAD_OF_REVOKE_S = 5.0
_CLOSE_S = 3.0
_POLL_S = 0.1
_NOT_COMMITTED = "could not commit; what was not committed comes again"
_PERMANENT = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.FENCED_INSTANCE_ID,
)


class Rebalanced(Protocol):
    """Who is told of assignments and commits; every method runs on the event loop."""

    def assigned(self, partitions: Sequence[PartitionId]) -> None: ...

    async def release(self, partitions: Sequence[PartitionId], wait_s: float) -> Mapping[PartitionId, int]:
        """Give up partitions within about `wait_s` seconds; returns what of them may be committed."""

    def lost(self, partitions: Sequence[PartitionId]) -> None: ...

    def committed(self, offsets: Mapping[PartitionId, int]) -> None: ...


class ConsumerFailed(Exception):
    """The consumer cannot go on: a fatal error, or rights that it lacks."""


class GroupConsumer:
    """Joins on `start`. `member` hears of partitions coming and going before their messages do."""

    def __init__(
        self, subscription: Subscription, config: Mapping[str, str], limits: SourceLimits, member: Rebalanced
    ) -> None:
        """`limits` say how much of what is fetched may be in flight."""
        self._subscription = subscription
        self._config = {**_DEFAULTS, **prefetch_settings(limits), **config}
        self._member = member
        self._errors = ClientErrors()
        self._fetched = Fetched()
        self._complaint = ""
        self._thread = WorkThread("wayside-kafka-consumer")
        self._running = False
        self._commits = 0

    async def start(self) -> None:
        """Raises `ConfigurationError` for settings that do not fit."""
        self._loop = asyncio.get_running_loop()
        own = {**_OWN, "group.id": self._subscription.group}
        callbacks = {"error_cb": self._errors.note, "on_commit": self._on_commit}
        consumer = make_client(Consumer, self._subscription.address.servers, self._config, {**own, **callbacks})
        self._consumer, self._running = consumer, True
        topics = list(self._subscription.address.topics)
        calls: dict[str, Any] = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_lost}
        await self._call(lambda: consumer.subscribe(topics, **calls))

    async def close(self) -> None:
        """Leave the group and end the thread, within seconds even where Kafka is away. Raises nothing; may be called
        twice or before `start`.
        """
        if not self._running:
            return
        self._running = False
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._call(self._consumer.close)
        except (ConsumerFailed, RuntimeError, TimeoutError) as exc:
            log.warning("left group %s uncleanly: %s", self._subscription.group, str(exc) or "Kafka does not answer")
        self._thread.end()

    async def fetch(self, limit_events: int, limit_bytes: int, wait_s: float) -> Fetched:
        """What has come, in the order of each partition; waits for a first message only. Raises `ConsumerFailed`."""
        return await self._call(lambda: self._fetch(limit_events, limit_bytes, wait_s))

    async def commit_soon(self, offsets: Mapping[PartitionId, int]) -> None:
        """Ask for a commit. `member.committed` hears of it once Kafka has it; one that fails is told and harmless:
        events come again.
        """
        if offsets:
            await self._call(lambda: self._commit(offsets))

    async def commit(self, offsets: Mapping[PartitionId, int], wait_s: float) -> None:
        """Commit, and wait until Kafka has every commit asked for, or for `wait_s` seconds. Fetch no more after it."""
        await self.commit_soon(offsets)
        deadline = self._loop.time() + wait_s
        while self._commits and self._loop.time() < deadline:
            await self._call(lambda: self._consumer.poll(_POLL_S))

    async def pause(self, partitions: Iterable[PartitionId]) -> None:
        """Fetch no more of these, while the membership goes on."""
        chosen = [TopicPartition(*one) for one in partitions]
        if chosen:
            await self._call(lambda: self._consumer.pause(chosen))

    async def resume(self, partitions: Iterable[PartitionId]) -> None:
        chosen = [TopicPartition(*one) for one in partitions]
        if chosen:
            await self._call(lambda: self._consumer.resume(chosen))

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._thread.call(work)
        except KafkaException as exc:
            raise ConsumerFailed(error_of(exc)) from exc

    def _fetch(self, limit_events: int, limit_bytes: int, wait_s: float) -> Fetched:
        # one by one, and not by `consume`: a partition may go and come back within one call of that, and nothing would
        # tell what was taken of it before from what came after
        self._fetched = fetched = Fetched()
        while (message := self._consumer.poll(wait_s)) is not None:
            wait_s = 0.0
            error = message.error()
            if error is not None:
                self._note(error, message)
                continue
            record = record_of(message)
            fetched.add(record)
            limit_bytes -= record.size_bytes
            if len(fetched.records) >= limit_events or limit_bytes <= 0:
                break
        if self._errors.fatal:
            raise ConsumerFailed(self._errors.fatal)
        return fetched

    def _note(self, error: KafkaError, message: Message) -> None:
        """What comes in the place of a message: the end of a partition, or an error.

        An error that may pass is told once; one that will not ends the consumer.
        """
        if error.code() == KafkaError._PARTITION_EOF:
            self._fetched.note_end(message)
            return
        if error.fatal() or error.code() in _PERMANENT:
            raise ConsumerFailed(error.str())
        self._complain(error.str())

    def _complain(self, words: str) -> None:
        """Tell of what may pass, once for as long as it stays the same."""
        if words != self._complaint:
            self._complaint = words
            log.warning("group %s: %s", self._subscription.group, words)

    def _commit(self, offsets: Mapping[PartitionId, int]) -> None:
        # never a synchronous one: librdkafka would block in it for most of a minute where Kafka is away
        self._consumer.commit(offsets=_positions(offsets), asynchronous=True)
        self._commits += 1

    # The callbacks run on the consumer's thread, inside of `poll` or `close`, while the loop is free.

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._loop.call_soon_threadsafe(self._member.assigned, _ids(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _ids(partitions)
        self._forget(gone)
        released = asyncio.run_coroutine_threadsafe(self._member.release(gone, _AHEAD_OF_REVOKE_S), self._loop)
        try:
            offsets = released.result(2 * _AHEAD_OF_REVOKE_S)
            if offsets:
                self._commit(offsets)
        except KafkaException as exc:
            self._complain(f"{_NOT_COMMITTED}: {error_of(exc)}")
        except TimeoutError:  # an event loop that is held up may not end the process: the events come again
            self._complain(f"{_NOT_COMMITTED}: the event loop did not answer")

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = _ids(partitions)
        self._forget(gone)
        self._loop.call_soon_threadsafe(self._member.lost, gone)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._commits -= 1
        if error is not None:
            self._complain(f"{_NOT_COMMITTED}: {error.str()}")
            return
        self._complaint = ""
        done = {PartitionId(at.topic, at.partition): at.offset for at in partitions if at.error is None}
        self._loop.call_soon_threadsafe(self._member.committed, done)

    def _forget(self, partitions: Sequence[PartitionId]) -> None:
        """Whoever has the partitions next reads their messages again."""
        self._fetched.forget(set(partitions))


def _ids(partitions: Iterable[TopicPartition]) -> list[PartitionId]:
    return [PartitionId(one.topic, one.partition) for one in partitions]


def _positions(offsets: Mapping[PartitionId, int]) -> list[TopicPartition]:
    return [TopicPartition(one.topic, one.partition, offset) for one, offset in offsets.items()]
