"""Reads what a consumer group has committed, without joining it. Needs the extra `kafka` when it is called.

Invariant: read from Kafka, the place where it is durable; reading moves nobody's position.

A consumer of the group asks, one that never subscribes. The admin client's list_consumer_group_offsets will not do:
where the coordinator moves, as while a broker restarts, librdkafka brings the process down in it (its issue 5040).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wayside.eventing.sink import SinkUnavailable

if TYPE_CHECKING:
    from concurrent.futures import Future

_TIMEOUT_S = 3.0
_NONE_COMMITTED = -1001


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """One partition: its first offset, the one after its last, and the next that the group reads (None: not begun)."""

    topic: str
    partition: int
    low: int
    end: int
    committed: int | None


class GroupReader:
    """Reads groups of one cluster, from any thread, but one group from one thread at a time.

    Its clients, one for each group and one for all, connect at the first `read` and live as long as it.
    """

    def __init__(self, servers: str, config: Mapping[str, str]) -> None:
        """Raises `ConfigurationError` for bad settings, `MissingExtra` without Kafka's client."""
        from wayside.eventing.kafka.client import AdminClient, ClientErrors, make_client

        self._servers = servers
        self._config = config
        self._errors = ClientErrors()
        self._admin = make_client(AdminClient, servers, config, {"error_cb": self._errors.note})
        self._consumers: dict[str, Any] = {}

    def read(self, group: str, topics: Sequence[str]) -> Sequence[GroupPosition]:
        """Every partition of the topics that exist, in their order. Blocks for at most some seconds.

        Raises `SinkUnavailable` where Kafka does not answer or does not allow it.
        """
        from wayside.eventing.kafka.client import KafkaException, error_of

        try:
            partitions = _partitions(self._admin, topics)
            positions = _positions(self._admin, self._consumer(group), partitions) if partitions else []
        except (KafkaException, TimeoutError) as exc:
            self._admin.poll(0)
            reason = self._errors.reason or (error_of(exc) if isinstance(exc, KafkaException) else "no answer in time")
            raise SinkUnavailable(f"cannot read group {group} at {self._servers}: {reason}") from exc
        self._admin.poll(0)
        self._errors.reason = ""  # what was wrong before says nothing of a failure to come
        return positions

    def _consumer(self, group: str) -> Any:
        from wayside.eventing.kafka.client import Consumer, make_client

        if group not in self._consumers:
            own = {"group.id": group, "enable.auto.commit": "false"}
            self._consumers[group] = make_client(Consumer, self._servers, self._config, own)
        return self._consumers[group]


def _partitions(admin: Any, topics: Sequence[str]) -> list[Any]:
    from wayside.eventing.kafka.client import KafkaError, KafkaException, TopicCollection, TopicPartition

    found: list[Any] = []
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_TIMEOUT_S)
    for topic, future in described.items():
        try:
            found += [TopicPartition(topic, partition.id) for partition in _result(future).partitions]
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    return found


def _positions(admin: Any, consumer: Any, partitions: list[Any]) -> list[GroupPosition]:
    from wayside.eventing.kafka.client import OffsetSpec

    committed = consumer.committed(partitions, timeout=_TIMEOUT_S)
    lows, ends = (
        admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=_TIMEOUT_S)
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
    )
    return [
        GroupPosition(
            *(one.topic, one.partition, _result(lows[one]).offset, _result(ends[one]).offset),
            committed=_committed(at),
        )
        for one, at in zip(partitions, committed, strict=True)
    ]


def _committed(at: Any) -> int | None:
    from wayside.eventing.kafka.client import KafkaException

    if at.error is not None:
        raise KafkaException(at.error)
    return None if at.offset == _NONE_COMMITTED else int(at.offset)


def _result(future: "Future[Any]") -> Any:
    return future.result(_TIMEOUT_S + 1)
