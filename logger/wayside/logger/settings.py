"""The payload logger's settings, in groups that change together.

Invariant: frozen and checked once, at start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from wayside.eventing.kafka.address import is_kafka_url
from wayside.eventing.vocabulary import ServiceKey

_KAFKA_IN_FLIGHT = 512


class LogMode(StrEnum):
    """Which bodies become events."""

    ALL = "all"
    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients connect, and where health and metrics are served."""

    host: str = "0.0.0.0"
    port: int = 9081
    admin_host: str = "127.0.0.1"
    admin_port: int = 9082


@dataclass(frozen=True, slots=True)
class Upstream:
    """The model server. `idle_s` is shorter than servers' usual keep-alive, so that none closes while we write."""

    host: str = "127.0.0.1"
    port: int = 8080
    connect_timeout_s: float = 5.0
    idle_s: float = 4.0
    idle_limit: int = 256


@dataclass(frozen=True, slots=True)
class Capture:
    """What is copied on the side. `body_bytes` bounds one body, `total_bytes` all that are being copied at one time."""

    mode: LogMode = LogMode.ALL
    body_bytes: int = 10 << 20
    total_bytes: int = 128 << 20
    metadata_headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Identity:
    """What every event says of where it comes from."""

    source: str
    service: ServiceKey
    annotations: Mapping[str, str] = field(default_factory=dict)


class SpoolWhenFull(StrEnum):
    """Which events go where the spool has no room for all."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where events wait on disk. `limit_bytes` bounds what waits; the file takes up to a third more."""

    folder: Path
    limit_bytes: int = 1 << 30
    when_full: SpoolWhenFull = SpoolWhenFull.DROP_OLDEST


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where events go; an empty `url` turns capture off. Queue bounds are what an outage may last before drops;
    `queue_bytes` bounds what is in flight too. What has no room there waits in the spool, where there is one.

    `ca_file` and `tls_skip_verify` are for https; a Kafka cluster's TLS and SASL are in `kafka_config`.
    """

    url: str = ""
    workers: int = 16
    timeout_s: float = 10.0
    queue_events: int = 100_000
    queue_bytes: int = 64 << 20
    ca_file: Path = Path("/etc/tls/logger/service-ca.crt")
    tls_skip_verify: bool = False
    kafka_config: Path | None = None
    spool: SpoolSettings | None = None

    @property
    def in_flight(self) -> int:
        """Events on their way at once: a connection carries one over HTTP, a batch of Kafka's carries many."""
        return max(self.workers, _KAFKA_IN_FLIGHT) if is_kafka_url(self.url) else self.workers


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """All of them. `grace_s` is how long SIGTERM may take, and `quiet_s` the part of it in which connections are still
    taken; `readiness_probe` is Kubernetes' JSON, or empty.
    """

    listen: Listen
    upstream: Upstream
    capture: Capture
    identity: Identity
    delivery: Delivery
    grace_s: float = 25.0
    quiet_s: float = 0.0
    readiness_probe: str = ""
