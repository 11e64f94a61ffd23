"""The sinks as services: flags, one-line errors, answers to good and bad messages, and a real process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from events import request

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.event_sink import HttpEventSink
from wayside.eventing.http.server import ServerLimits
from wayside.eventing.http.url import Url
from wayside.eventing.sink import MemorySink, SinkUnavailable
from wayside.sinks import cli
from wayside.sinks.embedded.reader import RecordReader
from wayside.sinks.receiver import Receiver


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "sink"),
        (["recrods"], "invalid choice"),
        (["records"], "--data"),
        (["records", "--data", "d", "--retain", "soon"], "is not a duration"),
        (["prometheus", "--data", "d"], "unrecognized"),
        (["prometheus", "--port", "99999"], "is not a port"),
    ],
)
def test_bad_flags_are_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv, {}) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_flags_come_from_the_environment_too() -> None:
    settings = cli.parse(["records"], {"WAYSIDE_SINK_DATA": "d", "WAYSIDE_SINK_RETAIN": "2h"})
    assert (settings.data, settings.retain_s) == (Path("d"), 7200.0)
    with pytest.raises(ConfigurationError):
        cli.parse(["records"], {"WAYSIDE_SINK_DATA": "d", "WAYSIDE_SINK_PORT": "no"})


async def test_answers_say_what_happened() -> None:
    malformed: list[None] = []
    sink = MemorySink([SinkUnavailable("full", retry_after_s=7)])
    receiver = Receiver(sink, "127.0.0.1", 0, ServerLimits(), lambda: malformed.append(None))
    await receiver.start()
    client, url = HttpClient(), Url.parse(f"http://127.0.0.1:{receiver.port}/any/path")
    headers = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"s"), (b"ce-type", b"t")]
    answers = [
        await client.send(method, url, sent, timeout_s=5)
        for method, sent in ((b"POST", headers), (b"POST", headers), (b"POST", headers[:3]), (b"GET", []))
    ]
    assert [answer.status for answer in answers] == [503, 202, 400, 405]
    assert answers[0].header(b"retry-after") == b"7"
    assert b"'type'" in answers[2].body
    assert (len(sink.events), len(malformed)) == (1, 1)
    await client.close()
    await receiver.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_ready(client: HttpClient, admin: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (
                    await client.send(b"GET", Url.parse(f"http://127.0.0.1:{admin}/readyz"), [], timeout_s=1)
                ).status == 200:
                    return
            except Unreachable:
                await asyncio.sleep(0.05)


async def test_the_record_sink_runs_alone(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    ports = ["--port", str(port), "--admin-port", str(admin)]
    command = [sys.executable, "-m", "wayside.sinks", "records", "--data", str(tmp_path), *ports]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    client = HttpClient()
    try:
        await wait_ready(client, admin)
        await HttpEventSink(f"http://127.0.0.1:{port}/", 5, client).send(request([[1.0]]))
        metrics = await client.send(b"GET", Url.parse(f"http://127.0.0.1:{admin}/metrics"), [], timeout_s=5)
        assert b'wayside_records_events_total{outcome="stored"} 1.0' in metrics.body
        busy = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
        assert busy.returncode == 2
        assert f"cannot listen on 127.0.0.1:{admin}" in busy.stderr
    finally:
        await client.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
    reader = RecordReader(tmp_path / "records.sqlite")
    assert reader.counts().records == 1
    reader.close()


async def test_a_sink_that_waits_for_its_store_is_alive_and_not_ready(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    ports = ["--port", str(port), "--admin-port", str(admin)]
    away = ["--url", "http://127.0.0.1:9", "--wait", "60s"]
    process = subprocess.Popen([sys.executable, "-m", "wayside.sinks", "elasticsearch", *ports, *away])
    client = HttpClient()
    try:
        assert await answer_of(client, f"http://127.0.0.1:{admin}/healthz") == 200
        assert await answer_of(client, f"http://127.0.0.1:{admin}/readyz") == 503
        with pytest.raises(SinkUnavailable):
            await HttpEventSink(f"http://127.0.0.1:{port}/", 5, client).send(request([[1.0]]))
        process.terminate()
        assert process.wait(10) == 0, "a signal ends the waiting"
    finally:
        process.kill()
        process.wait()
        await client.close()


async def answer_of(client: HttpClient, url: str) -> int:
    """The status of an answer, once there is one."""
    async with asyncio.timeout(20):
        while True:
            try:
                return (await client.send(b"GET", Url.parse(url), [], timeout_s=5)).status
            except Unreachable:
                await asyncio.sleep(0.05)
