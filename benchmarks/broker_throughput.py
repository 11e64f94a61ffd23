"""The embedded broker alone: durable events/s taken and delivered, and how long an event's 202 takes."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response, head
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.identity import mint_event_id

MANIFEST = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: bench}
spec:
  broker: default
  filter: {attributes: {type: bench}}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: bench}}
"""


class Sender(asyncio.Protocol):
    """One connection in a closed loop: the next event goes out when the last one's answer is in."""

    def __init__(self, requests: Iterator[bytes], until: float, latencies_s: list[float]) -> None:
        self._requests = requests
        self._until = until
        self._latencies_s = latencies_s
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self._send()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not data.startswith(b"HTTP/1.1 202") or not data.endswith(b"\r\n\r\n"):
            self.ended.set_exception(RuntimeError(f"answered {data[:200]!r}"))
        self._latencies_s.append(now - self._sent)
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.ended.set_result(None)

    def _send(self) -> None:
        request = next(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(request)


def requests(data: bytes) -> Iterator[bytes]:
    """The bytes of one event after another, each with an id of its own, at little cost."""
    placeholder = "0" * 36
    headers, body = encode_binary(CloudEvent(placeholder, "/bench", "bench", data, datacontenttype="application/json"))
    framing = [(b"host", b"bench"), (b"content-length", b"%d" % len(body))]
    before, _, after = head(b"POST /default/default HTTP/1.1\r\n", framing + headers).partition(placeholder.encode())
    while True:
        yield before + mint_event_id().encode() + after + body


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies are of the 202, in seconds, sorted. `delivered` is the count when the last event was taken."""

    latencies_s: Sequence[float]
    sent_s: float
    delivered: int
    drained_s: float

    def quantile_ms(self, share: float) -> float:
        return self.latencies_s[min(len(self.latencies_s) - 1, int(share * len(self.latencies_s)))] * 1e3


async def measure(port: int, admin_port: int, arguments: argparse.Namespace) -> Figures:
    """Send for so many seconds, then wait until everything is delivered."""
    latencies: list[float] = []
    started = time.perf_counter()
    until = started + arguments.seconds
    loop = asyncio.get_running_loop()
    source = requests(b'"' + b"x" * (arguments.bytes - 2) + b'"')
    senders = [
        (await loop.create_connection(lambda: Sender(source, until, latencies), "127.0.0.1", port))[1]
        for _ in range(arguments.connections)
    ]
    await asyncio.gather(*(sender.ended for sender in senders))
    sent_s = time.perf_counter() - started
    client = HttpClient()
    delivered = (await view(client, admin_port))["delivered"]
    while (await view(client, admin_port))["waiting"]:  # noqa: ASYNC110 - another process cannot set an event
        await asyncio.sleep(0.02)
    await client.close()
    return Figures(sorted(latencies), sent_s, delivered, time.perf_counter() - started)


async def view(client: HttpClient, admin_port: int) -> dict[str, Any]:
    url = Url.parse(f"http://127.0.0.1:{admin_port}/triggers")
    response = await client.send(b"GET", url, [], timeout_s=30)
    trigger: dict[str, Any] = json.loads(response.body)["triggers"][0]
    return trigger


async def subscribe(port: int) -> None:
    """The subscriber: takes everything."""

    async def take(_: Request) -> Response:
        return Response(200)

    server = HttpServer(take, "127.0.0.1", port)
    await server.start()
    await asyncio.Event().wait()


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[None]:
    running = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        await running.wait()


async def wait_ready(admin_port: int) -> None:
    client = HttpClient()
    url = Url.parse(f"http://127.0.0.1:{admin_port}/readyz")
    for _ in range(200):
        try:
            if (await client.send(b"GET", url, [], timeout_s=1)).status == 200:
                return await client.close()
        except Unreachable:
            await asyncio.sleep(0.05)
    raise SystemExit("the broker did not become ready")


async def run(arguments: argparse.Namespace, folder: Path) -> Figures:
    manifest = folder / "bench.yaml"
    manifest.write_text(MANIFEST)
    port, admin_port, subscriber_port = arguments.ports
    flags = ["--data", str(folder / "data"), "--manifest", str(manifest), "--port", str(port)]
    flags += ["--admin-port", str(admin_port), "--resolve", f"bench=http://127.0.0.1:{subscriber_port}/"]
    async with (
        process(__file__, "--subscriber", str(subscriber_port)),
        process("-m", "wayside.eventing.broker", *flags),
    ):
        await wait_ready(admin_port)
        return await measure(port, admin_port, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--bytes", type=int, default=200, help="data of one event")
    parser.add_argument(
        "--folder", type=Path, default=Path(".state"), help="the store is made in here (default: .state)"
    )
    parser.add_argument("--ports", type=int, nargs=3, default=[18610, 18611, 18612])
    parser.add_argument("--subscriber", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.subscriber:
        return uvloop.run(subscribe(arguments.subscriber))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bench-broker-") as folder:
        figures = uvloop.run(run(arguments, Path(folder)))
    taken = len(figures.latencies_s)
    print(f"{arguments.connections} connections, {arguments.bytes} B of data, one matching Trigger")
    print(f"  {'taken, on disk before the 202':34}{taken / figures.sent_s:9.0f} events/s")
    print(f"  {'delivered in the same time':34}{figures.delivered / figures.sent_s:9.0f} events/s")
    print(f"  {'delivered over all':34}{taken / figures.drained_s:9.0f} events/s")
    print(f"  {'time to the 202, p50 / p99':34}{figures.quantile_ms(0.5):9.1f} / {figures.quantile_ms(0.99):.1f} ms")


if __name__ == "__main__":
    main()
