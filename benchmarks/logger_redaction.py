"""What redacting 2 MB bodies costs 1 kB requests: their p99 on a loop that hands bodies to the second process, and on
one that throws the same bodies away. Rounds alternate; the medians of the rounds are compared.

Invariant: loop and second process are on the same cores, all of them or, if so told, one; the client is on all.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from dataclasses import dataclass
from itertools import chain, cycle
from statistics import median

import uvloop
from logger_load import people

from wayside.eventing.event import CloudEvent
from wayside.eventing.vocabulary import METADATA, REQUEST
from wayside.logger.counts import LoggerCounts
from wayside.logger.redaction.rules import parse_rule
from wayside.logger.redaction.side_process import SideProcess
from wayside.logger.settings import SideWork

HOST = "127.0.0.1"
LARGE_BYTES, SMALL_BYTES = 2_000_000, 1_000
CONNECTIONS, PAUSE_S = 8, 0.004
WAYS = ("thrown away", "redacted")


class Nowhere:
    """An outlet that counts."""

    def __init__(self) -> None:
        self.taken = 0

    def offer(self, event: CloudEvent) -> None:
        self.taken += 1


class Echo(asyncio.Protocol):
    """Answers every `SMALL_BYTES` with as many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._seen = transport, 0

    def data_received(self, data: bytes) -> None:
        self._seen += len(data)
        while self._seen >= SMALL_BYTES:
            self._seen -= SMALL_BYTES
            self._transport.write(b"a" * SMALL_BYTES)  # type: ignore[attr-defined]


async def serve(way: str, per_second: float, rule: str) -> None:
    """The loop under load: small requests, and a large body every so often; ends with its standard input."""
    nowhere = Nowhere()
    side = SideProcess(SideWork((parse_rule(rule),)), nowhere, LoggerCounts())
    server = await asyncio.get_running_loop().create_server(Echo, HOST)
    if way == "redacted":
        await side.start()
        while side.pid is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    print(server.sockets[0].getsockname()[1], flush=True)
    outlet, body = side if way == "redacted" else nowhere, people(LARGE_BYTES)
    while os.getppid() != 1:
        outlet.offer(CloudEvent("1", "pod", REQUEST, body, None, "application/json", extensions={METADATA: "{}"}))
        print(nowhere.taken, flush=True)
        await asyncio.sleep(1 / per_second)


@dataclass(frozen=True, slots=True)
class Round:
    """What the small requests of a round saw, and how many large bodies went through meanwhile."""

    p50_ms: float
    p99_ms: float
    requests: int
    bodies: int


async def measure(way: str, arguments: argparse.Namespace) -> Round:
    cores = sorted(os.sched_getaffinity(0))
    pinned = ("taskset", "-c", str(cores[-1])) if arguments.one_core else ()
    told = ("--serve", way, "--per-second", str(arguments.per_second), "--rule", arguments.rule)
    process = await asyncio.create_subprocess_exec(
        *pinned, sys.executable, __file__, *told, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    runs = (_client(port, arguments.seconds) for _ in range(CONNECTIONS))
    latencies = sorted(chain.from_iterable(await asyncio.gather(*runs)))
    process.kill()
    counts = (await process.stdout.read()).split()
    p50_ms, p99_ms = (latencies[int(share * len(latencies))] * 1e3 for share in (0.5, 0.99))
    await process.wait()
    return Round(p50_ms, p99_ms, len(latencies), int(counts[-1]))


async def _client(port: int, seconds: float) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    latencies, started = list[float](), time.perf_counter()
    while (before := time.perf_counter()) - started < seconds:
        writer.write(b"q" * SMALL_BYTES)
        await reader.readexactly(SMALL_BYTES)
        latencies.append(time.perf_counter() - before)
        await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))
    writer.close()
    return latencies


async def compare(arguments: argparse.Namespace) -> None:
    rounds: dict[str, list[Round]] = {way: [] for way in WAYS}
    for way, _ in zip(cycle(WAYS), range(2 * arguments.rounds), strict=False):
        rounds[way].append(await measure(way, arguments))
    print("| 2 MB bodies | bodies/s | requests/s | p50 ms | p99 ms | p99 ms of each round |\n|---|---|---|---|---|---|")
    for way, seen in rounds.items():
        rate = sum(each.requests for each in seen) / arguments.seconds / len(seen)
        bodies = sum(each.bodies for each in seen) / arguments.seconds / len(seen)
        each = ", ".join(f"{each.p99_ms:.2f}" for each in seen)
        p50_ms, p99_ms = median(each.p50_ms for each in seen), median(each.p99_ms for each in seen)
        print(f"| {way} | {bodies:.1f} | {rate:.0f} | {p50_ms:.2f} | {p99_ms:.2f} | {each} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of each way")
    parser.add_argument("--per-second", type=float, default=5, help="large bodies")
    parser.add_argument("--rule", default="column:ssn=mask")
    parser.add_argument("--one-core", action="store_true", help="loop and second process share one core")
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve, arguments.per_second, arguments.rule))
    else:
        uvloop.run(compare(arguments))


if __name__ == "__main__":
    main()
