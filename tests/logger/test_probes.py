"""Probes: who is one, what it is told, and that none becomes an event."""

import asyncio
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from logger_stage import HOST, Stage, before, staged

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.logger.proxy.probes import Prober, ProbeTarget
from wayside.logger.settings import Upstream

KUBE = (b"user-agent", b"kube-probe/1.31")
QUEUE = (b"k-network-probe", b"queue")


HASH = (b"k-network-hash", b"h")
PROBE = (b"k-network-probe", b"probe")


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ([KUBE, QUEUE], 200, b"queue"),
        ([(b"user-agent", b"Knative-Activator-Probe"), QUEUE], 200, b"queue"),
        ([KUBE], 400, b""),
        ([KUBE, (b"k-network-probe", b"other")], 400, b""),
        ([KUBE, PROBE, HASH], 400, b""),
        ([PROBE], 400, b""),
        ([PROBE, (b"k-network-hash", b"")], 400, b""),
        ([PROBE, HASH], 200, b""),
    ],
)
async def test_probes_are_answered_for_the_model(
    stage: Stage, headers: list[tuple[bytes, bytes]], status: int, body: bytes
) -> None:
    response = await stage.client.send(b"GET", stage.url("/"), headers, timeout_s=5)
    assert response.status == status
    if body:
        assert response.body == body
    if status == 200 and not body:
        assert response.header(b"k-network-hash") == b"h"
    assert await stage.metric("wayside_logger_events_captured_total") == 0


async def test_a_model_that_is_down_fails_the_probe() -> None:
    async with before(1) as stage:
        assert (await stage.client.send(b"GET", stage.url("/"), [KUBE, QUEUE], timeout_s=5)).status == 503


@pytest.mark.parametrize(
    "headers",
    [
        [QUEUE],
        [QUEUE, (b"user-agent", b"curl/8")],
        [(b"k-kubelet-probe", b"1")],
        [(b"user-agent", b"Kube-Probe/1.31")],
        [(b"k-network-probe", b"Probe"), HASH],
    ],
)
async def test_what_only_looks_like_a_probe_is_traffic(stage: Stage, headers: list[tuple[bytes, bytes]]) -> None:
    assert (await stage.client.send(b"GET", stage.url("/"), headers, timeout_s=5)).body == b"{}"
    assert len(await stage.sink.wait_for(2)) == 2


LOCAL = ProbeTarget("127.0.0.1", 8080)
READY = ProbeTarget("127.0.0.1", 9000, "/ready")


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("", (LOCAL,)),
        ("null", (LOCAL,)),
        ("[]", ()),
        ('{"httpGet": {"path": "/ready", "port": 9000}, "successThreshold": 1}', (READY,)),
        ('[{"httpGet": {"path": "ready", "port": "9000"}}, {"tcpSocket": {"port": 0}}]', (READY, LOCAL)),
        ('{"tcpSocket": {"host": "10.0.0.1", "port": 81}}', (ProbeTarget("10.0.0.1", 81),)),
        ('{"httpGet": {"port": "user-port"}}', (replace(LOCAL, path="/"),)),
        ('{"httpGet": {"path": "/ready", "port": 9000, "scheme": "HTTPS"}}', (replace(READY, tls=True),)),
        ('{"httpGet": {"path": "/ready", "port": 9000}, "timeoutSeconds": 7}', (replace(READY, timeout_s=7.0),)),
        ('{"httpGet": {"path": "/ready", "port": 9000}, "timeoutSeconds": 0}', (READY,)),
        (
            '{"httpGet": {"path": "/ready", "port": 9000, "httpHeaders": '
            '[{"name": "X-A", "value": "b"}, {"name": "Host", "value": "c"}]}}',
            (replace(READY, headers=((b"x-a", b"b"),)),),
        ),
        ('{"exec": {"command": ["true"]}}', (LOCAL,)),
        ('{"grpc": {"port": 8080}}', (LOCAL,)),
    ],
)
def test_the_readiness_probe_of_the_pod_says_where_to_ask(text: str, targets: tuple[ProbeTarget, ...]) -> None:
    assert ProbeTarget.of(text, Upstream("127.0.0.1", 8080)) == targets


@pytest.mark.parametrize(
    "text",
    [
        *("{", "7", '"x"', '{"httpGet": {"port": [1]}}', '{"httpGet": {"path": "/a\\r\\nb"}}'),
        '{"httpGet": {"httpHeaders": [{"name": "x", "value": "a\\nb"}]}}',
    ],
)
def test_what_is_no_probe_is_said_at_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SERVING_READINESS_PROBE"):
        ProbeTarget.of(text, Upstream("127.0.0.1", 8080))


async def test_a_probe_of_https_does_not_verify_the_certificate_as_the_kubelet_does_not(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*new, "-subj", "/CN=model", "-keyout", key, "-out", cert], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(model, HOST, 0, ssl=tls)
    prober = Prober((ProbeTarget(HOST, server.sockets[0].getsockname()[1], "/ready", tls=True, timeout_s=5.0),))
    assert await prober.is_ready()
    await prober.close()
    server.close()
    await server.wait_closed()


async def test_all_of_several_probes_must_pass_and_probes_at_one_time_ask_once() -> None:
    asked: list[Request] = []

    async def model(request: Request) -> Response:
        asked.append(request)
        return Response(503 if request.path == "/down" else 302)

    server = HttpServer(model, HOST, 0)
    await server.start()
    ready = ProbeTarget(HOST, server.port, "/ready", headers=((b"x-a", b"b"),))
    prober, failing = Prober((ready, ProbeTarget(HOST, server.port))), Prober((ready, replace(ready, path="/down")))
    assert await asyncio.gather(*(prober.is_ready() for _ in range(5))) == [True] * 5
    assert [request.header(b"x-a") for request in asked] == [b"b"]
    assert not await failing.is_ready()
    assert await prober.is_ready()
    assert len(asked) == 4
    await asyncio.gather(prober.close(), failing.close())
    await server.stop()


async def test_while_the_endpoint_is_withdrawn_probes_fail_and_clients_are_served() -> None:
    async with staged(change=lambda given: replace(given, quiet_s=1.0)) as stage:
        stopping = asyncio.create_task(stage.logger.stop())
        fields = b"user-agent: kube-probe/1\r\nk-network-probe: queue\r\nconnection: close\r\n"
        probe = b"GET / HTTP/1.1\r\nhost: m\r\n" + fields + b"\r\n"
        while not (await stage.talk(probe)).startswith(b"HTTP/1.1 503"):
            await asyncio.sleep(0.01)
        assert (await stage.post(b"{}")).status == 200
        await stopping
        assert len(await stage.sink.wait_for(2)) == 2
