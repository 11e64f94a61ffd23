"""What runs on one machine, as configuration (`wayside.yaml`) and as the processes it stands for.

Invariant: a composition is checked whole before anything starts, and the same composition always gives the same
command lines: each is one that a person could type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wayside.eventing.errors import ConfigurationError

Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
LOOPBACK = "127.0.0.1"
BROKER_PATH = "default/default"
_BESIDE_NICENESS = 10


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Section):
    """The port of a service's traffic and the port of its health, readiness and metrics."""

    port: Port
    admin_port: Port


class Detector(_Section):
    """A fitted detector: its name (also the name of its Trigger's subscriber) and its artifact's folder."""

    name: Name
    artifact: Path
    port: Port
    admin_port: Port


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
    page_port: Port = 8600
    ledger: Path | None = None

    @property
    def records_file(self) -> Path:
        return self.state / "records" / "records.sqlite"

    @property
    def broker_url(self) -> str:
        """Where events are posted."""
        return f"http://{LOOPBACK}:{self.broker.port}/{BROKER_PATH}"

    @property
    def page_url(self) -> str:
        return f"http://{LOOPBACK}:{self.page_port}"


@dataclass(frozen=True, slots=True)
class Process:
    """One child: its name, the arguments after `wayside`, where it says that it is ready, and what it serves.

    `niceness` lowers a process's claim on the processors, as nice(1) does.
    """

    name: str
    arguments: tuple[str, ...]
    ready_url: str
    serves: str
    program: tuple[str, ...] | None = None
    niceness: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


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
    return composition


def _anchored(composition: Composition, folder: Path) -> Composition:
    return composition.model_copy(
        update={
            "state": folder / composition.state,
            "manifests": tuple(folder / path for path in composition.manifests),
            "ledger": folder / composition.ledger if composition.ledger else None,
            "detectors": tuple(
                detector.model_copy(update={"artifact": folder / detector.artifact})
                for detector in composition.detectors
            ),
        }
    )


def _check_ports(composition: Composition, where: str) -> None:
    services = (composition.logger, composition.broker, composition.records, composition.prometheus)
    listeners: tuple[Listener | Detector, ...] = (*services, *composition.detectors)
    ports = [composition.page_port]
    for listener in listeners:
        ports += [listener.port, listener.admin_port]
    twice = sorted({port for port in ports if ports.count(port) > 1})
    if twice:
        raise ConfigurationError(f"{where}: port {twice[0]} is given to two services")


def _check_names(composition: Composition, where: str) -> None:
    names = [detector.name for detector in composition.detectors]
    taken = {"logger", "broker", "records", "prometheus", "page"}
    for name in names:
        if names.count(name) > 1 or name in taken:
            raise ConfigurationError(f"{where}: detectors: the name {name!r} is taken")


def default_manifests(composition: Composition) -> tuple[Path, ...]:
    """The Knative YAML that comes with Wayside, for the parts that this composition runs."""
    folder = Path(str(files("wayside.local") / "manifests"))
    parts = ("broker", "records", "prometheus", *(detector.name for detector in composition.detectors))
    for part in parts:
        if not (folder / f"{part}.yaml").exists():
            raise ConfigurationError(f"detector {part!r} has no Trigger: write one and name it under 'manifests'")
    return tuple(folder / f"{part}.yaml" for part in parts)


def processes(composition: Composition) -> list[Process]:
    """The processes of a composition in the order of their start: from the sinks back to the sources, the page last."""
    detectors = [_detector(detector, composition) for detector in composition.detectors]
    beside = [_records(composition), _prometheus(composition), *detectors, _broker(composition)]
    # on one machine the model and the logger come first: what stands beside the serving path takes what is left
    later = [replace(process, niceness=_BESIDE_NICENESS) for process in (*beside, _page(composition))]
    return [*later[:-1], _logger(composition), later[-1]]


def _listen(listener: Listener | Detector) -> tuple[str, ...]:
    return ("--port", str(listener.port), "--admin-port", str(listener.admin_port))


def _ready(listener: Listener | Detector) -> str:
    return f"{_admin(listener)}/readyz"


def _admin(listener: Listener | Detector) -> str:
    return f"http://{LOOPBACK}:{listener.admin_port}"


def _records(composition: Composition) -> Process:
    data = ("--data", str(composition.records_file.parent))
    listener = composition.records
    return Process("records", ("sink", "records", *_listen(listener), *data), _ready(listener), "records")


def _prometheus(composition: Composition) -> Process:
    listener = composition.prometheus
    serves = f"metrics of verdicts: {_admin(listener)}/metrics"
    return Process("prometheus", ("sink", "prometheus", *_listen(listener)), _ready(listener), serves)


def _detector(detector: Detector, composition: Composition) -> Process:
    state = ("--data", str(composition.state / detector.name), "--sink-url", composition.broker_url)
    artifact = ("--artifact", str(detector.artifact), "--name", detector.name)
    return Process(
        detector.name,
        ("detect", *artifact, *_listen(detector), *state),
        _ready(detector),
        f"detector: {_admin(detector)}",
    )


def _broker(composition: Composition) -> Process:
    subscribers: dict[str, Listener | Detector] = {
        "records": composition.records,
        "prometheus": composition.prometheus,
        **{detector.name: detector for detector in composition.detectors},
    }
    arguments = ["broker", *_listen(composition.broker), "--data", str(composition.state / "broker")]
    for path in composition.manifests or default_manifests(composition):
        arguments += ["--manifest", str(path)]
    for name, listener in subscribers.items():
        arguments += ["--resolve", f"{name}=http://{LOOPBACK}:{listener.port}/"]
    return Process("broker", tuple(arguments), _ready(composition.broker), f"events: {composition.broker_url}")


def _logger(composition: Composition) -> Process:
    host, _, port = composition.upstream.removeprefix("http://").rstrip("/").rpartition(":")
    upstream = ("--component-host", host or port, "--component-port", port if host else "80")
    identity = ("--inference-service", composition.service, "--namespace", composition.namespace)
    # the flags that KServe's injector passes, in its order; the upstream's host is ours, since a sidecar needs none
    injected = (
        *("--log-url", composition.broker_url, "--source-uri", f"{composition.service}-predictor", "--log-mode", "all"),
        *(*identity, "--endpoint", "", "--component", "predictor", "--logger-tls-skip-verify", "false"),
    )
    arguments = ("logger", *injected, *upstream, "--host", LOOPBACK, *_listen(composition.logger))
    serves = f"your model, watched: http://{LOOPBACK}:{composition.logger.port}"
    return Process("logger", arguments, _ready(composition.logger), serves)


def _page(composition: Composition) -> Process:
    arguments = ["page", "--port", str(composition.page_port), "--records", str(composition.records_file)]
    arguments += ["--logger-admin", _admin(composition.logger), "--broker-admin", _admin(composition.broker)]
    for detector in composition.detectors:
        arguments += ["--drift-admin", _admin(detector)]
    if composition.ledger is not None:
        arguments += ["--ledger", str(composition.ledger)]
    return Process("page", tuple(arguments), f"{composition.page_url}/readyz", f"the page: {composition.page_url}")
