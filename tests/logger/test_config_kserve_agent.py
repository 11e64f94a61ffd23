"""Where a batcher or a puller is asked for: KServe's own agent takes the process over, with the arguments as given."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from logger_stage import HOST, EventSink
from spool_stage import free_port

from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import JSON, Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.logger.config.kserve_agent import agent_command

BATCHER = ["--enable-batcher", "--max-batchsize", "4"]
LOGGED = ["--log-url", "http://b/", "--logger-tls-skip-verify", "false", "--component-port", "8080"]
REDACTED = ["--metadata-annotations", "team=a,logger.wayside.dev/redact=column:a=mask,column:b=drop,tier=b"]


def run(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wayside.logger", *argv]
    return subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A program that prints its arguments and its environment."""
    path = tmp_path / "kserve-agent"
    words = f"#!{sys.executable}\nimport json, os, signal, sys\n"
    words += "print(json.dumps([sys.argv[1:], dict(os.environ), os.getpid()]))\n"
    path.write_text(words, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--enable-puller", "--config-dir", "/c", "--model-dir", "/m"], None),
        ([*BATCHER, *LOGGED], None),
        ([*BATCHER, "word", "--max-latency=9"], None),
        ([*BATCHER, "--sample", "1%", *LOGGED, "--oversize=skip"], [*BATCHER, *LOGGED]),
        ([*BATCHER, "--kserve-agent", "/x"], BATCHER),
        ([*BATCHER, "--not-known-anywhere", "x"], None),  # the agent's to refuse
        (
            [*BATCHER, *LOGGED, "--metadata-annotations", "a=1,logger.wayside.dev/sample=1%,b=2"],
            [*BATCHER, *LOGGED, "--metadata-annotations", "a=1,b=2"],
        ),
        (
            [*BATCHER, *LOGGED, "--metadata-annotations", 'a={"b":1}'],
            None,
        ),
        (
            [*BATCHER, *LOGGED, *REDACTED],  # what is to be kept in is not logged at all
            [*BATCHER, *LOGGED[2:], "--metadata-annotations", "team=a,tier=b"],
        ),
        ([*BATCHER, *LOGGED, "--redact", "column:a=mask"], [*BATCHER, *LOGGED[2:]]),
    ],
)
def test_arguments_as_given_less_ours(argv: list[str], expected: list[str] | None) -> None:
    command = agent_command(argv, {})
    assert command is not None
    assert list(command.arguments) == (argv if expected is None else expected)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        LOGGED,
        ["--enable-puller=false"],
        ["--enable-batcher", "false"],
        ["--enable-batcher", "--enable-batcher=0"],
        ["--log-url", "--enable-batcher"],
        ["--", "--enable-batcher"],
    ],
)
def test_a_logger_alone_stays_ours(argv: list[str]) -> None:
    assert agent_command(argv, {"WAYSIDE_LOGGER_ENABLE_BATCHER": "true"}) is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "logging is KServe's agent's here"),
        ({"WAYSIDE_LOGGER_REDACT": "column:a=mask"}, "nothing is logged"),
        ({"WAYSIDE_LOGGER_SAMPLE": "nonsense"}, "nothing is logged"),
    ],
)
def test_it_says_who_logs(environ: dict[str, str], words: str) -> None:
    command = agent_command([*BATCHER, *LOGGED], environ)
    assert command is not None
    assert words in " ".join(command.notes)


def test_it_names_the_annotations_that_it_drops() -> None:
    pairs = "team=a,Logger.wayside.dev/sample-status=5=1%,200=1%,logger.wayside.dev/max-body-bytes=1Mi"
    command = agent_command(["--enable-batcher", "true", "--metadata-annotations", pairs], {})
    assert command is not None
    assert "no effect with it: Logger.wayside.dev/sample-status logger.wayside.dev/max-body-bytes" in "; ".join(
        command.notes
    )
    assert command.arguments[-1] == "team=a"


