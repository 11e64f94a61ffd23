"""Every sink as a consumer group on a real Kafka: a Trigger's filter, no event port, offsets committed at its end."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from events import outlier, request, response

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.outbound import event_sink
from wayside.sinks import cli

TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: default}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: some, namespace: default}
spec:
  broker: default
  filter: {attributes: {type: dev.wayside.inference.outlier}}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: KIND}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_flags_are_every_sinks(tmp_path: Path) -> None:
    source = ["--source", "kafka://host:9092/events,verdicts", "--trigger", "a.yaml,b.yaml", "--wait", "2m"]
    for kind, own in {"records": ["--data", "d"], "prometheus": [], "elasticsearch": ["--url", "http://host"]}.items():
        settings = cli.parse([kind, *own, *source], {"WAYSIDE_SINK_KAFKA_CONFIG": "client.properties"})
        assert settings.pull is not None
        assert settings.pull.subscription.address.topics == ("events", "verdicts")
        assert (settings.pull.subscription.group, settings.pull.subscription.wait_s) == (f"wayside-{kind}", 120.0)
        assert settings.pull.triggers == (Path("a.yaml"), Path("b.yaml"))
        assert settings.pull.config == Path("client.properties")
    with pytest.raises(ConfigurationError, match="topic"):
        cli.parse(["prometheus", "--source", "kafka://host:9092/"], {})


async def metrics_with(client: HttpClient, admin: int, line: bytes) -> bytes:
    """The metrics page, once it has a line."""
    url = Url.parse(f"http://127.0.0.1:{admin}/metrics")
    async with asyncio.timeout(40):
        while True:
            try:
                page = (await client.send(b"GET", url, [], timeout_s=2)).body
                if line in page:
                    return page
            except Unreachable:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["records", "prometheus", "elasticsearch"])
async def test_it_pulls_what_its_triggers_let_pass(service: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    topic, admin, port = f"sinks-{uuid4().hex[:8]}", free_port(), free_port()
    url = f"kafka://{service('KAFKA')}/{topic}"
    flags = {"records": ["--data", str(tmp_path)], "prometheus": []}.get(kind) or []
    prefix = f"test-{uuid4().hex[:12]}"
    if kind == "elasticsearch":
        flags = ["--url", service("ELASTICSEARCH"), "--index-prefix", prefix]
    trigger = tmp_path / "trigger.yaml"
    trigger.write_text(TRIGGER.replace("KIND", kind))
    source = ["--source", url, "--group", f"{topic}-{kind}", "--trigger", str(trigger)]
    ports = ["--admin-port", str(admin), "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "wayside.sinks", kind, *flags, *source, *ports])
    client, sink = HttpClient(), event_sink(url, 20)
    try:
        await metrics_with(client, admin, b"wayside_source_in_flight")
        await sink.start()
        for event in (request([[1.0]]), response([1]), outlier([True])):
            await sink.send(event)
        await metrics_with(client, admin, b'wayside_source_events_total{outcome="filtered"} 2.0')
        page = await metrics_with(client, admin, b'wayside_source_events_total{outcome="delivered"} 1.0')
        taken = {"prometheus": b'outcome="counted"} 1.0'}.get(kind, b'outcome="stored"} 1.0')
        assert taken in page
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    finally:
        await sink.stop()
        await client.close()
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
        if kind == "elasticsearch":
            await remove_indices(service("ELASTICSEARCH"), prefix)
        await asyncio.to_thread(remove_topics, service("KAFKA"), [topic, f"{topic}-{kind}.dead-letters"])
    assert status == 0


def remove_topics(servers: str, topics: list[str]) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": servers})
    for removed in admin.delete_topics(topics).values():
        removed.result(20)


async def remove_indices(url: str, prefix: str) -> None:
    from elastic.elastic_side import remove_all

    from wayside.sinks.elasticsearch.settings import ElasticsearchSettings

    await remove_all(ElasticsearchSettings(url, prefix))
