"""The one place that imports confluent-kafka, and the translation of what librdkafka says. Needs the extra `kafka`.

Invariant: no error text that leaves here holds the value of a setting.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from wayside.eventing.errors import ConfigurationError, MissingExtra

try:
    from confluent_kafka import (
        TIMESTAMP_NOT_AVAILABLE,
        Consumer,
        KafkaError,
        KafkaException,
        Message,
        Producer,
        TopicCollection,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec  # type: ignore[attr-defined]
except ImportError as exc:
    raise MissingExtra("Kafka", "kafka") from exc

__all__ = [
    "TIMESTAMP_NOT_AVAILABLE",
    "AdminClient",
    "ClientErrors",
    "ConfigResource",
    "Consumer",
    "KafkaError",
    "KafkaException",
    "Message",
    "NewTopic",
    "OffsetSpec",
    "Producer",
    "TopicCollection",
    "TopicPartition",
    "error_of",
    "make_client",
]
C = TypeVar("C")
_BASE = {"client.id": "wayside", "log_level": "2", "reconnect.backoff.max.ms": "2000"}


class ClientErrors:
    """What one client's connections reported, by its `error_cb`, which runs wherever the client is polled."""

    def __init__(self) -> None:
        self.reason = ""
        self.refused = ""
        self.fatal = ""

    def note(self, error: KafkaError) -> None:
        """Remember an error. That all brokers are down says less than why one of them is."""
        text = error.str()
        if error.fatal():
            self.fatal = text
        if error.code() == KafkaError._AUTHENTICATION:
            self.refused = text
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.reason:
            self.reason = text


def make_client(
    kind: Callable[[dict[str, Any]], C], servers: str, config: Mapping[str, str], more: Mapping[str, Any]
) -> C:
    """A client of a kind: Producer, Consumer, AdminClient. Connects to nothing yet.

    `more` overrides `config`, which overrides the defaults. Raises `ConfigurationError` for settings that do not fit.
    """
    try:
        return kind({**_BASE, **config, **more, "bootstrap.servers": servers})
    except KafkaException as exc:
        raise ConfigurationError(f"Kafka's client refuses its settings: {_scrubbed(error_of(exc), config)}") from exc
    except (TypeError, ValueError) as exc:
        raise ConfigurationError(f"Kafka's client refuses its settings: {_scrubbed(str(exc), config)}") from exc


def error_of(exc: KafkaException) -> str:
    """What an exception of the client's says."""
    error = exc.args[0]
    return error.str() if isinstance(error, KafkaError) else str(error)


def _scrubbed(text: str, config: Mapping[str, str]) -> str:
    for key, value in config.items():
        text = re.sub(rf'(?<![\w.])"?{re.escape(value)}"?(?![\w.])', f"(the value of {key})", text)
    return text
