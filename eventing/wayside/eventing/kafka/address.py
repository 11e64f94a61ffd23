"""Addresses of topics: `kafka://host:9092[,host2:9092]/topic[,topic]`. Needs the standard library alone.

Invariant: what parses can be used as it is; credentials have no place in an address, and an error shows none of it.
"""

import re
from dataclasses import dataclass

from wayside.eventing.errors import ConfigurationError

SCHEME = "kafka://"
DEFAULT_PORT = 9092
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}", re.ASCII)
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+)(?::(\d{1,5}))?", re.ASCII)
_NO_CREDENTIALS = "a Kafka address holds no user or password: put them into the --kafka-config file"
_FORM = f"write {SCHEME}host:9092[,host2:9092]/topic[,topic]"


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where topics are: `servers` as librdkafka takes them, every one with its port, and one topic or more."""

    servers: str
    topics: tuple[str, ...]

    def __str__(self) -> str:
        return f"{SCHEME}{self.servers}/{','.join(self.topics)}"


def is_kafka_url(text: str) -> bool:
    """Whether an address claims to be Kafka's."""
    return text[: len(SCHEME)].lower() == SCHEME


def parse_address(text: str) -> KafkaAddress:
    """Raises `ConfigurationError` for any other form, and for a user, a query, or a name that no topic can have."""
    if not is_kafka_url(text):
        raise ConfigurationError(f"not an address of Kafka's topics: {_FORM}")
    servers, slash, topics = text[len(SCHEME) :].partition("/")
    if "@" in text:
        raise ConfigurationError(_NO_CREDENTIALS)
    if "?" in text or "#" in text:
        raise ConfigurationError("a Kafka address holds no '?' or '#': settings belong into the --kafka-config file")
    if not slash or not topics:
        raise ConfigurationError(f"Kafka address {text!r} names no topic: {_FORM}")
    return KafkaAddress(parse_servers(servers), _topics(topics))


def parse_servers(text: str) -> str:
    """`host:9092[,host2:9092]` with the default port filled in. Raises `ConfigurationError`."""
    if "@" in text:
        raise ConfigurationError(_NO_CREDENTIALS)
    return ",".join(map(_server, text.split(",")))


def _server(text: str) -> str:
    match = _SERVER.fullmatch(text)
    if match is None or not 0 < int(match[2] or DEFAULT_PORT) < 65_536:
        raise ConfigurationError(f"Kafka server {text!r} is not host:port, or [ipv6]:port: {_FORM}")
    return f"{match[1]}:{int(match[2] or DEFAULT_PORT)}"


def _topics(text: str) -> tuple[str, ...]:
    topics = tuple(text.split(","))
    for topic in topics:
        check_topic(topic)
    if len(set(topics)) != len(topics):
        raise ConfigurationError(f"a topic is named twice in {text!r}")
    return topics


def check_topic(name: str) -> str:
    """The name of a topic, by Kafka's rule. Raises `ConfigurationError`."""
    if name in (".", "..") or _TOPIC.fullmatch(name) is None:
        raise ConfigurationError(f"topic {name[:64]!r} is no name for Kafka: use up to 249 of a-z A-Z 0-9 . _ -")
    return name


def one_topic(text: str) -> KafkaAddress:
    """The address of a single topic. Raises `ConfigurationError`."""
    address = parse_address(text)
    if len(address.topics) != 1:
        raise ConfigurationError(f"{text}: events are sent to one topic; name one, kafka://host:9092/topic")
    return address
