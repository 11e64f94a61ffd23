"""What it costs the logger to deliver an event: CPU microseconds an event and events a second, by carrier.

Source: issue 6, "Speed": an event from `offer` to its 2xx may cost 35 to 40 µs, and an HTTPS sink takes 2 900 a second.
Invariant: the sink runs in a process of its own, so that the CPU counted is the emitter's, its share of the kernel
included. An event counts once its 2xx was read.

Run: `python benchmarks/logger_emit.py [--events N] [--cpu N]`. `--cpu` pins the emitter; the sink takes another core.
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from wayside.eventing.event import CloudEvent
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.settings import Batching, Delivery

_HOST = "127.0.0.1"
_WAITING = 500  # events queued at any time: enough that connections are never without work
_LENGTH = re.compile(rb"content-length: (\d+)\r\n")
_ANSWER = b"HTTP/1.1 202 Accepted\r\nserver: nginx\r\ndate: %s\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"


class _Sink(asyncio.Protocol):
    """Reads whole requests and accepts them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = int(_LENGTH.search(self._buffer, 0, end + 2)[1])  # type: ignore[index]
            if len(self._buffer) < end + 4 + length:
                return
            del self._buffer[: end + 4 + length]
            self._transport.write(_ANSWER % time.ctime().encode())  # type: ignore[attr-defined]


async def _serve(report: Connection, tls: ssl.SSLContext | None) -> None:
    server = await asyncio.get_running_loop().create_server(_Sink, _HOST, 0, ssl=tls)
    report.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _run_sink(report: Connection, certificate: Path | None, cpu: int | None) -> None:
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    uvloop.run(_serve(report, tls))


def _certificate(folder: Path) -> Path:
    made = folder / "sink.pem"
    names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{_HOST}", "-days", "1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*new, *names, "-keyout", str(made), "-out", str(folder / "ca.pem")], check=True, capture_output=True
    )
    made.write_text(made.read_text() + (folder / "ca.pem").read_text())
    return made


def _event(number: int, data: bytes) -> CloudEvent:
    """As the logger makes them: a response's event has four extensions more than a request's."""
    time_text = f"2026-11-21T13:41:14.{number:09d}Z"
    extensions = {
        "inferenceservicename": "digits",
        "namespace": "default",
        "component": "predictor",
        "endpoint": "",
        "metadata": '{"X-Tenant":["a"]}',
        "method": "POST",
        "path": "/v1/models/digits:predict",
        "requestid": f"request-{number}",
        "recordedtime": time_text,
    }
    kind = "org.kubeflow.serving.inference.request"
    if number % 2:
        kind = "org.kubeflow.serving.inference.response"
        extensions |= {"requesttime": time_text, "statuscode": "200", "latencyms": "1.234", "firstbytems": "1.000"}
    return CloudEvent(
        f"0193511c-{number:023d}", "digits-pod", kind, data, time_text, "application/json", extensions=extensions
    )


@dataclass(frozen=True)
class _Case:
    name: str
    body_bytes: int
    events: int
    tls: bool = False
    batch: int = 1


async def _wait_until_at_most(emitter: Emitter, count: int) -> None:
    while emitter.in_memory > count:  # noqa: ASYNC110  # an event would be the emitter's to set, and cost what is measured
        await asyncio.sleep(0.001)


async def _deliver(case: _Case, delivery: Delivery) -> tuple[float, float]:
    """CPU microseconds an event, and events a second."""
    counts = LoggerCounts()
    emitter = Emitter(log_sink(delivery), delivery, counts)
    data = b'{"instances": "' + b"x" * (case.body_bytes - 17) + b'"}'
    events = [_event(number, data) for number in range(256)]  # few: those of a logger were just made, and are in cache
    await emitter.start()
    for event in events:  # connections are made
        emitter.offer(event)
    await _wait_until_at_most(emitter, 0)
    began_cpu_s, began_s = time.process_time(), time.perf_counter()
    for event in islice(cycle(events), case.events):
        emitter.offer(event)
        if emitter.in_memory > 2 * _WAITING:
            await _wait_until_at_most(emitter, _WAITING)
    await _wait_until_at_most(emitter, 0)
    cpu_s, took_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    await emitter.stop()
    assert sum(counts.sent.values()) == case.events + len(events), counts.dropped
    return 1e6 * cpu_s / case.events, case.events / took_s


def _measure(case: _Case, folder: Path, cpu: int | None) -> tuple[float, float]:
    here, there = multiprocessing.Pipe()
    certificate = _certificate(folder) if case.tls else None
    sink_cpu = None if cpu is None else (cpu + 1) % (os.cpu_count() or 1)
    sink = multiprocessing.Process(target=_run_sink, args=(there, certificate, sink_cpu), daemon=True)
    sink.start()
    url = f"http{'s' if case.tls else ''}://{_HOST}:{here.recv()}/ns/broker"
    batching = Batching(case.batch, 0.005 if case.batch > 1 else 0.0)
    delivery = Delivery(url, queue_bytes=1 << 30, ca_file=folder / "ca.pem", batching=batching)
    try:
        return uvloop.run(_deliver(case, delivery))
    finally:
        sink.kill()
        sink.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--cpu", type=int, help="the core of the emitter")
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    cases = (
        _Case("http, 200 B", 200, args.events),
        _Case("http, 100 kB", 100_000, args.events // 10),
        _Case("https, 200 B", 200, args.events, tls=True),
        _Case("https, 100 kB", 100_000, args.events // 10, tls=True),
        _Case("http, 200 B, batches of 50", 200, args.events, batch=50),
    )
    print("| case | CPU µs an event | events/s |\n|---|---|---|")
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            cpu_us, events_per_s = _measure(case, Path(folder), args.cpu)
        print(f"| {case.name} | {cpu_us:.1f} | {events_per_s:.0f} |", flush=True)


if __name__ == "__main__":
    main()
