"""A whole loop on free ports: the processes of the demo, started by the supervisor, with KServe's ModelServer."""

import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from wayside.eventing.http.client import HttpClient
from wayside.local.composition import LOOPBACK
from wayside.local.demo.ledger import Ledger
from wayside.local.demo.prepare import DRIFT, WELL_KNOWN_PORTS, DemoSettings, Prepared, prepare
from wayside.local.demo.traffic import Load, Targets, Traffic
from wayside.local.readings import Readings
from wayside.local.supervisor import Supervisor
from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

REPOSITORY = Path(__file__).parents[2]
LOAD = Load(through_per_s=60.0, direct_per_s=2.0)


@dataclass(frozen=True, slots=True)
class Loop:
    """Everything a test of the whole loop needs; all of it runs."""

    prepared: Prepared
    ports: dict[str, int]
    supervisor: Supervisor
    readings: Readings
    ledger: Ledger
    traffic: Traffic
    http: HttpClient


# Below what Linux takes source ports from: a service binds its port seconds after it was found free.
_PORTS = range(10_000, 20_000, 2)


def free_ports() -> dict[str, int]:
    """A port for each service, with the next one free too, for its admin port."""
    free = (port for port in random.sample(_PORTS, k=len(_PORTS)) if _is_free(port) and _is_free(port + 1))
    return dict(zip(WELL_KNOWN_PORTS, free, strict=False))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


async def open_loop(stack: AsyncExitStack, folder: Path, load: Load, kafka: str = "", elasticsearch: str = "") -> Loop:
    """Prepare and start it all; the stack stops what was started, whatever happens."""
    ports = free_ports()
    elsewhere = ElasticsearchSettings(elasticsearch) if elasticsearch else None
    settings = DemoSettings(folder / "state", REPOSITORY, ports, kafka=kafka, elasticsearch=elsewhere)
    prepared = await prepare(settings)
    supervisor = Supervisor(prepared.processes(), folder / "logs")
    stack.push_async_callback(supervisor.stop)
    await supervisor.start()
    assert prepared.composition.ledger is not None
    ledger, http = Ledger(prepared.composition.ledger), HttpClient()
    readings = Readings(prepared.composition, DRIFT, prepared.elsewhere)
    await ledger.start()
    for close in (ledger.stop, http.close, readings.close):
        stack.push_async_callback(close)
    through, direct = (f"http://{LOOPBACK}:{ports[name]}" for name in ("logger", "model"))
    targets = Targets(through, settings.scenario.service, direct)
    traffic = Traffic(http, targets, ledger, prepared.population, load)
    return Loop(prepared, ports, supervisor, readings, ledger, traffic, http)


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    async with AsyncExitStack() as stack:
        yield await open_loop(stack, tmp_path, LOAD)


@pytest.fixture
async def loop_on_services(tmp_path: Path, service: Callable[[str], str]) -> AsyncIterator[Loop]:
    """The loop over a real Kafka, its records in a real Elasticsearch too."""
    kafka, elasticsearch = service("KAFKA"), service("ELASTICSEARCH")
    async with AsyncExitStack() as stack:
        yield await open_loop(stack, tmp_path, LOAD, kafka, elasticsearch)
