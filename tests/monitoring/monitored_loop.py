"""The loop as real processes on free ports, before a model of this test's own, with traffic for as long as it runs.

The embedded broker carries it; one more record sink reads the verdicts' topic of a real Kafka, so that there is a
source of either kind.

Invariant: every process of Wayside that has an admin port is among `targets`; topics and indices go with it.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from confluent_kafka.admin import AdminClient

from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.table import Table
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.local.composition import LOOPBACK, Composition, Detector, Elasticsearch, Kafka, Listener
from wayside.local.processes import Process, processes
from wayside.local.supervisor import Supervisor

NAMESPACE = "default"
WINDOW_ROWS = 20
KAFKA_RECORDS = "records-kafka"
_FEATURES = 4
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Loop:
    """A running loop: the name of its service, each process's admin address by the process's name, and its ports."""

    service: str
    targets: Mapping[str, str]
    ports: Mapping[str, int]
    client: HttpClient

    @classmethod
    def of(cls, service: str, listeners: Mapping[str, Listener | Detector], client: HttpClient) -> "Loop":
        targets = {name: f"{LOOPBACK}:{listener.admin_port}" for name, listener in listeners.items()}
        return cls(service, targets, {name: listener.port for name, listener in listeners.items()}, client)

    async def post(self, process: str, event: CloudEvent, path: str = "/") -> None:
        """Hand an event to a process, which must accept it."""
        headers, body = encode_binary(event)
        url = Url.parse(f"http://{LOOPBACK}:{self.ports[process]}{path}")
        answer = await self.client.send(b"POST", url, headers, body, timeout_s=10)
        assert answer.status == 202, answer.body.decode()

    async def exposition(self, process: str) -> str:
        """What a process shows to Prometheus."""
        url = Url.parse(f"http://{self.targets[process]}/metrics")
        answer = await self.client.send(b"GET", url, [], timeout_s=10)
        assert answer.status == 200
        return answer.body.decode()


class Model:
    """A model server: a prediction for each instance."""

    def __init__(self) -> None:
        self._server = HttpServer(self._answer, LOOPBACK, 0)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.port}"

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(grace_s=0)

    async def _answer(self, request: Request) -> Response:
        if request.method == b"GET":
            return Response(200)
        rows = json.loads(request.body)["instances"]
        return Response(200, [JSON], json.dumps({"predictions": [0] * len(rows)}).encode())


@asynccontextmanager
async def running_loop(folder: Path, service: str, kafka: str, elasticsearch: str) -> AsyncIterator[Loop]:
    """Everything that has metrics, started and under traffic; stopped at the end of the block, whatever happens.

    `kafka` is host:port, `elasticsearch` a URL; topics and indices are called after the service.
    """
    async with AsyncExitStack() as stack:
        model, client = Model(), await _client(stack)
        await model.start()
        stack.push_async_callback(model.stop)
        composition = _composition(folder, service, model.url, elasticsearch)
        beside = _beside_kafka(folder, service, kafka)
        stack.push_async_callback(_delete_indices, client, elasticsearch, service)
        stack.push_async_callback(_delete_topics, kafka, service)
        children = [_telling_all(child, folder) for child in processes(composition) if child.name != "page"]
        children += [replace(child, name=KAFKA_RECORDS) for child in processes(beside) if child.name == "records"]
        await _supervised(stack, children, folder)
        traffic = asyncio.create_task(_traffic(client, composition.logger.port, service))
        stack.push_async_callback(_cancelled, traffic)
        yield Loop.of(service, {**_listeners(composition), KAFKA_RECORDS: beside.records}, client)


@asynccontextmanager
async def running_sinks(folder: Path) -> AsyncIterator[Loop]:
    """The embedded broker and its sinks alone, for events of the test's own."""
    async with AsyncExitStack() as stack:
        client, ports = await _client(stack), iter(_free_ports(6))
        names = ("broker", "records", "prometheus")
        listeners = {name: Listener(port=next(ports), admin_port=next(ports)) for name in names}
        composition = Composition(state=folder / "state", **listeners)
        await _supervised(stack, [child for child in processes(composition) if child.name in names], folder)
        yield Loop.of("", listeners, client)


