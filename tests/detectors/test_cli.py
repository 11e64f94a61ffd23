"""`wayside detect` as a process and as a command line: ports, signals, kill -9, settings and what is refused."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.kinds.protocol import Device, Execution
from wayside.detectors.serving import adserver, cli
from wayside.detectors.serving.settings import ArtifactAt
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import decode, encode_binary

from .conftest import at, drift_in, later, normal_rows, request_event, wait_until

EVENTS_TOTAL = "wayside_detector_events_total{"
MODULE = (sys.executable, "-m", "wayside.detectors")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass
class Process:
    """A detector process and its addresses."""

    arguments: tuple[str, ...]
    port: int
    admin_port: int
    client: HttpClient
    child: "asyncio.subprocess.Process | None" = None

    async def start(self) -> None:
        ports = ("--port", str(self.port), "--admin-port", str(self.admin_port))
        self.child = await asyncio.create_subprocess_exec(*MODULE, *self.arguments, *ports)
        async with asyncio.timeout(20):
            while not await self.ready():
                await asyncio.sleep(0.02)

    async def end(self, number: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), 15)

    async def ready(self) -> bool:
        try:
            return (await self.get("/readyz")).status == 200
        except Unreachable:
            return False

    async def get(self, path: str) -> Response:
        url = Url.parse(f"http://127.0.0.1:{self.admin_port}{path}")
        return await self.client.send(b"GET", url, [], timeout_s=5)

    async def post(self, event: CloudEvent) -> Response:
        headers, body = encode_binary(event)
        url = Url.parse(f"http://127.0.0.1:{self.port}/")
        return await self.client.send(b"POST", url, headers, body, timeout_s=10)

    async def post_until_accepted(self, event: CloudEvent) -> None:
        """As a broker delivers: again and again."""
        async with asyncio.timeout(60):
            while True:
                try:
                    if (await self.post(event)).status == 202:
                        await asyncio.sleep(0.01)  # so that the kills come while events are still on their way
                        return
                except Unreachable:
                    await asyncio.sleep(0.02)


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Process]:
    port, admin_port = free_ports(2)
    process = Process(arguments, port, admin_port, HttpClient())
    await process.start()
    try:
        yield process
    finally:
        if process.child is not None and process.child.returncode is None:
            process.child.kill()
            await process.child.wait()
        await process.client.close()


async def test_a_row_detector_serves_and_ends_on_sigterm(knn_folder: Path) -> None:
    async with running("--artifact", str(knn_folder), "--name", "other") as process:
        response = await process.post(request_event(normal_rows(3, 1)))
        assert decode(response.headers, response.body).extensions["detector"] == "other"
        metrics = (await process.get("/metrics")).body.decode()
        assert 'wayside_detector_events_total{detector="other",outcome="scored"} 1.0' in metrics
        assert 'wayside_detector_rows_total{detector="other"} 3.0' in metrics
        assert 'wayside_detector_batch_rows_bucket{detector="other",le="4.0"} 1.0' in metrics
        assert await process.end(signal.SIGTERM) == 0


async def test_killed_anywhere_drift_gives_the_same_windows_each_once(
    ks: Artifact, ks_folder: Path, tmp_path: Path
) -> None:
    """kill -9 under traffic, twice; then an undisturbed service is given the same events."""
    posted: dict[str, set[str]] = {}

    async def collect(request: Request) -> Response:
        verdict = decode(request.headers, request.body)
        posted.setdefault(verdict.id, set()).add(repr(verdict))
        return Response(202)

    sink = HttpServer(collect, "127.0.0.1", 0)
    await sink.start()
    flags = ("--data", str(tmp_path / "killed"), "--sink-url", f"http://127.0.0.1:{sink.port}/")
    events = [*(request_event(normal_rows(17, n), str(n), at(n)) for n in range(60)), later(90)]
    async with running("--artifact", str(ks_folder), *flags) as process:
        sending = asyncio.create_task(send_all(process, events))
        for _ in range(2):
            await wait_for_events(process, 5)
            await process.end(signal.SIGKILL)
            await process.start()
        await sending
        await wait_posted(process)
    await sink.stop()
    async with drift_in(tmp_path / "calm", ks) as calm:
        assert await calm.take(*events) == ["scored"] * 61
        await wait_until(lambda: calm.view() == (1021, 1000, 20, 0))
    assert posted == {verdict.id: {repr(verdict)} for verdict in calm.sink.events}


async def wait_for_events(process: Process, count: int) -> None:
    """Until the service has taken so many events since it started."""
    async with asyncio.timeout(20):
        while True:
            metrics = (await process.get("/metrics")).body.decode()
            taken = sum(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(EVENTS_TOTAL))
            if taken >= count:
                return
            await asyncio.sleep(0.01)


async def wait_posted(process: Process) -> None:
    """Until all windows are judged and posted, and the rows are where they belong."""
    expected = ("default/digits/predictor//", 1021, 1000, 21, 20, 0)
    async with asyncio.timeout(20):
        while True:
            view = json.loads((await process.get("/windows")).body)
            names = ("key", "rows", "in_windows", "open", "windows")
            if [(*(key[name] for name in names), view["outbox"]) for key in view["keys"]] == [expected]:
                return
            await asyncio.sleep(0.02)


async def send_all(process: Process, events: list[CloudEvent]) -> None:
    for event in events:
        await process.post_until_accepted(event)


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MODULE, *arguments], capture_output=True, text=True, timeout=30, env={**os.environ, **environ}, check=False
    )


def test_a_port_in_use_is_one_line_and_status_2(knn_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--artifact", str(knn_folder), "--port", str(port), "--admin-port", "0")
    assert ended.returncode == 2
    assert ended.stderr == f"wayside.detectors: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def main(*arguments: str, **environ: str) -> int:
    return adserver.main(arguments, environ)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--artifact"),
        (("--artifact", "/nowhere"), "wayside fit"),
        (("--artifact", "x", "--prot", "1"), "unrecognized"),
        (("--artifact", "x", "--port", "70000"), "not a port"),
        (("--artifact", ""), "is empty"),
        (("--artifact", "x", "--max-batch-rows", "0"), "--max-batch-rows is 1 to"),
        (("--artifact", "x", "--max-wait-ms", "nan"), "--max-wait-ms is 0 to 1000"),
        (("--artifact", "x", "--batch-rows", "8"), "unrecognized"),
        (("--artifact", "x", "--threads", "0"), "--threads is 1 to"),
        (("--artifact", "x", "--reload-every", "0.1"), "--reload-every is 1 to"),
        (("--artifact", "x", "--body-limit", "0"), "--body-limit is 1 to"),
        (("--artifact", "x", "--device", "tpu"), "invalid choice"),
        (("--artifact", "x", "--name", "A/B"), "not allowed"),
        (("--artifact", "x", "--default", "A/B"), "not allowed"),
        (("--artifact", "a=x", "--artifact", "y"), "NAME=URI"),
        (("--artifact", "a=x", "--artifact", "a=y"), "one name"),
        (("--artifact", "a=x", "--artifact", "b=y", "--name", "c"), "--name is for a single"),
        (("--artifact", "a=x", "--name", "c"), "--name is for a single"),
        (tuple(word for n in range(65) for word in ("--artifact", f"a{n}=x")), "65 detectors are more than the 64"),
        (("--artifact", "x", "--sink-url", "broker:80"), "not an absolute"),
    ],
)
def test_bad_settings_are_one_line_and_status_2(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*arguments) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def damage(folder: Path, **changes: object) -> None:
    path = folder / "detector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 64}, "digest does not match"),
        ({"version": 4}, "use a newer Wayside"),
        ({"kind": "magic"}, "no detector kind 'magic'"),
        ({"format": "x"}, "not that of a detector artifact"),
        ({"arrays": []}, "damaged"),
    ],
)
def test_an_artifact_that_is_not_whole_is_one_line_and_status_2(
    changes: dict[str, object], reason: str, knn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(knn_folder, tmp_path / "copy"))
    damage(folder, **changes)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # it would fail on this port, if it came so far
        assert main("--artifact", str(folder), "--port", str(taken.getsockname()[1])) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_gpu_is_asked_for_where_there_is_none(knn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--artifact", str(knn_folder), "--device", "gpu", "--port", "0", "--admin-port", "0") == 2
    assert "use --device cpu" in capsys.readouterr().err


def test_what_keeps_state_is_served_alone(
    ks_folder: Path, knn_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = ("--artifact", f"a={knn_folder}", "--artifact", f"b={ks_folder}")
    assert main(*artifacts, "--data", str(tmp_path), "--sink-url", "http://127.0.0.1:9/") == 2
    assert "in a process of its own" in capsys.readouterr().err


def test_the_default_is_one_that_is_served(knn_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--artifact", f"a={knn_folder}", "--default", "b") == 2
    assert "--default b is no detector: there are a" in capsys.readouterr().err


def test_window_detectors_say_what_they_need(ks_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--artifact", str(ks_folder)) == 2
    assert "needs --data" in capsys.readouterr().err


def test_settings_come_from_flags_or_the_environment() -> None:
    settings = cli.parse(["--artifact", "a"], {"WAYSIDE_DETECT_PORT": "1", "WAYSIDE_DETECT_MAX_WAIT_MS": "2"})
    assert (settings.artifacts, settings.port) == ((ArtifactAt("a"),), 1)
    assert (settings.batch.max_batch_rows, settings.batch.max_wait_ms) == (2048, 2.0)
    assert (settings.host, settings.admin_port, settings.reload_every_s) == ("127.0.0.1", 8621, None)
    assert settings.execution == Execution()


def test_how_detectors_run_is_a_setting() -> None:
    flags = "--artifact a --threads 2 --trust-pickle --alibi-python /env/bin/python --reload-every 5 --body-limit 1Ki"
    settings = cli.parse(flags.split(), {})
    assert settings.execution == Execution(Device.CPU, 2, trust_pickle=True, alibi_python="/env/bin/python")
    assert (settings.reload_every_s, settings.route.body_bytes) == (5.0, 1024)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", ArtifactAt("plain")),
        ("fraud=plain", ArtifactAt("plain", "fraud")),
        ("fraud=s3://bucket/a?version=2", ArtifactAt("s3://bucket/a?version=2", "fraud")),
        ("s3://bucket/a?version=2", ArtifactAt("s3://bucket/a?version=2")),
        ("/folder/a=b", ArtifactAt("/folder/a=b")),
    ],
)
def test_an_artifact_may_have_a_name(text: str, found: ArtifactAt) -> None:
    assert cli.parse(["--artifact", text], {}).artifacts == (found,)


def test_kafka_takes_the_place_of_the_event_port() -> None:
    source = ["--artifact", "a", "--source", "kafka://host/events", "--sink-url", "kafka://host/verdicts"]
    settings = cli.parse([*source, "--name", "fraud"], {"WAYSIDE_DETECT_WAIT": "5s"})
    assert settings.pull is not None
    assert (settings.pull.subscription.group, settings.pull.subscription.wait_s) == ("wayside-fraud", 5.0)
    settings = cli.parse([*source, "--group", "mine"], {})
    assert settings.pull is not None
    assert settings.pull.subscription.group == "mine"


def test_the_settings_of_kafka_are_read_for_verdicts_too_where_events_are_posted(
    ks_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text("security.protocol\n")
    flags = ("--artifact", str(ks_folder), "--data", str(tmp_path), "--kafka-config", str(config))
    assert main(*flags, "--sink-url", "kafka://127.0.0.1:9/verdicts") == 2
    assert "kafka.properties, line 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--source", "kafka://host/events", "--sink-url", "kafka://host/v"], "needs --name or --group"),
        (["--source", "kafka://host/events", "--name", "fraud"], "needs --sink-url"),
        (["--source", "kafka://host/events", "--artifact", "b=b"], "NAME=URI"),
        (["--source", "kafka://host/", "--name", "fraud", "--sink-url", "kafka://host/v"], "names no topic"),
        (["--sink-url", "kafka://host/one,two"], "sent to one topic"),
    ],
)
def test_what_kafka_lacks_is_said(flags: list[str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        cli.parse(["--artifact", "a", *flags], {})
