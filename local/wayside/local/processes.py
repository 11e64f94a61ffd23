"""The processes that a composition stands for, as command lines.

Invariant: the same composition always gives the same command lines, and each is one that a person could type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from wayside.eventing.errors import ConfigurationError
from wayside.local.composition import LOOPBACK, Composition, Detector, Listener

# Where events are handed over one at a time, in order, each waits for two processes: on two busy processors these do
# 77 a second at 0, 36 at 5 and 5 at 10, which is less than comes in.
_CARRYING_NICENESS, _SINK_NICENESS, _PAGE_NICENESS = 1, 5, 10
# for Kafka and Elasticsearch; under the supervisor's time for a start, so that the process's own words end it
_WAIT = ("--wait", "45s")


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


def default_manifests(composition: Composition) -> tuple[Path, ...]:
    """The Knative YAML that comes with Wayside, for the parts that this composition runs."""
    folder = Path(str(files("wayside.local") / "manifests"))
    parts = ("broker", *composition.sinks, *(detector.name for detector in composition.detectors))
    for part in parts:
        if not (folder / f"{part}.yaml").exists():
            raise ConfigurationError(f"detector {part!r} has no Trigger: write one and name it under 'manifests'")
    return tuple(folder / f"{part}.yaml" for part in parts)


def processes(composition: Composition) -> list[Process]:
    """The processes of a composition in the order of their start: from the sinks back to the sources, the page last."""
    detectors = [_detector(detector, composition) for detector in composition.detectors]
    carrier = [] if composition.kafka else [_broker(composition)]
    # on one machine the model and the logger come first: what stands beside the serving path takes what is left
    carrying = _at(_CARRYING_NICENESS, *detectors, *carrier)
    sinks, page = _at(_SINK_NICENESS, *_sinks(composition)), _at(_PAGE_NICENESS, _page(composition))
    return [*sinks, *carrying, _logger(composition), *page]


def _at(niceness: int, *those: Process) -> list[Process]:
    return [replace(process, niceness=niceness) for process in those]


def _listen(listener: Listener | Detector) -> tuple[str, ...]:
    return ("--port", str(listener.port), "--admin-port", str(listener.admin_port))


def _ready(listener: Listener | Detector) -> str:
    return f"{_admin(listener)}/readyz"


def _admin(listener: Listener | Detector) -> str:
    return f"http://{LOOPBACK}:{listener.admin_port}"


def _intake(composition: Composition, name: str, listener: Listener | Detector) -> tuple[str, ...]:
    """How a process gets its events: on a port from the broker, or as a consumer group of its own from Kafka."""
    kafka = composition.kafka
    if kafka is None:
        return _listen(listener)
    source = ("--source", kafka.url(*composition.subscriptions[name]), "--group", kafka.group(name))
    triggers = [flag for path in _manifests(composition) for flag in ("--trigger", str(path))]
    return ("--admin-port", str(listener.admin_port), *source, *_WAIT, *kafka.flags, *triggers)


def _sinks(composition: Composition) -> list[Process]:
    """The sinks' processes, and what each one is told besides its intake."""
    elasticsearch = composition.elasticsearch
    more: dict[str, tuple[str, ...]] = {"records": ("--data", str(composition.records_file.parent))}
    serves = {"records": "records", "prometheus": f"metrics of verdicts: {_admin(composition.prometheus)}/metrics"}
    if elasticsearch is not None:
        wait = () if composition.kafka else _WAIT
        more["elasticsearch"] = ("--url", elasticsearch.url, "--index-prefix", elasticsearch.index_prefix, *wait)
        serves["elasticsearch"] = f"records: {elasticsearch.url}/{elasticsearch.index_prefix}-records-*"
    return [
        Process(
            name,
            ("sink", name, *_intake(composition, name, listener), *more.get(name, ())),
            _ready(listener),
            serves[name],
        )
        for name, listener in composition.sinks.items()
    ]


def _detector(detector: Detector, composition: Composition) -> Process:
    state = ("--data", str(composition.state / detector.name), "--sink-url", composition.verdicts_url)
    artifact = ("--artifact", str(detector.artifact), "--name", detector.name, "--on", detector.judges)
    arguments = ("detect", *artifact, *_intake(composition, detector.name, detector), *state)
    return Process(detector.name, arguments, _ready(detector), f"detector: {_admin(detector)}")


def _manifests(composition: Composition) -> tuple[Path, ...]:
    return composition.manifests or default_manifests(composition)


def _broker(composition: Composition) -> Process:
    subscribers: dict[str, Listener | Detector] = {
        **composition.sinks,
        **{detector.name: detector for detector in composition.detectors},
    }
    arguments = ["broker", *_listen(composition.broker), "--data", str(composition.state / "broker")]
    for path in _manifests(composition):
        arguments += ["--manifest", str(path)]
    for name, listener in subscribers.items():
        arguments += ["--resolve", f"{name}=http://{LOOPBACK}:{listener.port}/"]
    return Process("broker", tuple(arguments), _ready(composition.broker), f"events: {composition.events_url}")


def _logger(composition: Composition) -> Process:
    host, _, port = composition.upstream.removeprefix("http://").rstrip("/").rpartition(":")
    upstream = ("--component-host", host or port, "--component-port", port if host else "80")
    identity = ("--inference-service", composition.service, "--namespace", composition.namespace)
    # the flags that KServe's injector passes, in its order; the upstream's host is ours, since a sidecar needs none
    injected = (
        *("--log-url", composition.events_url, "--source-uri", f"{composition.service}-predictor", "--log-mode", "all"),
        *(*identity, "--endpoint", "", "--component", "predictor", "--logger-tls-skip-verify", "false"),
    )
    kafka = composition.kafka.flags if composition.kafka else ()
    arguments = ("logger", *injected, *upstream, "--host", LOOPBACK, *_listen(composition.logger))
    arguments += ("--quiet-period", "0", *kafka)
    serves = f"your model, watched: http://{LOOPBACK}:{composition.logger.port}"
    return Process("logger", arguments, _ready(composition.logger), serves)


def _page(composition: Composition) -> Process:
    arguments = ["page", "--port", str(composition.page_port), "--records", str(composition.records_file)]
    arguments += ["--logger-admin", _admin(composition.logger), *_page_carrier(composition)]
    for detector in composition.detectors:
        arguments += ["--drift-admin", _admin(detector)]
    if composition.ledger is not None:
        arguments += ["--ledger", str(composition.ledger)]
    return Process("page", tuple(arguments), f"{composition.page_url}/readyz", f"the page: {composition.page_url}")


def _page_carrier(composition: Composition) -> list[str]:
    """Where the page sees what was delivered: in the broker's counts, or in the offsets of Kafka's groups."""
    kafka = composition.kafka
    if kafka is None:
        return ["--broker-admin", _admin(composition.broker)]
    groups = [f"{kafka.group(name)}={kafka.url(*topics)}" for name, topics in composition.subscriptions.items()]
    return [*kafka.flags, *(flag for group in groups for flag in ("--subscription", group))]
