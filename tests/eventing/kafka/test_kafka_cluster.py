"""Waiting for Kafka, what ends at once, topics of the wrong shape, and reading groups."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.cluster import ensure_topics, wait_for_kafka
from wayside.eventing.kafka.groups import GroupPosition, GroupReader
from wayside.eventing.sink import SinkUnavailable

NOBODY = "127.0.0.1:9"
SASL = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "wayside"}


async def test_a_cluster_that_answers(service: Callable[[str], str]) -> None:
    await wait_for_kafka(service("KAFKA"), {}, 10.0)
    await wait_for_kafka(service("KAFKA_SASL"), {**SASL, "sasl.password": "wayside-test"}, 10.0)


async def test_where_nobody_listens_is_waited_for_told_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ConfigurationError, match=f"Kafka at {NOBODY} does not answer after 1 s: .*refused"):
        await wait_for_kafka(NOBODY, {}, 1.0)
    assert f"waiting for Kafka at {NOBODY}: " in caplog.text
    assert "of 1 s)" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"sasl.password": "hunter2"},
        {"sasl.password": "hunter2", "sasl.mechanism": "SCRAM-SHA-256"},
        {"sasl.password": "hunter2", "sasl.mechanism": "UNKNOWN"},
        {},
    ],
)
async def test_wrong_credentials_end_at_once(service: Callable[[str], str], wrong: dict[str, str]) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"refuses (these credentials|its settings)") as raised:
        await wait_for_kafka(service("KAFKA_SASL"), {**SASL, **wrong}, 60.0)
    assert time.monotonic() - began < 10
    assert "hunter2" not in str(raised.value)


async def test_topics_are_made_where_they_are_absent(names: Any) -> None:
    both = [names.topic, f"{names.group}.dead-letters"]
    # three at once, as processes that start together do
    await asyncio.gather(*(ensure_topics(names.servers, both, {}, partitions=3) for _ in range(3)))
    admin = AdminClient({"bootstrap.servers": names.servers})
    topics = admin.list_topics(timeout=10).topics
    assert [len(topics[topic].partitions) for topic in both] == [3, 3]
    await ensure_topics(names.servers, both, {}, partitions=9)  # what is there is left as it is


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
async def test_a_compacted_topic_is_refused(names: Any, policy: str) -> None:
    names.create(cleanup_policy=policy)
    with pytest.raises(ConfigurationError, match=r"compacted .* set cleanup\.policy=delete"):
        await ensure_topics(names.servers, [names.topic], {})


async def test_groups_are_read_without_joining(names: Any, wait_until: Any) -> None:
    reader = GroupReader(names.servers, {})
    assert reader.read(names.group, [names.topic]) == []
    await ensure_topics(names.servers, [names.topic], {}, partitions=2)
    found: list[GroupPosition] = []

    def is_read() -> bool:
        with suppress(SinkUnavailable):  # a partition that was just made may have no leader yet
            found.extend(reader.read(names.group, [names.topic, "absent-topic"]))
        return bool(found)

    await wait_until(is_read)
    assert [(at.topic, at.partition, at.low, at.end, at.committed) for at in found] == [
        (names.topic, number, 0, 0, None) for number in range(2)
    ]


def test_groups_are_unavailable_while_kafka_is_away() -> None:
    with pytest.raises(SinkUnavailable, match=f"cannot read group g at {NOBODY}"):
        GroupReader(NOBODY, {}).read("g", ["t"])
