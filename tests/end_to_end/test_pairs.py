"""Detectors of responses and of pairs as a user runs them: logger, broker, Triggers, detectors and records, each a
process, before a small V1 model.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wayside.detectors.artifacts.folder import save
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.tabular.table import Table
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.local.composition import LOOPBACK
from wayside.local.processes import Process
from wayside.local.supervisor import Supervisor

from .conftest import free_ports

WINDOW = 40
BATCHES = 24
ROWS = 10
PAGE = Path(__file__).parents[2] / "docs" / "detectors.md"
TRIGGER = """
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, namespace: default}}
spec:
  broker: default
  {filter}
  subscriber: {{ref: {{apiVersion: v1, kind: Service, name: {subscriber}}}}}
"""
BROKER = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default, namespace: default}\n"


def trigger(name: str, subscriber: str, type_: str = "") -> str:
    chosen = f"filter: {{attributes: {{type: org.kubeflow.serving.inference.{type_}}}}}" if type_ else ""
    return TRIGGER.format(name=name, filter=chosen, subscriber=subscriber)


def manifest() -> str:
    """A broker, the Triggers that docs/detectors.md has for pairs, one of responses, and one of all for the records."""
    pairs = re.findall(r"```yaml\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert len(pairs) == 1
    return f"{BROKER}---\n{pairs[0]}" + trigger("answers", "outlier", "response") + trigger("records", "records")


async def predict(request: Request) -> Response:
    """The model: a prediction a row, which is the sum of its inputs; no rows is an error of its own."""
    rows = json.loads(request.body)["instances"]
    if not rows:
        return Response(400, [JSON], b'{"error": "no instances"}')
    return Response(200, [JSON], json.dumps({"predictions": [[sum(row)] for row in rows]}).encode())


@dataclass
class Stage:
    """All that runs, and a client of it."""

    ports: dict[str, int]
    records: Path
    http: HttpClient
    supervisor: Supervisor

    async def ask(self, rows: Any) -> int:
        url = Url.parse(f"http://{LOOPBACK}:{self.ports['logger']}/v1/models/sum:predict")
        body = json.dumps({"instances": rows}).encode()
        return (await self.http.send(b"POST", url, [JSON], body, timeout_s=10)).status

    async def windows(self) -> Any:
        url = Url.parse(f"http://{LOOPBACK}:{self.ports['drift'] + 1}/windows")
        return json.loads((await self.http.send(b"GET", url, [], timeout_s=10)).body)

    def recorded(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.records / "records.sqlite")) as connection:
            return connection.execute(query).fetchall()


def processes(ports: dict[str, int], folder: Path, model_port: int) -> list[Process]:
    def listening(name: str, *arguments: str) -> Process:
        port = ports[name]
        ready = f"http://{LOOPBACK}:{port + 1}/readyz"
        return Process(name, (*arguments, "--port", str(port), "--admin-port", str(port + 1)), ready, name)

    broker = f"http://{LOOPBACK}:{ports['broker']}/default/default"
    names = ("drift", "outlier", "records")
    resolved = [flag for name in names for flag in ("--resolve", f"{name}=http://{LOOPBACK}:{ports[name]}/")]
    pair = ("--artifact", f"{folder}/pair", "--on", "pair", "--data", f"{folder}/drift", "--sink-url", broker)
    upstream = ("--log-url", broker, "--host", LOOPBACK, "--component-port", str(model_port), "--quiet-period", "0")
    return [
        listening("records", "sink", "records", "--data", f"{folder}/records"),
        listening("drift", "detect", *pair),
        listening("outlier", "detect", "--artifact", f"{folder}/answers", "--on", "response"),
        listening("broker", "broker", "--data", f"{folder}/broker", "--manifest", f"{folder}/broker.yaml", *resolved),
        listening("logger", "logger", "--inference-service", "sum", "--namespace", "default", *upstream),
    ]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    draws = np.random.default_rng(1)
    inputs = draws.normal(size=(2400, 3))
    predictions = inputs.sum(axis=1, keepdims=True)
    both = np.hstack([inputs, predictions])  # inputs followed by predictions: how a detector of pairs is fitted
    save(
        fit_artifact("ks", Table.of(both), FitSettings(name="drift", windows=WindowPlan.of_rows(WINDOW))).artifact,
        tmp_path / "pair",
    )
    save(fit_artifact("knn", Table.of(predictions), FitSettings(name="answers")).artifact, tmp_path / "answers")
    (tmp_path / "broker.yaml").write_text(manifest())
    ports = free_ports()
    async with AsyncExitStack() as stack:
        model, http = HttpServer(predict, LOOPBACK, 0), HttpClient()
        await model.start()
        stack.push_async_callback(model.stop)
        stack.push_async_callback(http.close)
        supervisor = Supervisor(processes(ports, tmp_path, model.port), tmp_path / "logs")
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        yield Stage(ports, tmp_path / "records", http, supervisor)


async def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0, every_s: float = 0.05) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(every_s)


async def kill(stage: Stage, name: str) -> None:
    """kill -9 a process, and wait until the supervisor has another."""
    pid = stage.supervisor.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while stage.supervisor.pid(name) in (None, pid):
        await asyncio.sleep(0.02)


async def test_pairs_and_responses_are_judged_where_triggers_let_them_through(stage: Stage) -> None:
    draws = np.random.default_rng(2)
    statuses = []
    for number in range(BATCHES):
        if number == BATCHES // 2:
            await kill(stage, "drift")  # whose parts wait on its volume, and whose events wait in the broker
        statuses.append(await stage.ask(draws.normal(size=(ROWS, 3)).tolist()))
    assert (statuses, await stage.ask([])) == ([200] * BATCHES, 400)
    rows, windows = BATCHES * ROWS, BATCHES * ROWS // WINDOW
    await stage.supervisor.wait_ready("drift")
    behind = 0

    async def all_in_windows() -> bool:
        nonlocal behind
        view = await stage.windows()
        found = [(key["in_windows"], key["windows"], key["late"]) for key in view["keys"]]
        if view["outbox"] == 0 and found == [(rows, windows, 0)]:
            return True
        behind += await stage.ask(draws.normal(size=(1, 3)).tolist()) == 200  # time goes on with events alone
        return False

    await wait_for(all_in_windows, every_s=0.5)

    async def all_joined() -> bool:
        parts = (await stage.windows())["pairs"]["parts"]
        return parts["request"]["joined"] == BATCHES + behind == parts["response"]["joined"]

    await wait_for(all_joined)

    async def all_recorded() -> bool:
        judged = "SELECT count(*), count(DISTINCT record_id) FROM verdicts WHERE detector = 'answers'"
        drifts = "SELECT count(*) FROM windows WHERE detector = 'drift'"
        return stage.recorded(judged) == [(rows + behind, rows + behind)] and stage.recorded(drifts) == [(windows,)]

    await wait_for(all_recorded)
