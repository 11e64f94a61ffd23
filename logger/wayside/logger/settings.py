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


class Oversize(StrEnum):
    """What becomes of a body over the limit: the event carries its beginning, marked so, or there is no event."""

    TRUNCATE = "truncate"
    SKIP = "skip"


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
class StatusShare:
    """The share of requests kept among those answered with a status from `first` to `last`, both included."""

    first: int
    last: int
    share: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which requests are captured at all.

    `share` (0 to 1) of all of them, or at most `per_second`, or by the answer's status, where the first of `by_status`
    that names it counts and `share` is for the rest. Where `key` names a header, requests that agree in it are all in
    or all out; where there is none, the key is `X-Request-Id`, or the minted id.
    """

    share: float = 1.0
    per_second: float | None = None
    by_status: tuple[StatusShare, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Capture:
    """What is copied on the side.

    `body_bytes` bounds one body, `total_bytes` all that are being copied at one time. `metadata_headers` are names of
    request headers that travel with events, in lower case, or as written with `kserve_compatible`: events then are
    what KServe's agent makes of the same traffic, mistakes included (docs/logger.md lists them).
    """

    mode: LogMode = LogMode.ALL
    body_bytes: int = 10 << 20
    oversize: Oversize = Oversize.TRUNCATE
    total_bytes: int = 128 << 20
    metadata_headers: frozenset[str] = frozenset()
    sampling: Sampling = Sampling()
    kserve_compatible: bool = False


class Target(StrEnum):
    """Where a redaction rule looks: RFC 6901's pointer into JSON (`*` is any element), a column of a V1 or V2 payload
    by its name, or a header."""

    POINTER = "pointer"
    COLUMN = "column"
    HEADER = "header"


class Redacted(StrEnum):
    """What is left of a redacted value: nothing, `***`, or its keyed hash."""

    DROP = "drop"
    MASK = "mask"
    HASH = "hash"


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """What `name` finds is replaced as `left` says."""

    target: Target
    name: str
    left: Redacted


@dataclass(frozen=True, slots=True)
class SideWork:
    """What is done to events in a second process, which is started only where there is something to do.

    `hash_key_file` holds the key of keyed hashes. `in_hand_bytes` bounds what is on its way through that process.
    """

    rules: tuple[RedactionRule, ...] = ()
    hash_key_file: Path | None = None
    compress: bool = False
    in_hand_bytes: int = 64 << 20

    def __bool__(self) -> bool:
        return bool(self.rules) or self.compress


@dataclass(frozen=True, slots=True)
class Identity:
    """What every event says of where it comes from. `revision` may be empty."""

    source: str
    service: ServiceKey
    annotations: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""


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
class Batching:
    """How many events go in one message or file, and how long the first of them waits for the others."""

    events: int = 1
    interval_s: float = 0.0


class StoreFormat(StrEnum):
    """What a batch of events is written as."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Store:
    """Files instead of messages, as KServe's agent writes them: where below the log url, and in what format.

    Where `marshaller_url` is set, that service makes the files' bytes. With `kserve_compatible` files hold what
    KServe's agent writes and nothing more, under its very names (docs/log-store.md).
    """

    path: str
    format: StoreFormat = StoreFormat.JSON
    marshaller_url: str = ""
    kserve_compatible: bool = False


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
    batching: Batching = Batching()
    store: Store | None = None
    raw_values: bool = False  # attribute values as they are, not percent-encoded: as KServe's agent writes them
    pipeline: int = 16  # posts that may share a connection while the sink is quick; 1: none do

    @property
    def in_flight(self) -> int:
        """Events on their way at once: a connection carries one over HTTP, a batch of Kafka's carries many."""
        return max(self.workers, _KAFKA_IN_FLIGHT) if is_kafka_url(self.url) else self.workers


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """All of them. `grace_s` is how long SIGTERM may take, and `quiet_s` the part of it in which connections are still
    taken; `readiness_probe` is Kubernetes' JSON, or empty. `processes` share the port.
    """

    listen: Listen
    upstream: Upstream
    capture: Capture
    identity: Identity
    delivery: Delivery
    side_work: SideWork = SideWork()
    processes: int = 1
    grace_s: float = 25.0
    quiet_s: float = 0.0
    readiness_probe: str = ""
