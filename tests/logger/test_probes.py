"""Probes: who is one, what it is told, and that none becomes an event."""

import asyncio
from dataclasses import replace

import pytest
from logger_stage import Stage, before, staged

from wayside.eventing.errors import ConfigurationError
from wayside.logger.proxy.probes import ProbeTarget
from wayside.logger.settings import Upstream

KUBE = (b"user-agent", b"kube-probe/1.31")
QUEUE = (b"k-network-probe", b"queue")


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ([KUBE, QUEUE], 200, b"queue"),
        ([QUEUE], 200, b"queue"),
        ([(b"user-agent", b"Knative-Activator-Probe"), QUEUE], 200, b"queue"),
        ([KUBE], 400, b""),
        ([KUBE, (b"k-network-probe", b"other")], 400, b""),
        ([(b"k-network-probe", b"probe")], 400, b""),
        ([(b"k-network-probe", b"probe"), (b"k-network-hash", b"h")], 200, b""),
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
        assert (await stage.client.send(b"GET", stage.url("/"), [QUEUE], timeout_s=5)).status == 503


def test_the_readiness_probe_of_the_pod_says_where_to_ask() -> None:
    upstream = Upstream("127.0.0.1", 8080)
    assert ProbeTarget.of("", upstream) == ProbeTarget("127.0.0.1", 8080)
    http = '[{"httpGet": {"path": "/ready", "port": 9000}, "successThreshold": 1}]'
    assert ProbeTarget.of(http, upstream) == ProbeTarget("127.0.0.1", 9000, "/ready")
    assert ProbeTarget.of('{"tcpSocket": {"port": 0}}', upstream) == ProbeTarget("127.0.0.1", 8080)
    with pytest.raises(ConfigurationError, match="SERVING_READINESS_PROBE"):
        ProbeTarget.of("{", upstream)


async def test_while_the_endpoint_is_withdrawn_probes_fail_and_clients_are_served() -> None:
    async with staged(change=lambda given: replace(given, quiet_s=1.0)) as stage:
        stopping = asyncio.create_task(stage.logger.stop())
        probe = b"GET / HTTP/1.1\r\nhost: m\r\nk-network-probe: queue\r\nconnection: close\r\n\r\n"
        while not (await stage.talk(probe)).startswith(b"HTTP/1.1 503"):
            await asyncio.sleep(0.01)
        assert (await stage.post(b"{}")).status == 200
        await stopping
        assert len(await stage.sink.wait_for(2)) == 2