async def _client(stack: AsyncExitStack) -> HttpClient:
    client = HttpClient()
    stack.push_async_callback(client.close)
    return client


async def _supervised(stack: AsyncExitStack, children: Sequence[Process], folder: Path) -> None:
    supervisor = Supervisor(children, folder / "logs")
    stack.push_async_callback(supervisor.stop)
    await supervisor.start()


def _telling_all(child: Process, folder: Path) -> Process:
    """The logger with all that it has metrics of: a spool, and a second process."""
    more = ("--spool", str(folder / "spool"), "--redact", "header:authorization=drop")
    return replace(child, arguments=(*child.arguments, *more)) if child.name == "logger" else child


def _composition(folder: Path, service: str, upstream: str, elasticsearch: str) -> Composition:
    ports = iter(_free_ports(16))

    def listener() -> dict[str, int]:
        return {"port": next(ports), "admin_port": next(ports)}

    names = ("logger", "broker", "records", "prometheus")
    return Composition(
        upstream=upstream,
        service=service,
        namespace=NAMESPACE,
        state=folder / "state",
        detectors=tuple(
            Detector(name=name, artifact=_fitted(folder, kind, name), **listener())
            for kind, name in (("mahalanobis", "outlier"), ("ks", "drift"))
        ),
        elasticsearch=Elasticsearch(url=elasticsearch, index_prefix=service, **listener()),
        **{name: Listener(**listener()) for name in names},
    )


def _beside_kafka(folder: Path, service: str, kafka: str) -> Composition:
    port, admin_port = _free_ports(2)
    return Composition(
        state=folder / "beside-kafka",
        records=Listener(port=port, admin_port=admin_port),
        kafka=Kafka(servers=kafka, prefix=service),
    )


def _listeners(composition: Composition) -> Mapping[str, Listener | Detector]:
    detectors = {detector.name: detector for detector in composition.detectors}
    return {"logger": composition.logger, "broker": composition.broker, **composition.sinks, **detectors}


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


def _fitted(folder: Path, kind: str, name: str) -> Path:
    rows = np.random.default_rng(1).normal(size=(2000, _FEATURES))
    settings = FitSettings(name=name, windows=WindowPlan.of_rows(WINDOW_ROWS))
    save(fit_artifact(kind, Table.of(rows), settings).artifact, folder / "artifacts" / name)
    return folder / "artifacts" / name


async def _traffic(client: HttpClient, port: int, service: str) -> None:
    """Rows as they were fitted on, and far-off ones now and then."""
    url = Url.parse(f"http://{LOOPBACK}:{port}/v1/models/{service}:predict")
    random = np.random.default_rng(2)
    while True:
        shift = 20.0 if random.random() < 0.1 else 0.0
        rows = (random.normal(size=(4, _FEATURES)) + shift).tolist()
        answer = await client.send(b"POST", url, [JSON], json.dumps({"instances": rows}).encode(), timeout_s=10)
        assert answer.status == 200
        await asyncio.sleep(_PAUSE_S)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """End a task that has no end; what it failed of is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _delete_topics(kafka: str, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    found = (await asyncio.to_thread(admin.list_topics, timeout=10)).topics
    ours = [name for name in found if name.startswith(prefix)]
    for deleted in (admin.delete_topics(ours) if ours else {}).values():
        await asyncio.wrap_future(deleted)


async def _delete_indices(client: HttpClient, elasticsearch: str, prefix: str) -> None:
    answer = await client.send(b"GET", Url.parse(f"{elasticsearch}/{prefix}-*/_settings"), [], timeout_s=30)
    for index in json.loads(answer.body):
        await client.send(b"DELETE", Url.parse(f"{elasticsearch}/{index}"), [], timeout_s=30)
    await client.send(b"DELETE", Url.parse(f"{elasticsearch}/_index_template/{prefix}-*"), [], timeout_s=30)
