"""Makes what the demo needs before it starts: rows, fitted detectors, and the composition that runs them.

Invariant: rows for training, fitting and reference come from streams of their own, and detectors are fitted by the
same `wayside fit` that a user calls.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from wayside.eventing.errors import ConfigurationError
from wayside.local.composition import LOOPBACK, Composition, compose
from wayside.local.demo.population import Array, Population
from wayside.local.demo.scenario import SCENARIOS, Scenario
from wayside.local.processes import Process, processes
from wayside.local.services import Services
from wayside.local.supervisor import WAYSIDE
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

OUTLIER, DRIFT = "outlier", "drift"
ROWS_PER_S = 180  # about what the traffic comes to
RESOLVE_AFTER = 2
_LATENESS = "2s"  # how far requests overtake one another while processes are killed and come back
_MARK = ".wayside-demo"
WELL_KNOWN_PORTS = {"model": 8080, "logger": 9081, "broker": 8610, OUTLIER: 8620, DRIFT: 8630}
WELL_KNOWN_PORTS |= {"records": 8640, "prometheus": 8650, "page": 8600, "elasticsearch": 8660}


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What a run of the demo is made of. `ports` maps a service to its port; its admin port is the next one.

    `alpha` is the false-alarm rate asked for of a row, `false_alarms` the budget of windows in event time, which is
    the demo's own: a window closes about once a second. The other counts are rows. `kafka` (servers) takes
    the embedded broker's place, and `elasticsearch` keeps records too, where they are given.
    """

    state: Path
    repository: Path
    ports: Mapping[str, int]
    model: str = "digits"
    seed: int = 20261121
    alpha: float = 0.01
    false_alarms: str = "1 per day"
    window_rows: int = 200
    training_rows: int = 4_000
    outlier_rows: int = 10_000
    reference_rows: int = 20_000
    # topics, groups and indices of a run are its own, since its counts must balance
    run_prefix: str = field(default_factory=lambda: f"wayside-demo-{uuid4().hex[:8]}")
    kafka: str = ""
    kafka_config: Path | None = None
    elasticsearch: ElasticsearchSettings | None = None

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.model]

    @property
    def services(self) -> Services:
        """What this run was given, under the names of this run."""
        elasticsearch = self.elasticsearch and replace(self.elasticsearch, index_prefix=self.run_prefix)
        return Services(self.kafka, self.kafka_config, elasticsearch)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A demo that can start: the composition, the model server's process, and the population its traffic draws from.

    `elsewhere` is where this run's records are kept besides the embedded store.
    """

    composition: Composition
    model: Process
    population: Population
    elsewhere: ElasticsearchSettings | None = None

    def processes(self) -> list[Process]:
        """Every process in the order of start: the model server first, so that it is stopped last."""
        return [self.model, *processes(self.composition)]


def model_environment(repository: Path) -> Path:
    """The interpreter of the model server's own environment. Raises `ConfigurationError` where it was not made."""
    python = repository / ".venvs" / "model-server" / "bin" / "python"
    if not python.exists():
        raise ConfigurationError(f"the demo's model server has no environment at {python}: run scripts/setup")
    return python


async def prepare(settings: DemoSettings) -> Prepared:
    """Fit the detectors and return what to start. The state of an earlier run is removed."""
    model_python = model_environment(settings.repository)
    population = await fit_detectors(settings)
    composition = compose(_document(settings), Path(), "wayside demo")
    return Prepared(composition, _model(settings, model_python), population, settings.services.elasticsearch)


async def fit_detectors(settings: DemoSettings) -> Population:
    """Draw rows into the emptied state folder, and fit both detectors side by side."""
    await asyncio.to_thread(empty_state, settings.state)
    population = settings.scenario.load(settings.seed)
    outlier_rows, drift_rows = await asyncio.to_thread(_draw_rows, settings, population)
    row_kind = settings.scenario.row_kind
    await asyncio.gather(_fit(row_kind, OUTLIER, outlier_rows, settings), _fit("ks", DRIFT, drift_rows, settings))
    return population


