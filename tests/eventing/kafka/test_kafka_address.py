"""Addresses, settings and subscriptions of Kafka's: what is taken, and what is refused with which words."""

import subprocess
import sys

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.address import KafkaAddress, is_kafka_url, parse_address, parse_servers
from wayside.eventing.kafka.subscription import Subscription


@pytest.mark.parametrize(
    ("text", "servers", "topics"),
    [
        ("kafka://kafka:9092/events", "kafka:9092", ("events",)),
        ("KAFKA://kafka/events", "kafka:9092", ("events",)),
        ("kafka://a,b.example:9093/x.1,y_2,z-3", "a:9092,b.example:9093", ("x.1", "y_2", "z-3")),
        ("kafka://[::1]:29092,[fe80::2]/e", "[::1]:29092,[fe80::2]:9092", ("e",)),
        ("kafka://kafka/" + "x" * 249, "kafka:9092", ("x" * 249,)),
    ],
)
def test_what_an_address_says(text: str, servers: str, topics: tuple[str, ...]) -> None:
    address = parse_address(text)
    assert address == KafkaAddress(servers, topics)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "kafka:", "kafka://", "kafka:///t", "kafka://h", "kafka://h/", "kafka://h:/t", "kafka://h:0/t"),
        *("kafka://h:65536/t", "kafka://h:x/t", "kafka://::1/t", "kafka://h,/t", "kafka://h/t,", "kafka://h/t,t"),
        *("kafka://h/.", "kafka://h/..", "kafka://h/a b", "kafka://h/a/b", "kafka://h/ü", "kafka://h/" + "x" * 250),
        *("http://h/t", "kafka://h/t?x=1", "kafka://h/t#x", "kafka://h h/t", "kafka://h:9092\n/t"),
    ],
)
def test_what_no_address_is(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_address(text)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="--kafka-config") as raised:
        parse_address("kafka://user:hunter2@kafka:9092/topic")
    assert "hunter2" not in str(raised.value)


def test_a_password_among_servers_alone_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="--kafka-config") as raised:
        parse_servers("kafka,user:hunter2@kafka:9092")
    assert "hunter2" not in str(raised.value)


def test_what_claims_to_be_kafka() -> None:
    assert is_kafka_url("kafka://x")
    assert is_kafka_url("Kafka://x")
    assert not is_kafka_url("http://kafka://")


def test_addresses_need_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import wayside.eventing.kafka.address, wayside.eventing.kafka.config,"
        " wayside.eventing.kafka.options, wayside.eventing.kafka.groups;"
        " assert not {'confluent_kafka', 'yaml', 'prometheus_client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_package_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['confluent_kafka'] = None\n"
        "try: import wayside.eventing.kafka.sink\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "MissingExtra Kafka needs the extra 'kafka': pip install 'wayside[kafka]'"


@pytest.mark.parametrize("group", ["", "a b", "x" * 240, "ü"])
def test_a_group_names_a_topic_of_dead_letters(group: str) -> None:
    with pytest.raises(ConfigurationError, match="--group"):
        Subscription(KafkaAddress("kafka:9092", ("events",)), group)


def test_a_group_does_not_read_its_own_dead_letters() -> None:
    with pytest.raises(ConfigurationError, match="dead letters"):
        Subscription(KafkaAddress("kafka:9092", ("x.dead-letters",)), "x")
