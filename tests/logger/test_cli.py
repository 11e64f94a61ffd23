"""The command line of KServe's agent, as its injector writes it, and what is refused."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from logger_stage import HOST, EventSink, echo

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.logger import cli
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.settings import LogMode

INJECTED = [
    "--log-url",
    "http://broker-ingress.knative-eventing.svc.cluster.local/default/default",
    "--source-uri",
    "digits-predictor-0",
    "--log-mode",
    "all",
    "--inference-service",
    "digits",
    "--namespace",
    "default",
    "--endpoint",
    "",
    "--component",
    "predictor",
    "--metadata-headers",
    "X-Tenant,x-user",
    "--metadata-annotations",
    "team=a,tier=b",
    "--logger-ca-cert-file",
    "ca.crt",
    "--logger-tls-skip-verify",
    "false",
    "--component-port",
    "8085",
]


def test_the_injectors_arguments_are_understood() -> None:
    settings = cli.parse(INJECTED, {})
    assert settings.delivery.url == "http://broker-ingress.knative-eventing.svc.cluster.local/default/default"
    assert settings.identity.source == "digits-predictor-0"
    assert (settings.identity.service.service, settings.identity.service.endpoint) == ("digits", "")
    assert settings.capture.metadata_headers == {"x-tenant", "x-user"}
    assert settings.identity.annotations == {"team": "a", "tier": "b"}
    assert settings.delivery.tls_skip_verify is False
    assert settings.delivery.ca_file == Path("/etc/tls/logger/ca.crt")
    assert (settings.upstream.port, settings.listen.port) == (8085, 9081)


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        ([], False),
        (["--logger-tls-skip-verify"], True),
        (["-logger-tls-skip-verify=true"], True),
        (["--logger-tls-skip-verify", "false"], False),
    ],
)
def test_gos_ways_to_write_a_boolean(argv: list[str], value: bool) -> None:
    assert cli.parse(argv, {}).delivery.tls_skip_verify is value


def test_an_empty_mode_is_all_and_flags_come_from_the_environment() -> None:
    assert cli.parse(["--log-mode", ""], {}).capture.mode is LogMode.ALL
    settings = cli.parse([], {"WAYSIDE_LOGGER_QUEUE_BYTES": "1Mi", "WAYSIDE_LOGGER_LOGGER_TLS_SKIP_VERIFY": "true"})
    assert settings.delivery.queue_bytes == 1 << 20
    assert settings.delivery.tls_skip_verify is True


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--log-url", "broker"], "write http(s)://"),
        (["--log-url", "ftp://host/"], "no place that events can be sent to"),
        (["--log-url", "kafka://b:9092/a,b"], "sent to one topic"),
        (["--log-url", "s3:///folder"], "no name of a bucket"),
        (["--log-url", "file://host/folder"], "has three slashes"),
        (["--log-url", "s3://b", "--log-marshaller-url", "m"], "not an absolute http"),
        (["--log-batch-interval", "5"], "is not a duration such as 5s"),
        (["--sample", "ten"], "neither a share such as 10% nor a rate"),
        (["--sample", "10/s", "--sample-status", "200=1%"], "and not with a rate"),
        (["--sample-status", "200-100=1%"], "not a share by status"),
        (["--sample-key", "a b"], "not a header's name"),
        (["--redact", "ssn"], "write TARGET:NAME=LEFT"),
        (["--redact", "column:age=hash"], "--redact-key-file"),
        (["--compat", "seldon"], "invalid choice"),
        (["--processes", "65"], "1 to 64"),
        (["--settings-file", "/nowhere/wayside.yaml"], "no such file"),
        (["--component-port", "0"], "is not a port"),
        (["--log-mode", "some"], "invalid choice"),
        (["--metadata-annotations", "team"], "'team' is not key=value"),
        (["--workers", "0"], "--workers"),
        (["--port", "http"], "is not a port"),
        (["--unknown"], "--unknown"),
    ],
)
def test_what_cannot_be_done_is_one_line(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv, {}) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--send-timeout", value) for value in ("nan", "inf", "0", "901")),  # Kafka's client takes 900 at most
        *(("--grace", value) for value in ("nan", "inf", "-1")),
        *(("--quiet-period", value) for value in ("nan", "-1")),
    ],
)
def test_seconds_that_nobody_can_wait_are_refused(flag: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{flag}.* must be"):
        cli.parse([flag, value], {})


@pytest.mark.parametrize("timeout", ["0.01", "900"])
async def test_kafka_takes_every_send_timeout_that_we_take(timeout: str) -> None:
    settings = cli.parse(["--log-url", "kafka://127.0.0.1:9/t", "--send-timeout", timeout], {})
    sink = log_sink(settings.delivery)
    await sink.start(lambda shipments, error: None)
    await sink.stop()


@pytest.mark.parametrize(
    ("spool", "processes", "words"),
    [("a" * 300, "1", "File name too long"), ("a" * 300, "2", "File name too long"), ("a\0b", "1", "null byte")],
    ids=range(3),
)
def test_a_spool_that_cannot_be_looked_at_is_one_line(
    spool: str, processes: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--port", "0", "--admin-port", "0", "--log-url", "http://b/", "--spool", spool]
    assert cli.main([*argv, "--processes", processes], {}) == 2
    assert words in capsys.readouterr().err


def test_a_service_named_like_us_changes_nothing() -> None:
    assert cli.parse([], {"WAYSIDE_LOGGER_PORT": "tcp://10.0.0.1:80"}).listen.port == 9081


def test_a_bad_readiness_probe_is_an_error_at_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--port", "0", "--admin-port", "0"], {"SERVING_READINESS_PROBE": "{"}) == 2
    assert "SERVING_READINESS_PROBE" in capsys.readouterr().err
    with pytest.raises(ConfigurationError):
        cli.parse(["--grace", "long"], {})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_ready(client: HttpClient, url: Url) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await client.send(b"GET", url, [], timeout_s=1)).status == 200:
                    return
            except Unreachable:
                await asyncio.sleep(0.05)


async def test_sigterm_flushes_the_queue_and_ends_with_0() -> None:
    sink = EventSink()
    model, events = HttpServer(echo, HOST, 0), HttpServer(sink.answer, HOST, 0)
    await model.start()
    await events.start()
    port, admin = free_port(), free_port()
    flags = f"--log-url http://{HOST}:{events.port}/ --port {port} --admin-port {admin} --component-port {model.port}"
    flags += " --quiet-period 0"
    process = subprocess.Popen([sys.executable, "-m", "wayside.logger", *flags.split()], stderr=subprocess.PIPE)
    client = HttpClient()
    try:
        await wait_ready(client, Url.parse(f"http://{HOST}:{admin}/readyz"))
        for _ in range(20):
            await client.send(b"POST", Url.parse(f"http://{HOST}:{port}/"), [], b"{}", timeout_s=5)
        process.send_signal(signal.SIGTERM)
        sink.free.set()
        await sink.wait_for(40)
        assert await asyncio.to_thread(process.wait, 20) == 0
    finally:
        process.kill()
        process.communicate()
        await client.close()
        await model.stop()
        await events.stop()


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("sampel=1%", "'sampel' is no setting"),
        ("redact=ssn", "write TARGET:NAME=LEFT"),
        ("spool=/proc/no-folder", "the spool /proc/no-folder cannot be used"),  # known only when it starts
        (f"spool=/tmp/{'a' * 300}", "File name too long"),
    ],
)
async def test_a_services_mistake_leaves_it_serving_without_capture(annotation: str, words: str) -> None:
    sink = EventSink()
    sink.free.set()
    model, events = HttpServer(echo, HOST, 0), HttpServer(sink.answer, HOST, 0)
    await model.start()
    await events.start()
    port, admin = free_port(), free_port()
    flags = f"--log-url http://{HOST}:{events.port}/ --port {port} --admin-port {admin} --component-port {model.port}"
    flags += f" --quiet-period 0 --metadata-annotations logger.wayside.dev/{annotation}"
    process = subprocess.Popen([sys.executable, "-m", "wayside.logger", *flags.split()], stderr=subprocess.PIPE)
    client = HttpClient()
    try:
        await wait_ready(client, Url.parse(f"http://{HOST}:{admin}/readyz"))
        answer = await client.send(b"POST", Url.parse(f"http://{HOST}:{port}/"), [], b"{}", timeout_s=5)
        assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.to_thread(process.communicate, None, 20)
        assert process.returncode == 0
        assert words in said.decode()
        assert "none is captured until this is mended" in said.decode()
        assert words in said.decode().rpartition("stopped; nothing was captured")[2]
        assert sink.events == []
    finally:
        process.kill()
        await client.close()
        await model.stop()
        await events.stop()