def empty_state(state: Path) -> None:
    """Make the folder of a run, without what an earlier run left. A folder that no run made is never emptied."""
    mark = state / _MARK
    if state.exists() and not mark.exists() and any(state.iterdir()):
        raise ConfigurationError(f"{state} holds files that no demo wrote; name an empty folder with --state")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)  # what is a volume's root stays
    mark.touch()


def _draw_rows(settings: DemoSettings, population: Population) -> list[Path]:
    """Write what the model is trained on, and return the files that the two detectors are fitted on."""
    train = population.stream("train").ordinary(settings.training_rows)
    train.save(settings.state / "train.npz", population.names)
    return [
        _write_rows(settings.state / name, population, population.stream(f"fit {name}").ordinary(rows).rows)
        for name, rows in ((OUTLIER, settings.outlier_rows), (DRIFT, settings.reference_rows))
    ]


def _write_rows(path: Path, population: Population, rows: Array) -> Path:
    """Rows as a user has them: a .csv with a header where features have names, else a .npy."""
    if population.names is None:
        np.save(path.with_suffix(".npy"), rows)
        return path.with_suffix(".npy")
    header = ",".join(population.names)
    np.savetxt(path.with_suffix(".csv"), rows, fmt="%.17g", delimiter=",", header=header, comments="")
    return path.with_suffix(".csv")


async def _fit(kind: str, name: str, data: Path, settings: DemoSettings) -> None:
    out = settings.state / "artifacts" / name
    flags = ["--data", str(data), "--out", str(out), "--name", name, *_budget(name, settings)]
    fit = await asyncio.create_subprocess_exec(
        *WAYSIDE, "fit", kind, *flags, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await fit.communicate()
    (settings.state / f"fit-{name}.txt").write_bytes(printed)
    if fit.returncode:
        raise ConfigurationError(f"wayside fit {kind} failed: {printed.decode(errors='replace').strip()}")


def _budget(name: str, settings: DemoSettings) -> list[str]:
    """What `wayside fit` is told of windows and false alarms."""
    if name != DRIFT:
        return ["--alpha", f"{settings.alpha:g}"]
    windows = ["--window", str(settings.window_rows), "--lateness", _LATENESS, "--resolve-after", str(RESOLVE_AFTER)]
    return [*windows, "--false-alarms", settings.false_alarms, "--expect-rows", f"{ROWS_PER_S} per second"]


def _document(settings: DemoSettings) -> Mapping[str, Any]:
    ports = settings.ports
    listeners = {name: _listener(ports[name]) for name in ("logger", "broker", "records", "prometheus")}
    detectors = [
        {"name": name, "artifact": settings.state / "artifacts" / name, **_listener(ports[name])}
        for name in (OUTLIER, DRIFT)
    ]
    return {
        "upstream": f"http://{LOOPBACK}:{ports['model']}",
        "service": settings.scenario.service,
        "state": settings.state,
        "detectors": detectors,
        "page_port": ports["page"],
        "ledger": settings.state / "ledger.sqlite",
        **listeners,
        **_services(settings),
    }


def _services(settings: DemoSettings) -> Mapping[str, Any]:
    """Kafka and Elasticsearch, where they are given."""
    prefix, services = settings.run_prefix, dict[str, Any]()
    if settings.kafka:
        services["kafka"] = {"servers": settings.kafka, "prefix": prefix, "config": settings.kafka_config}
    if settings.elasticsearch:
        port = _listener(settings.ports["elasticsearch"])
        services["elasticsearch"] = {"url": settings.elasticsearch.url, "index_prefix": prefix, **port}
    return services


def _listener(port: int) -> dict[str, int]:
    return {"port": port, "admin_port": port + 1}


def _model(settings: DemoSettings, python: Path) -> Process:
    script = Path(__file__).with_name("model_server.py")
    port = settings.ports["model"]
    flags = (
        "--train",
        str(settings.state / "train.npz"),
        "--name",
        settings.scenario.service,
        "--http_port",
        str(port),
    )
    ready = f"http://{LOOPBACK}:{port}/v2/health/ready"
    return Process("model", (), ready, "KServe's ModelServer", program=(str(python), str(script), *flags))
