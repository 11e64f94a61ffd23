"""The whole loop: req/s and latency of the model alone and through the logger, durable events/s, scored rows/s."""

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from wayside.eventing.clock import format_time
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import encode_binary
from wayside.eventing.identity import mint_event_id
from wayside.eventing.vocabulary import REQUEST, ServiceKey
from wayside.local.composition import LOOPBACK
from wayside.local.demo.phases import WINDOW_ROWS
from wayside.local.demo.prepare import DRIFT, OUTLIER, WELL_KNOWN_PORTS, DemoSettings, Prepared, prepare
from wayside.local.processes import Process
from wayside.local.readings import Readings
from wayside.local.supervisor import Supervisor

JSON = (b"content-type", b"application/json")
Send = Callable[[HttpClient], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Load:
    """What one closed loop saw: the seconds each exchange took, and how long the loop lasted."""

    latencies_s: Sequence[float]
    elapsed_s: float

    @property
    def rate(self) -> float:
        return len(self.latencies_s) / self.elapsed_s

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3


async def closed_loop(send: Send, connections: int, seconds: float) -> Load:
    """`connections` clients, each sending its next request once it has the answer to its last."""
    client = HttpClient(idle_limit=connections)
    latencies: list[float] = []
    started = time.perf_counter()

    async def run() -> None:
        while (before := time.perf_counter()) - started < seconds:
            status = await send(client)
            if status >= 300:
                raise SystemExit(f"a request of the benchmark was answered {status}")
            latencies.append(time.perf_counter() - before)

    await asyncio.gather(*(run() for _ in range(connections)))
    await client.close()
    return Load(latencies, time.perf_counter() - started)


def predict(prepared: Prepared, port: int) -> Send:
    """One V1 request of one row."""
    url = Url.parse(f"http://{LOOPBACK}:{port}/v1/models/digits:predict")
    rows = prepared.population.stream("bench").ordinary(256).rows.tolist()
    bodies = itertools.cycle([json.dumps({"instances": [row]}).encode() for row in rows])

    async def send(client: HttpClient) -> int:
        return (await client.send(b"POST", url, [JSON], next(bodies), timeout_s=60)).status

    return send


def post_event(prepared: Prepared, target: str, rows: int) -> Send:
    """One request event of `rows` rows under a fresh id."""
    url = Url.parse(target)
    sample = prepared.population.stream("bench events").ordinary(rows).rows.tolist()
    data = json.dumps({"instances": sample}).encode()
    extensions = ServiceKey("default", "bench", "predictor", "").extensions()

    async def send(client: HttpClient) -> int:
        time_text = format_time(time.time_ns())
        event = CloudEvent(
            mint_event_id(), "bench", REQUEST, data, time_text, "application/json", None, None, extensions
        )
        headers, body = encode_binary(event)
        return (await client.send(b"POST", url, headers, body, timeout_s=60)).status

    return send


ROUTES = {
    "model": "model server alone",
    "proxy": "through the logger, capture off",
    "logger": "through the logger, the whole loop behind it",
}


async def compare(prepared: Prepared, ports: dict[str, int], flags: argparse.Namespace) -> Table:
    """The routes in turn, so that a machine that drifts hits all alike. Every process shares the machine's cores."""
    sends = [predict(prepared, ports[route]) for route in ROUTES]
    rounds = []
    for send in sends:
        await closed_loop(send, flags.connections, 1)
    for _ in range(flags.rounds):
        rounds.append([await closed_loop(send, flags.connections, flags.seconds) for send in sends])
    table = Table(title=f"{flags.connections} connections, {flags.rounds} rounds of {flags.seconds:g} s, medians")
    for column in ("", "per second", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, loads in zip(ROUTES.values(), zip(*rounds, strict=True), strict=True):
        table.add_row(name, *_figures(loads))
    for number, route in ((1, "proxy"), (2, "logger")):
        ratios = [
            median(figure(loads[number]) / figure(loads[0]) for loads in rounds)
            for figure in (_rate, _quantile(0.5), _quantile(0.99))
        ]
        table.add_row(f"ratio to the model alone: {route}", *(f"{ratio:.2f}" for ratio in ratios))
    table.add_section()
    return table


def _rate(load: Load) -> float:
    return load.rate


def _quantile(share: float) -> Callable[[Load], float]:
    return lambda load: load.quantile_ms(share)


def _figures(loads: Sequence[Load], rows: int = 1) -> list[str]:
    rate = median(load.rate for load in loads) * rows
    return [f"{rate:,.0f}", *(f"{median(load.quantile_ms(share) for load in loads):.1f}" for share in (0.5, 0.99))]


async def _wait_settled(prepared: Prepared) -> None:
    """What the load before left on its way must not be paid for by the figures after it."""
    readings = Readings(prepared.composition, DRIFT, WINDOW_ROWS)
    await readings.wait_settled(60)
    await readings.close()


def _proxy(ports: dict[str, int]) -> Process:
    """One more logger, which captures nothing."""
    port, admin_port = ports["proxy"], ports["proxy"] + 1
    flags = ("--port", str(port), "--admin-port", str(admin_port), "--component-port", str(ports["model"]))
    return Process("proxy", ("logger", *flags), f"http://{LOOPBACK}:{admin_port}/readyz", "a proxy")


async def measure(flags: argparse.Namespace, folder: Path) -> Table:
    """Start everything, measure, stop everything."""
    ports = {**WELL_KNOWN_PORTS, "proxy": 9091}
    prepared = await prepare(DemoSettings(folder / "state", Path(__file__).parents[1], ports))
    supervisor = Supervisor([*prepared.processes(), _proxy(ports)], folder / "logs")
    try:
        await supervisor.start()
        table = await compare(prepared, ports, flags)
        await _wait_settled(prepared)
        events = post_event(prepared, f"http://{LOOPBACK}:{ports['broker']}/default/default", 1)
        load = await closed_loop(events, flags.connections, flags.seconds)
        table.add_row("durable events (broker, all triggers live)", *_figures([load]))
        for rows in (1, 64):
            scored = post_event(prepared, f"http://{LOOPBACK}:{ports[OUTLIER]}/", rows)
            load = await closed_loop(scored, flags.connections, flags.seconds)
            table.add_row(f"scored rows (outlier detector, {rows} a request)", *_figures([load], rows))
    finally:
        await supervisor.stop()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Console().print(asyncio.run(measure(flags, Path(folder))))


if __name__ == "__main__":
    main()
