"""The sink's process and Elasticsearch itself, each killed in mid-run: what was not accepted comes again."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from elastic_side import embedded, in_elasticsearch, running, stream

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.http.url import Url
from wayside.eventing.sink import Sink, SinkUnavailable
from wayside.sinks.elasticsearch.settings import Bounds, ElasticsearchSettings

LAUNCHER = Path(__file__).parents[2] / "services" / "launcher.py"
SENDERS = 16


async def deliver(
    sink: Sink, events: Sequence[CloudEvent], after: int = 0, then: Callable[[], None] = lambda: None
) -> int:
    """Send every event until it is accepted, some at once; call `then` when `after` of them are.

    Returns how many times an event was not accepted.
    """
    waiting, accepted, given_back = iter(events), 0, 0

    async def send_some() -> None:
        nonlocal accepted, given_back
        for event in waiting:
            while True:
                try:
                    await sink.send(event)
                    break
                except SinkUnavailable:
                    given_back += 1
                    await asyncio.sleep(0.05)
            accepted += 1
            if accepted == after:
                then()

    async with asyncio.timeout(60):
        await asyncio.gather(*(send_some() for _ in range(SENDERS)))
    return given_back


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class SinkProcess:
    """`wayside sink elasticsearch` as a process, which can be killed and started again at the same ports."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self.port, self.admin = free_port(), free_port()
        ports = ("--port", str(self.port), "--admin-port", str(self.admin))
        target = ("--url", settings.url, "--index-prefix", settings.index_prefix)
        self._command = [sys.executable, "-m", "wayside.sinks", "elasticsearch", *target, *ports]
        self._environment = {**os.environ, "WAYSIDE_LOG_LEVEL": "WARNING"}
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, env=self._environment)

    def crash(self) -> None:
        self._process.kill()
        self._process.wait()
        self.start()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    async def page(self, client: HttpClient, path: str) -> bytes:
        """A page of the admin port, once it is there."""
        async with asyncio.timeout(20):
            while True:
                try:
                    url = Url.parse(f"http://127.0.0.1:{self.admin}{path}")
                    return (await client.send(b"GET", url, [], timeout_s=2)).body
                except Unreachable:
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def sink_process(settings: ElasticsearchSettings) -> AsyncIterator[SinkProcess]:
    process = SinkProcess(settings)
    try:
        yield process
    finally:
        assert process.stop() == 0


async def test_the_process_is_killed_in_mid_run(elastic: ElasticsearchSettings, tmp_path: Path) -> None:
    events, client = stream(150), HttpClient()
    async with sink_process(elastic) as process:
        await process.page(client, "/readyz")
        sink = HttpEventSink(f"http://127.0.0.1:{process.port}/", 5, client)
        assert await deliver(sink, events, after=len(events) // 3, then=process.crash) > 0
        assert await process.page(client, "/readyz") == b"ready\n"
        assert b"wayside_elasticsearch_waiting_events 0.0" in await process.page(client, "/metrics")
        await client.close()
    assert await in_elasticsearch(elastic) == await embedded(tmp_path / "records.sqlite", events)


class OwnNode:
    """An Elasticsearch of this test's own, which may be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # without the addresses that the environment gives, or the launcher would take that service for its own
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYSIDE_TEST_")}
        printed = self._run("up", "elasticsearch")
        named = dict(line.split("=", 1) for line in printed.splitlines())
        self.url = named["WAYSIDE_TEST_ELASTICSEARCH"]

    def _run(self, command: str, *names: str) -> str:
        arguments = [sys.executable, str(LAUNCHER), command, str(self._folder), *names]
        return subprocess.run(arguments, env=self._environment, check=True, capture_output=True, text=True).stdout

    def kill(self) -> None:
        self._run("kill", "elasticsearch")

    def restart(self) -> None:
        """Start it again with what is on its disk."""
        self._run("restart", "elasticsearch")

    def down(self) -> None:
        self._run("down")


@contextmanager
def own_node(folder: Path) -> Iterator[OwnNode]:
    node = OwnNode(folder)
    try:
        yield node
    finally:
        node.down()


async def test_elasticsearch_is_killed_in_mid_run(service: Callable[[str], str], tmp_path: Path) -> None:
    assert service("ELASTICSEARCH"), "services are wanted"
    events = stream(150)
    with own_node(tmp_path / "node") as node:
        settings = ElasticsearchSettings(node.url, bounds=Bounds(batch_events=20, give_up_s=0.5))
        restarting: list[asyncio.Future[None]] = []

        def crash() -> None:
            node.kill()
            restarting.append(asyncio.ensure_future(asyncio.to_thread(node.restart)))

        async with running(settings) as sink:
            assert await deliver(sink, events, after=len(events) // 3, then=crash) > 0
            await asyncio.gather(*restarting)
        assert len(restarting) == 1
        settings = replace(settings, bounds=Bounds())
        assert await in_elasticsearch(settings) == await embedded(tmp_path / "records.sqlite", events)
