"""The emitter alone, and over TLS: every event is sent or counted, whatever the log url does."""

import asyncio
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from logger_stage import HOST, echo, staged, with_delivery
from prometheus_client import CollectorRegistry

from wayside.eventing.errors import ConfigurationError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.sink import EventRefused, MemorySink, SinkUnavailable
from wayside.eventing.vocabulary import METADATA, REQUEST
from wayside.logger.capture import BodyCopy, CaptureBudget, field_text
from wayside.logger.emitter import Emitter, log_sink
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.settings import Delivery, LoggerSettings


def event(number: int, metadata: str = "{}") -> CloudEvent:
    return CloudEvent(str(number), "pod", REQUEST, extensions={METADATA: metadata})


def dropped(registry: CollectorRegistry, reason: str) -> float | None:
    labels = {"kind": "request", "reason": reason}
    return registry.get_sample_value("wayside_logger_events_dropped_total", labels)


class BrittleSink(MemorySink):
    """Fails in a way that no sink should on the event "0"."""

    async def send(self, event: CloudEvent) -> None:
        if event.id == "0":
            raise RuntimeError("a defect")
        await super().send(event)


async def test_a_defect_on_one_event_costs_that_event_alone() -> None:
    sink, registry = BrittleSink(), CollectorRegistry()
    emitter = Emitter(sink, Delivery(workers=1), LoggerMetrics(registry))
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number))
    await emitter.stop(5)
    assert [sent.id for sent in sink.events] == ["1", "2"]
    assert dropped(registry, "refused") == 1


async def test_stopping_counts_what_waits_and_what_is_in_hand(caplog: pytest.LogCaptureFixture) -> None:
    sink, registry = MemorySink([SinkUnavailable("gone", retry_after_s=1e9)] * 2), CollectorRegistry()
    emitter = Emitter(sink, Delivery(workers=2), LoggerMetrics(registry))
    await emitter.start()
    for number in range(5):
        emitter.offer(event(number))
    await emitter.stop(0.05)
    assert dropped(registry, "shutdown") == 5 - len(sink.events)
    assert f"{5 - len(sink.events)} events unsent" in caplog.text
    assert "tried again, because gone" in caplog.text


async def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    sink = MemorySink([SinkUnavailable("gone"), SinkUnavailable("gone"), EventRefused("never")])
    emitter = Emitter(sink, Delivery(workers=1), LoggerMetrics(CollectorRegistry()))
    await emitter.start()
    emitter.offer(event(1))
    emitter.offer(event(2))
    await emitter.stop(5)
    assert [sent.id for sent in sink.events] == ["2"]
    assert caplog.text.count("tried again") == caplog.text.count("takes events again") == 1


async def test_metadata_counts_towards_the_bytes_that_may_wait() -> None:
    registry = CollectorRegistry()
    emitter = Emitter(MemorySink(), Delivery(queue_bytes=50_000), LoggerMetrics(registry))
    emitter.offer(event(1, "x" * 40_000))
    emitter.offer(event(2, "x" * 40_000))
    assert dropped(registry, "queue_full") == 1
    await emitter.stop()


class WaitingSink(MemorySink):
    """Holds every event until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.held = asyncio.Event(), 0

    async def send(self, event: CloudEvent) -> None:
        self.held += 1
        await self.gate.wait()
        await super().send(event)


async def test_what_is_in_flight_counts_towards_the_bytes_until_it_is_settled() -> None:
    sink, registry = WaitingSink(), CollectorRegistry()
    emitter = Emitter(sink, Delivery(workers=512, queue_bytes=50_000), LoggerMetrics(registry))
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number, "x" * 20_000))
        while sink.held <= number < 2:  # a worker has it, so that nothing waits
            await asyncio.sleep(0)
    assert dropped(registry, "queue_full") == 1
    assert registry.get_sample_value("wayside_logger_queue_bytes") == 2 * (20_000 + 2048)
    sink.gate.set()
    await emitter.stop(5)
    assert len(sink.events) == 2
    assert registry.get_sample_value("wayside_logger_queue_bytes") == 0


async def test_nothing_is_held_after_a_stop_that_gave_up() -> None:
    registry = CollectorRegistry()
    emitter = Emitter(WaitingSink(), Delivery(workers=1), LoggerMetrics(registry))
    await emitter.start()
    for number in range(3):
        emitter.offer(event(number))
    await emitter.stop(0.05)
    assert dropped(registry, "shutdown") == 3
    assert registry.get_sample_value("wayside_logger_queue_bytes") == 0


def test_a_body_in_tiny_pieces_is_charged_for_what_it_takes() -> None:
    budget = CaptureBudget(10_000)
    copy = BodyCopy(10_000, budget)
    for _ in range(1000):
        copy.add(b"x")
    assert copy.overflowed
    assert budget.used_bytes == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"application/json; charset=utf-8", "application/json; charset=utf-8"),
        (b"a\tb\xff\r\n", "a?b???"),
        (b"x" * 300, "x" * 256),
    ],
)
def test_a_headers_value_travels_readably(value: bytes, text: str) -> None:
    assert field_text(value) == text


async def test_a_content_type_arrives_as_it_was_sent() -> None:
    async def answer(_: Request) -> Response:
        return Response(200, [(b"content-type", b'text/plain; charset="utf-8"')], b"x")

    async with staged(answer) as stage:
        await stage.post(b"{}")
        await stage.sink.wait_for(2)
        assert stage.sink.of("response")[0].datacontenttype == 'text/plain; charset="utf-8"'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}", "-days", "1"]
    subprocess.run([*made, *names, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker for one event a connection."""
    await reader.readuntil(b"\r\n\r\n{}")
    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(("trusted", "skip", "sent"), [(True, False, 2), (False, True, 2), (False, False, 0)])
async def test_events_go_over_tls_to_whom_the_ca_file_vouches_for(
    certificate: tuple[Path, Path], tmp_path: Path, trusted: bool, skip: bool, sent: int
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(accept, HOST, 0, ssl=context)
    url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}/ns/broker"
    ca_file = certificate[0] if trusted else tmp_path / "absent.crt"

    def over_tls(given: LoggerSettings) -> LoggerSettings:
        return with_delivery(replace(given, grace_s=0.2), url=url, ca_file=ca_file, tls_skip_verify=skip)

    async with staged(echo, over_tls) as stage:
        await stage.post(b"{}")
        tried = "wayside_logger_events_sent_total" if sent else "wayside_logger_send_attempts_total"
        async with asyncio.timeout(5):
            while await stage.metric(tried) < 2:
                await asyncio.sleep(0.01)
        assert await stage.metric("wayside_logger_events_sent_total") == sent
    server.close()


def test_a_ca_file_that_is_none_is_an_error_at_start(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="CA file"):
        log_sink(Delivery("https://broker", ca_file=tmp_path / "ca.crt"))
