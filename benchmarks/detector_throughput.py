"""Scored rows a second through the HTTP row service: 1 and 256 rows an event, 32 connections, 18 features.

Invariant: the service is a process of its own, started as a user starts it; every answer is a 200, or the run fails.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop

from wayside.detectors.fit import FitSettings, fit_artifact
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.vocabulary import REQUEST

FEATURES = 18
QUIET = {"WAYSIDE_LOG_LEVEL": "WARNING"}


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of so many seconds came to."""

    events_per_s: float
    p50_ms: float
    p99_ms: float


def request(rows: int) -> CloudEvent:
    instances = np.round(np.random.default_rng(rows).normal(size=(rows, FEATURES)), 6).tolist()
    data = json.dumps({"instances": instances}).encode()
    return CloudEvent("1", "/bench", REQUEST, data, "2026-01-01T00:00:00Z", "application/json")


async def measure(url: Url, rows: int, connections: int, seconds: float) -> Result:
    """Closed loop: each connection sends its next event when the last is answered."""
    client, latencies = HttpClient(), list[float]()
    headers, body = encode_binary(request(rows))
    end = time.perf_counter() + seconds

    async def drive() -> None:
        while (start := time.perf_counter()) < end:
            response = await client.send(b"POST", url, headers, body, timeout_s=30)
            if response.status != 200:
                raise SystemExit(f"the service answered {response.status}: {response.body!r}")
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(drive() for _ in range(connections)))
    await client.close()
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return Result(len(latencies) / seconds, p50, p99)


async def wait_ready(url: Url) -> None:
    client = HttpClient()
    async with asyncio.timeout(60):
        while True:
            try:
                if (await client.send(b"GET", url, [], timeout_s=2)).status == 200:
                    break
            except Unreachable:
                await asyncio.sleep(0.1)
    await client.close()


def start(folder: Path, kind: str, ports: list[int]) -> "subprocess.Popen[bytes]":
    """Fit, and serve in a process of its own."""
    rows = np.random.default_rng(0).normal(size=(4000, FEATURES))
    fit_artifact(kind, rows, FitSettings()).artifact.save(folder / kind)
    flags = ["--artifact", str(folder / kind), "--port", str(ports[0]), "--admin-port", str(ports[1])]
    return subprocess.Popen([sys.executable, "-m", "wayside.detectors", *flags], env={**os.environ, **QUIET})


async def run(kind: str, ports: list[int], seconds: float) -> None:
    """Measure a service that listens, or soon will."""
    await wait_ready(Url.parse(f"http://127.0.0.1:{ports[1]}/readyz"))
    for size, connections in ((1, 1), (1, 32), (256, 32)):
        result = await measure(Url.parse(f"http://127.0.0.1:{ports[0]}/"), size, connections, seconds)
        print(
            f"{kind:12} {size:5} {connections:5} {result.events_per_s:9.0f} {result.events_per_s * size:9.0f}"
            f" {result.p50_ms:8.2f} {result.p99_ms:8.2f}",
            flush=True,
        )


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> int:
    parser = argparse.ArgumentParser(description="Scored rows a second through the HTTP row service.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    seconds = parser.parse_args().seconds
    print(f"{'kind':12} {'rows':>5} {'conn':>5} {'events/s':>9} {'rows/s':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for kind in ("mahalanobis", "knn"):
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ports = free_ports()
            service = start(Path(folder), kind, ports)
            try:
                runner.run(run(kind, ports, seconds))
            finally:
                service.terminate()
                service.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
