"""The file of librdkafka's settings: what it may hold, what it may not and why, and that each client takes its own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.client import make_client
from wayside.eventing.kafka.config import load_config, parse_config

REFUSED = {
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), "kafka://host"),
    "group.id": "--group",
    **dict.fromkeys(("enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms"), "commits"),
    **dict.fromkeys(("enable.auto.offset.store", "offset.store.method", "offset.store.path"), "commits"),
    **dict.fromkeys(("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"), "in-sync"),
    **dict.fromkeys(("transactional.id", "max.in.flight", "max.in.flight.requests.per.connection"), "in-sync"),
    **dict.fromkeys(("retries", "message.send.max.retries"), "in-sync"),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms"), "time-out"),
    "topic.metadata.propagation.max.ms": "time-out",
    **dict.fromkeys(("auto.offset.reset", "isolation.level", "enable.partition.eof"), "reads what is committed"),
    **dict.fromkeys(("partition.assignment.strategy", "group.protocol", "group.remote.assignor"), "reads"),
    **dict.fromkeys(("logger", "on_commit", "on_delivery", "opaque", "interceptors"), "callbacks"),
    **dict.fromkeys(("error_cb", "oauth_cb", "made_up_cb"), "callbacks"),
    "plugin.library.paths": "foreign code",
    "default.topic.config": "a line of its own",
}
# what people set, of producers, consumers and connections alike
USUAL = """
compression.type=zstd
linger.ms=20
batch.size=100000
message.max.bytes=2000000
partitioner=murmur2_random
fetch.min.bytes=1000
fetch.max.bytes=10000000
max.partition.fetch.bytes=1000000
queued.min.messages=1000
session.timeout.ms=20000
max.poll.interval.ms=60000
group.instance.id=reader-1
client.rack=zone-a
client.id=mine
socket.keepalive.enable=true
retry.backoff.ms=200
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.username=wayside
sasl.password=hunter2
ssl.endpoint.identification.algorithm=none
enable.ssl.certificate.verification=false
"""


def test_a_file_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# SASL\n\nsecurity.protocol = SASL_SSL\n  sasl.password=a=b #c\n", encoding="utf-8-sig")
    assert load_config(file) == {"security.protocol": "SASL_SSL", "sasl.password": "a=b #c"}
    assert load_config(None) == {}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *((f"{name}=secret", f"{re.escape(name)} cannot be set: .*{words}") for name, words in REFUSED.items()),
        ("secret", "not key=value"),
        ("=secret", "not key=value"),
        ("sasl.password: secret=", "not key=value"),
        ("sasl.password secret==", "not key=value"),
        ("sasl.password: secret=more", "not key=value"),
        ("SecretKey=secret", "not key=value"),
        ("secret=", "no value"),
        ("partitioner=random", "partitioner must go by the key"),
        ("partitioner=secret", "partitioner must go by the key"),
        ("sasl.password=", "no value"),
        ("client.id=secret", "twice"),
    ],
)
def test_a_bad_setting_is_named_by_file_and_line_without_its_value(line: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as raised:
        parse_config(f"client.id=x\n{line}\n", "my.file")
    assert str(raised.value).startswith("my.file, line 2: ")
    assert "secret" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe=")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_config(tmp_path / "binary")


@pytest.mark.parametrize(
    ("kind", "own"),
    [(Producer, {}), (AdminClient, {}), (Consumer, {"group.id": "g"})],
    ids=["producer", "admin", "consumer"],
)
def test_every_client_takes_its_own_of_one_file_and_says_nothing_of_the_rest(
    kind: Callable[[dict[str, Any]], Any], own: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    client = make_client(kind, "127.0.0.1:9", parse_config(USUAL, "file"), own)
    if kind is Consumer:
        client.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fetch.min.bytes=hunter2", "fetch.min.bytes"),
        ("fetch.minimum=hunter2", "fetch.minimum"),
        ("ssl.ca.location=/no/hunter2", "ssl.ca.location"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=hunter2", "sasl"),
    ],
)
def test_what_librdkafka_does_not_take_is_told_by_name_without_its_value(line: str, words: str) -> None:
    config = parse_config(line if "security" in line else f"security.protocol=SSL\n{line}", "file")
    with pytest.raises(ConfigurationError, match=words) as raised:
        make_client(Consumer, "127.0.0.1:9", config, {"group.id": "g"})
    assert "hunter2" not in str(raised.value)
