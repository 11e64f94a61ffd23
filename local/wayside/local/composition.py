"""What runs on one machine, as configuration: `wayside.yaml`.

Invariant: a composition is checked whole before anything starts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.kafka.address import parse_servers
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
LOOPBACK = "127.0.0.1"
BROKER_PATH = "default/default"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Section):
    """The port of a service's traffic and the port of its health, readiness and metrics."""

    port: Port
    admin_port: Port


class Detector(_Section):
    """A fitted detector: its name (also the name of its Trigger's subscriber) and its artifact's folder.

    `judges` is what it is given: requests, responses, or pairs of both (`wayside detect --on`).
    """

    name: Name
    artifact: Path
    judges: Literal["request", "response", "pair"] = "request"
    port: Port
    admin_port: Port


class Kafka(_Section):
    """A Kafka cluster in the embedded broker's place.

    Topics are `<prefix>-events` and `<prefix>-verdicts`, consumer groups `<prefix>-<process>`. `config` is a file of
    librdkafka's settings, such as SASL and TLS.
    """

    servers: Annotated[str, Field(min_length=1)]
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", max_length=100)] = "wayside"
    config: Path | None = None

    def topic(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def group(self, process: str) -> str:
        """The consumer group of a process."""
        return f"{self.prefix}-{process}"

    def url(self, *names: str) -> str:
        """The address of topics: `events`, `verdicts`."""
        return f"kafka://{self.servers}/{','.join(map(self.topic, names))}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What every process that meets Kafka is told."""
        return ("--kafka-config", str(self.config)) if self.config else ()


class Elasticsearch(Listener):
    """The sink that keeps records in Elasticsearch too, in indices `<index_prefix>-records-…`.

    Credentials come from the environment: WAYSIDE_SINK_USER, WAYSIDE_SINK_PASSWORD, WAYSIDE_SINK_API_KEY.
    """

    url: Annotated[str, Field(min_length=1)]
    index_prefix: str = "wayside"
    port: Port = 8660
    admin_port: Port = 8661


class Composition(_Section):
    """One machine's loop. Relative paths count from the file's folder, or from the working folder without a file."""

    upstream: Annotated[str, Field(pattern=r"^http://[^/]+/?$")] = "http://127.0.0.1:8080"
    service: Name = "model"
    namespace: Name = "default"
    state: Path = Path(".state/up")
    manifests: tuple[Path, ...] = ()
    detectors: tuple[Detector, ...] = ()
    logger: Listener = Listener(port=9081, admin_port=9082)
    broker: Listener = Listener(port=8610, admin_port=8611)
    records: Listener = Listener(port=8640, admin_port=8641)
    prometheus: Listener = Listener(port=8650, admin_port=8651)
    kafka: Kafka | None = None
    elasticsearch: Elasticsearch | None = None
    page_port: Port = 8600
    ledger: Path | None = None

    @property
    def records_file(self) -> Path:
        return self.state / "records" / "records.sqlite"

    @property
    def events_url(self) -> str:
        """Where the logger sends events."""
        return self.kafka.url("events") if self.kafka else f"http://{LOOPBACK}:{self.broker.port}/{BROKER_PATH}"

    @property
    def verdicts_url(self) -> str:
        """Where detectors send verdicts that are no reply."""
        return self.kafka.url("verdicts") if self.kafka else self.events_url

    @property
    def sinks(self) -> Mapping[str, Listener]:
        """The sinks that run, by name."""
        chosen = {"records": self.records, "prometheus": self.prometheus, "elasticsearch": self.elasticsearch}
        return {name: listener for name, listener in chosen.items() if listener is not None}

    @property
    def subscriptions(self) -> Mapping[str, tuple[str, ...]]:
        """With Kafka: what each process consumes, by the process's name."""
        detectors = dict.fromkeys((detector.name for detector in self.detectors), ("events",))
        return {**detectors, **dict.fromkeys(self.sinks, ("events", "verdicts"))}

    @property
    def page_url(self) -> str:
        return f"http://{LOOPBACK}:{self.page_port}"


def load_composition(path: Path) -> Composition:
    """Read `wayside.yaml`. Raises `ConfigurationError` that names the file, the key and what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is not a mapping; 'upstream: http://127.0.0.1:8080' would be one")
    return compose(document, path.parent, str(path))


def compose(document: Mapping[str, Any], folder: Path, where: str) -> Composition:
    """A composition from a mapping; `folder` is what relative paths count from, `where` names it in errors."""
    try:
        composition = Composition.model_validate(document)
    except ValidationError as exc:
        first = exc.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{where}: {key}: {first['msg']}") from exc
    composition = _anchored(composition, folder)
    _check_ports(composition, where)
    _check_names(composition, where)
    _check_judged(composition, where)
    _check_services(composition, where)
    return composition


def _anchored(composition: Composition, folder: Path) -> Composition:
    return composition.model_copy(
        update={
            "state": folder / composition.state,
            "manifests": tuple(folder / path for path in composition.manifests),
            "ledger": folder / composition.ledger if composition.ledger else None,
            "kafka": _anchored_kafka(composition.kafka, folder),
            "detectors": tuple(
                detector.model_copy(update={"artifact": folder / detector.artifact})
                for detector in composition.detectors
            ),
        }
    )


def _anchored_kafka(kafka: Kafka | None, folder: Path) -> Kafka | None:
    if kafka is None or kafka.config is None:
        return kafka
    return kafka.model_copy(update={"config": folder / kafka.config})


def _check_ports(composition: Composition, where: str) -> None:
    services = (composition.logger, composition.broker, *composition.sinks.values())
    listeners: tuple[Listener | Detector, ...] = (*services, *composition.detectors)
    ports = [composition.page_port]
    for listener in listeners:
        ports += [listener.port, listener.admin_port]
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        raise ConfigurationError(f"{where}: port {twice[0]} is given to two services")


def _check_services(composition: Composition, where: str) -> None:
    """Before a command line shows an address, since one of Elasticsearch's may hold a password."""
    kafka, elasticsearch = composition.kafka, composition.elasticsearch
    section = "kafka"
    try:
        if kafka is not None:
            parse_servers(kafka.servers)
        section = "elasticsearch"
        if elasticsearch is not None:
            ElasticsearchSettings(elasticsearch.url, elasticsearch.index_prefix)
    except ConfigurationError as exc:
        raise ConfigurationError(f"{where}: {section}: {exc}") from exc


def _check_judged(composition: Composition, where: str) -> None:
    """The Triggers that come with Wayside send detectors requests alone."""
    if composition.manifests or composition.kafka:
        return
    for detector in composition.detectors:
        if detector.judges != "request":
            raise ConfigurationError(
                f"{where}: detectors: {detector.name!r} judges a {detector.judges}: name 'manifests' with Triggers that"
                " send it responses (docs/detectors.md)"
            )


def _check_names(composition: Composition, where: str) -> None:
    names = [detector.name for detector in composition.detectors]
    taken = {"logger", "broker", "records", "prometheus", "elasticsearch", "page"}
    for name in names:
        if names.count(name) > 1 or name in taken:
            raise ConfigurationError(f"{where}: detectors: the name {name!r} is taken")
