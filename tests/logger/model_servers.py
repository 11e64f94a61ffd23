"""Real model servers in environments of their own, a sink for the middleware that is in them, and what they are asked.

Invariant: one start of a server serves a whole test module; an environment that is missing skips with what makes it.
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from logger_stage import HOST, before

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Response
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import decode as decode_event
from wayside.eventing.payloads.decode import decode
from wayside.eventing.payloads.messages import message_of
from wayside.eventing.vocabulary import METHOD, PATH, STATUS_CODE, TRUNCATED

ROOT = Path(__file__).parents[2]
SERVED = Path(__file__).parent / "served"
_START_S, _STOP_S = 60.0, 15.0


@dataclass(frozen=True)
class Asked:
    """One HTTP request, and what is to come of it: the status, and the rows of both payloads where they have some.

    Only a proxy sees all where a server answers unread, or outside of every middleware; then not `seen_inside`.
    """

    name: str
    path: str
    body: bytes = b""
    status: int = 200
    sent: list[Any] | None = None
    told: list[Any] | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    seen_inside: bool = True


def v2_json(*rows: list[float], datatype: str = "FP64") -> bytes:
    data = [number for row in rows for number in row]
    tensor = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": data}
    return json.dumps({"id": "r-1", "inputs": [tensor]}).encode()


def v2_binary(row: list[float], *, binary_output: bool) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """A body of the binary tensor data extension, and its headers."""
    raw = struct.pack(f"<{len(row)}d", *row)
    parameters = {"binary_data_size": len(raw)}
    tensor = {"name": "x", "shape": [1, len(row)], "datatype": "FP64", "parameters": parameters}
    document = {"id": "b-1", "inputs": [tensor], "parameters": {"binary_data_output": binary_output}}
    head = json.dumps(document).encode()
    length = (b"inference-header-content-length", b"%d" % len(head))
    return head + raw, ((b"content-type", b"application/octet-stream"), length)


@dataclass
class KeptEvents:
    """A sink in a thread of its own, for a server that outlives the loop of one test."""

    events: list[CloudEvent] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def keep(self, event: CloudEvent) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait_pair(self, request_id: str) -> list[CloudEvent]:
        """The events of the request with this X-Request-Id, the request's first."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._of(request_id)) == 2, timeout=10)
        return self._of(request_id)

    def _of(self, request_id: str) -> list[CloudEvent]:
        found = [event for event in self.events if event.extensions.get("requestid") == request_id]
        return sorted(found, key=lambda event: event.type)


@contextmanager
def kept_events() -> Iterator[tuple[KeptEvents, str]]:
    """A sink and its URL."""
    kept = KeptEvents()

    class Take(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
            kept.keep(decode_event(pairs, body))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer((HOST, 0), Take)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield kept, f"http://{HOST}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def environment(name: str, setup: str) -> Path:
    """The python of an environment below .venvs.

    Skips where it was not set up, and fails there with WAYSIDE_TEST_REQUIRE_MLSERVER=1 (or another name's).
    """
    python = ROOT / ".venvs" / name / "bin" / "python"
    if not python.exists():
        variable = f"WAYSIDE_TEST_REQUIRE_{name.upper().replace('-', '_')}"
        missing = pytest.fail if os.environ.get(variable) == "1" else pytest.skip
        missing(f"no .venvs/{name}: run {setup}")
    return python


@dataclass(frozen=True)
class ModelServer:
    """A server that is ready, and what its middleware sends."""

    python: Path
    port: int
    grpc_port: int
    kept: KeptEvents

    def ask_grpc(self, port: int, *calls: str) -> list[Any]:
        """What the client script was told of each ModelInfer; a call is `model=number,…`."""
        command = [str(self.python), str(SERVED / "grpc_client.py"), str(port), *calls]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def served(python: Path, script: str, log: Path) -> Iterator[ModelServer]:
    """A model server from its start to its end; it must end in time, and with status 0."""
    port, grpc_port = _free_ports(2)
    folders = os.pathsep.join(str(ROOT / name) for name in ("eventing", "logger"))
    with kept_events() as (kept, url), log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), str(SERVED / script), "--http_port", str(port), "--grpc_port", str(grpc_port)],
            env={**os.environ, "PYTHONPATH": folders, "WAYSIDE_LOGGER_LOG_URL": url},
            cwd=log.parent,
            stdout=output,
            stderr=output,
        )
        try:
            _wait_ready(process, port, log)
            yield ModelServer(python, port, grpc_port, kept)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            finally:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/v2/models/sums/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail(log.read_text()[-4000:])


async def ask(port: int, asked: Asked, request_id: str) -> Response:
    client = HttpClient()
    headers = [*asked.headers, (b"x-request-id", request_id.encode())]
    method = b"POST" if asked.body else b"GET"
    try:
        return await client.send(
            method, Url.parse(f"http://127.0.0.1:{port}{asked.path}"), headers, asked.body, timeout_s=10
        )
    finally:
        await client.close()


def check(asked: Asked, response: Response, events: list[CloudEvent]) -> None:
    """The events are the request that was sent and the response that came, and can be read."""
    request_event, response_event = events
    assert response.status == asked.status, response.body
    assert (request_event.source, request_event.id) == (response_event.source, response_event.id)
    assert (request_event.data, response_event.data) == (asked.body, response.body)
    assert response_event.extensions[STATUS_CODE] == str(asked.status)
    assert request_event.extensions[PATH] == asked.path
    assert request_event.extensions[METHOD] == ("POST" if asked.body else "GET")
    if asked.sent is not None:
        assert decode(message_of(request_event)).row_values() == asked.sent
    if asked.told is not None:
        assert decode(message_of(response_event)).row_values() == asked.told


async def check_broken(server: ModelServer, asked: Asked, request_id: str) -> None:
    """A 500 that the server makes outside of every middleware: from the inside only the status is known."""
    async with before(server.port) as stage:
        response = await ask(stage.logger.port, asked, request_id)
        outside = sorted(await stage.sink.wait_for(2), key=lambda event: event.type)
    check(asked, response, outside)
    inside = (await asyncio.to_thread(server.kept.wait_pair, request_id))[1]
    assert (inside.extensions[STATUS_CODE], inside.data, inside.extensions[TRUNCATED]) == ("500", b"", "true")
    assert TRUNCATED not in outside[1].extensions


async def check_grpc(server: ModelServer) -> None:
    """ModelInfer and its errors, through the logger's port."""
    async with before(server.grpc_port) as stage:
        answered, failed = await asyncio.to_thread(server.ask_grpc, stage.logger.port, "sums=1,2", "unknown=1")
        events = await stage.sink.wait_for(4)
    assert answered == {"outputs": [3.0]}
    assert failed["code"] in ("NOT_FOUND", "INTERNAL", "INVALID_ARGUMENT")
    request, response = sorted((event for event in events if event.id == events[0].id), key=lambda one: one.type)
    assert decode(message_of(request)).row_values() == [[1.0, 2.0]]
    assert decode(message_of(response)).row_values() in ([3.0], [[3.0]])
