"""The payload logger alone, on one core: req/s, latency, CPU a request and resident memory, logging off and on."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import httptools
import uvloop

from wayside.eventing.http.client import HttpClient, Unreachable, Url
from wayside.eventing.http.message import JSON, head

HOST = "127.0.0.1"


class Answerer(asyncio.Protocol):
    """A server that answers every request with the same bytes: the model, and the log url."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._answer)


class Asker(asyncio.Protocol):
    """One connection in a closed loop: the next request goes out when the last one's answer is whole."""

    def __init__(self, request: bytes, until: float, latencies_s: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies_s = latencies_s
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError("the connection was closed before the answer"))

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._latencies_s.append(now - self._sent)
        if self._parser.get_status_code() != 200:
            self.ended.set_exception(RuntimeError(f"answered {self._parser.get_status_code()}"))
        elif now < self._until:
            self._ask()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sent = time.perf_counter()
        self._transport.write(self._request)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run. `sent` is the share of its events that were out when the load ended; None without logging."""

    latencies_s: Sequence[float]
    elapsed_s: float
    cpu_s: float
    resident_mib: float
    sent: float | None

    def row(self, name: str) -> str:
        count = len(self.latencies_s)
        p50, p99 = (self.latencies_s[int(share * (count - 1))] * 1e3 for share in (0.5, 0.99))
        sent = "" if self.sent is None else f"{self.sent:7.0%}"
        figures = f"{count / self.elapsed_s:9.0f}{p50:9.2f}{p99:9.2f}{self.cpu_s / count * 1e6:9.0f}"
        return f"{name:34}{figures}{self.resident_mib:9.0f}{sent}"


async def load(port: int, body_bytes: int, connections: int, seconds: float) -> tuple[Sequence[float], float]:
    """The latencies of a closed loop, sorted, and how long it lasted."""
    body = b'"' + b"x" * (body_bytes - 2) + b'"'
    framing = [(b"host", b"model"), JSON, (b"content-length", b"%d" % len(body))]
    request = head(b"POST /v1/models/m:predict HTTP/1.1\r\n", framing) + body
    latencies: list[float] = []
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    askers = [
        (await loop.create_connection(lambda: Asker(request, started + seconds, latencies), HOST, port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(asker.ended for asker in askers))
    return sorted(latencies), time.perf_counter() - started


async def serve(port: int, answer_bytes: int, status: bytes) -> None:
    framing = [JSON, (b"content-length", b"%d" % answer_bytes)]
    answer = head(b"HTTP/1.1 %s\r\n" % status, framing) + b"x" * answer_bytes
    server = await asyncio.get_running_loop().create_server(lambda: Answerer(answer), HOST, port)
    await server.serve_forever()


@asynccontextmanager
async def process(core: int, *arguments: str) -> AsyncIterator[int]:
    """A Python process on one core; its pid."""
    running = await asyncio.create_subprocess_exec(
        "taskset", "-c", str(core % (os.cpu_count() or 1)), sys.executable, *arguments
    )
    try:
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        await running.wait()


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """The most memory that a process had resident."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


async def sent_share(client: HttpClient, admin_port: int) -> float | None:
    metrics = await client.send(b"GET", Url.parse(f"http://{HOST}:{admin_port}/metrics"), [], timeout_s=5)

    def total(name: str) -> float:
        lines = metrics.body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{"))

    captured = total("wayside_logger_events_captured_total")
    return total("wayside_logger_events_sent_total") / captured if captured else None


async def wait_ready(client: HttpClient, admin_port: int) -> None:
    for _ in range(100):
        try:
            await client.send(b"GET", Url.parse(f"http://{HOST}:{admin_port}/readyz"), [], timeout_s=1)
        except Unreachable:
            await asyncio.sleep(0.05)
        else:
            return
    raise SystemExit("the logger did not become ready")


async def measure(arguments: argparse.Namespace, body_bytes: int, connections: int, flags: Sequence[str]) -> Figures:
    """One run of one logger, after a second of warming up."""
    model, _, port, admin_port = arguments.ports
    ports = ("--port", str(port), "--admin-port", str(admin_port), "--component-port", str(model))
    client = HttpClient()
    async with process(0, "-m", "wayside.logger", "--host", HOST, *ports, *flags) as pid:
        await wait_ready(client, admin_port)
        await load(port, body_bytes, connections, 1.0)
        before = cpu_s(pid)
        latencies, elapsed_s = await load(port, body_bytes, connections, arguments.seconds)
        spent = cpu_s(pid) - before
        share = await sent_share(client, admin_port)
        figures = Figures(latencies, elapsed_s, spent, resident_mib(pid), share)
        await client.close()
    return figures


async def rows(arguments: argparse.Namespace) -> AsyncIterator[str]:
    model, sink, *_ = arguments.ports
    logging_on = ("--log-url", f"http://{HOST}:{sink}/ns/broker", "--workers", str(arguments.workers), "--grace", "1")
    async with process(1, __file__, "--serve", str(sink), "0", "202 Accepted"):
        for body_bytes in arguments.bytes:
            async with process(1, __file__, "--serve", str(model), str(body_bytes), "200 OK"):
                await asyncio.sleep(0.5)
                for connections in arguments.connections:
                    name = f"{body_bytes} B, {connections} connections"
                    yield (await measure(arguments, body_bytes, connections, ())).row(f"{name}, off")
                    yield (await measure(arguments, body_bytes, connections, logging_on)).row(f"{name}, logging")


async def run(arguments: argparse.Namespace) -> None:
    print(f"{'logger on one core':34}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'MiB':>9}{'sent':>7}")
    async for row in rows(arguments):
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--bytes", type=int, nargs="+", default=[200, 100_000], help="of a request's and answer's body")
    parser.add_argument("--workers", type=int, default=16, help="the logger's connections to the log url")
    parser.add_argument("--ports", type=int, nargs=4, default=[18080, 18610, 19081, 19082])
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        port, size, status = arguments.serve
        return uvloop.run(serve(int(port), int(size), status.encode()))
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    uvloop.run(run(arguments))


if __name__ == "__main__":
    main()
