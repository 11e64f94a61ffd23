"""Waits for a cluster, and sees to it that topics are there and of the right shape. Needs the extra `kafka`.

Invariant: what waiting cannot mend ends at once; what it may mend is waited for, told of, and ended by the deadline.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.client import (
    AdminClient,
    ClientErrors,
    ConfigResource,
    KafkaError,
    KafkaException,
    NewTopic,
    TopicCollection,
    error_of,
    make_client,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

log = logging.getLogger("wayside.kafka")
PARTITIONS = 6
# what the embedded broker takes, plus attributes; Kafka's own default of 1 MB would refuse an ordinary image
MESSAGE_LIMIT_BYTES = 17 << 20
_LINE_EVERY_S = 4.0
_PROBE_S = 2.0
_POLL_S = 0.1
_TIMEOUT_S = 10.0


async def wait_for_kafka(servers: str, config: Mapping[str, str], wait_s: float) -> None:
    """Return once the cluster answers; a line every few seconds says what is waited for.

    Raises `ConfigurationError` after `wait_s`, and at once for refused credentials and for settings that do not fit.
    """
    errors = ClientErrors()
    admin = make_client(AdminClient, servers, config, {"error_cb": errors.note})
    loop = asyncio.get_running_loop()
    started = told = loop.time()
    while not await asyncio.to_thread(_answers, admin, errors, min(_PROBE_S, max(_POLL_S, wait_s / 2))):
        waited_s = loop.time() - started
        reason = errors.reason or "no answer"
        if errors.refused:
            raise ConfigurationError(f"Kafka at {servers} refuses these credentials: {errors.refused}")
        if waited_s >= wait_s:
            raise ConfigurationError(f"Kafka at {servers} does not answer after {wait_s:g} s: {reason}")
        if loop.time() - told >= _LINE_EVERY_S or told == started:
            told = loop.time()
            log.info("waiting for Kafka at %s: %s (%.0f s of %.0f s)", servers, reason, waited_s, wait_s)


def _answers(admin: AdminClient, errors: ClientErrors, wait_s: float) -> bool:
    """Whether the cluster answers within a moment; gives up early where it refuses the credentials."""
    asked = admin.describe_cluster(request_timeout=wait_s)
    while not asked.done() and not errors.refused:
        admin.poll(_POLL_S)
    return not errors.refused and asked.exception() is None


async def ensure_topics(
    servers: str, topics: Sequence[str], config: Mapping[str, str], partitions: int = PARTITIONS
) -> None:
    """Create the topics that are absent, with the broker's own replication, and check those that are there.

    Raises `ConfigurationError` for a compacted topic, and where the account may not see or create one.
    """
    admin = make_client(AdminClient, servers, config, {})
    await asyncio.to_thread(_ensure, admin, topics, partitions)


def _ensure(admin: AdminClient, topics: Sequence[str], partitions: int) -> None:
    absent = _absent(admin, topics)
    if absent:
        _create(admin, absent, partitions)
        _wait_visible(admin, absent)
    _check_shape(admin, topics)  # all: what was absent a moment ago, another process may have made


def _absent(admin: AdminClient, topics: Sequence[str]) -> list[str]:
    absent = []
    described = admin.describe_topics(TopicCollection(list(topics)), request_timeout=_TIMEOUT_S)
    for topic, future in described.items():
        code = _code(future)
        if code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            absent.append(topic)
        elif code is not None:
            raise ConfigurationError(_trouble(topic, "be described", code, future))
    return absent


def _create(admin: AdminClient, topics: Sequence[str], partitions: int) -> None:
    settings = {"max.message.bytes": str(MESSAGE_LIMIT_BYTES), "cleanup.policy": "delete"}
    wanted = [NewTopic(topic, num_partitions=partitions, replication_factor=-1, config=settings) for topic in topics]
    for topic, future in admin.create_topics(wanted, request_timeout=_TIMEOUT_S).items():
        code = _code(future)
        if code is None:
            log.info("created topic %s with %d partitions", topic, partitions)
        elif code != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
            raise ConfigurationError(_trouble(topic, "be created", code, future))


def _wait_visible(admin: AdminClient, topics: Sequence[str]) -> None:
    """A topic that was just created may be unknown for a moment to the broker that is asked."""
    for _ in range(round(_TIMEOUT_S / _POLL_S)):
        if not _absent(admin, topics):
            return
        admin.poll(_POLL_S)


def _check_shape(admin: AdminClient, topics: Sequence[str]) -> None:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    for resource, future in admin.describe_configs(resources, request_timeout=_TIMEOUT_S).items():
        code = _code(future)
        if code is not None:
            # an account that may only read and write is a good account
            log.warning("%s", _trouble(resource.name, "be checked for compaction", code, future))
        elif "compact" in future.result()["cleanup.policy"].value:
            raise ConfigurationError(
                f"topic {resource.name} is compacted (cleanup.policy), and events share their service's key, so that"
                " compaction would lose them: set cleanup.policy=delete, or name another topic"
            )


def _code(future: "Future[Any]") -> int | None:
    """Why an answer is an error, or None. Blocks until it is there."""
    exc = future.exception(_TIMEOUT_S + 1)
    if exc is None:
        return None
    if isinstance(exc, KafkaException):
        return int(exc.args[0].code())
    raise exc


def _trouble(topic: str, what: str, code: int, future: "Future[Any]") -> str:
    if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return (
            f"topic {topic} cannot {what}: this account is not allowed to. Create the topic by hand, or grant it"
            " DESCRIBE, DESCRIBE_CONFIGS and CREATE"
        )
    exc = future.exception()
    return f"topic {topic} cannot {what}: {error_of(exc) if isinstance(exc, KafkaException) else exc}"