@pytest.mark.parametrize("text", ["logger: {compress: !!bool gzip}", "logger: {workers: !!int }", "redact: [a]"])
def test_a_file_that_cannot_be_read_keeps_the_log_url_back(tmp_path: Path, text: str) -> None:
    (tmp_path / "wayside.yaml").write_text(text, encoding="utf-8")
    flags = ["--enable-batcher", "true", "--log-url", "http://b/", "--settings-file", str(tmp_path / "wayside.yaml")]
    command = agent_command(flags, {})
    assert command is not None
    assert "--log-url" not in command.arguments


def test_the_process_is_taken_over(stand_in: Path) -> None:
    environ = {"WAYSIDE_KSERVE_AGENT": str(stand_in), "SERVING_READINESS_PROBE": "{}", "PATH": os.environ["PATH"]}
    done = run([*BATCHER, "--sample", "10%", *LOGGED], environ)
    argv, seen, _ = json.loads(done.stdout)
    assert (done.returncode, argv) == (0, [*BATCHER, *LOGGED])
    assert {name: seen[name] for name in environ} == environ
    assert "KServe's agent is run instead, for the batcher" in done.stderr
    assert "is not given: --sample" in done.stderr


def test_without_the_program_it_says_what_to_do() -> None:
    done = run([*BATCHER, "--kserve-agent", "/nowhere/kserve-agent"], {})
    assert done.returncode == 2
    assert "/nowhere/kserve-agent: No such file or directory" in done.stderr
    assert "set --kserve-agent or WAYSIDE_KSERVE_AGENT" in done.stderr


@pytest.fixture
def real_agent() -> str:
    """KServe's agent, built from source."""
    path = os.environ.get("KSERVE_AGENT", "")
    if not path:
        pytest.skip("no KSERVE_AGENT: build cmd/agent of kserve/kserve and name the program there")
    return path


async def test_the_real_agent_batches_and_logs_in_our_place(real_agent: str) -> None:
    sink = EventSink()
    sink.free.set()
    model, events = HttpServer(predictions, HOST, 0), HttpServer(sink.answer, HOST, 0)
    await model.start()
    await events.start()
    port, client = free_port(), HttpClient()
    argv = ["--enable-batcher", "--max-batchsize", "2", "--max-latency", "50", "--sample", "10%", "--port", str(port)]
    argv += ["--component-port", str(model.port), "--log-url", f"http://{HOST}:{events.port}/"]
    environ = {"WAYSIDE_KSERVE_AGENT": real_agent, "SERVING_READINESS_PROBE": ""}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "wayside.logger", *argv, env=environ)
    try:
        url = Url.parse(f"http://{HOST}:{port}/v1/models/m:predict")
        await wait_listening(process, port)
        answer = await client.send(b"POST", url, [], b'{"instances": [[1]]}', timeout_s=10)
        assert json.loads(answer.body)["predictions"] == [1]
        assert "batchId" in json.loads(answer.body)  # KServe's batcher's
        await sink.wait_for(1)
    finally:
        process.kill()  # it would wait for 30 s without a request; the process is ours by its id, and the agent's
        await process.wait()
        await client.close()
        await model.stop()
        await events.stop()


async def predictions(request: Request) -> Response:
    """A model that answers a 1 for each instance."""
    return Response(200, [JSON], json.dumps({"predictions": [1] * len(json.loads(request.body)["instances"])}).encode())


async def wait_listening(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except ConnectionRefusedError:
                assert process.returncode is None, "it ended: does another agent run in this network namespace?"
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def test_the_real_agent_takes_what_it_is_given(real_agent: str) -> None:
    """It gets as far as its port, which is none that can be bound: every argument was understood."""
    environ = {"WAYSIDE_KSERVE_AGENT": real_agent, "SERVING_READINESS_PROBE": ""}
    argv = [*BATCHER, *LOGGED, "--compress", "gzip", "--port", "not-a-port", "--metadata-annotations", "a=1"]
    done = run(argv, environ)
    assert done.returncode == 1
    assert "unknown flag" not in done.stderr
    assert "Starting batcher" in done.stdout + done.stderr
    assert "failed to listen" in done.stdout + done.stderr
