"""The demo's client: requests at a given rate, through the logger and beside it, at the same time and of one kind.

Invariant: every request that was sent has exactly one answer in the ledger, with status 0 where none came; nothing
that a server does, or fails to do, ends the traffic.

The load is open: requests are sent at the times of a Poisson process, whether or not earlier ones were answered, so
that a slow answer delays no other and both routes meet the model server in the same states (Wolff's PASTA). Only when
`limit_in_flight` requests wait is the next one held back.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.local.demo.ledger import NO_ANSWER, Answer, Route
from wayside.local.demo.population import Draw, Population, Stream

Progress = Callable[[Answer], None]
JSON = (b"content-type", b"application/json")
_CHUNK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Load:
    """How hard to drive. Rates are requests a second; a request has 1 to `max_rows` rows, all sizes as likely."""

    through_per_s: float = 40.0
    direct_per_s: float = 8.0
    max_rows: int = 8
    limit_in_flight: int = 64
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the model answers: by way of the logger, and alone. Base URLs without a path; `model` is its name.

    Without `direct` nothing is sent beside the logger.
    """

    through: str
    model: str
    direct: str = ""

    def url(self, route: Route, protocol: str) -> Url:
        """The URL of one route in protocol 'v1' or 'v2'. Raises `ConfigurationError` for a bad base."""
        base = (self.direct or self.through if route is Route.DIRECT else self.through).rstrip("/")
        path = f"v1/models/{self.model}:predict" if protocol == "v1" else f"v2/models/{self.model}/infer"
        return Url.parse(f"{base}/{path}")


def encode(rows: NDArray[np.float64], protocol: str, population: Population) -> bytes:
    """A request body: V1 `instances` or V2 tensors. Named features go by name: an object a row, a tensor a feature."""
    if protocol == "v1":
        return _dump({"instances": [_instance(row, population.names) for row in rows.tolist()]})
    if population.names is None:
        return _dump({"inputs": [_tensor(population.tensor, [len(rows), population.features], rows)]})
    columns = zip(population.names, rows.T, strict=True)
    return _dump({"inputs": [_tensor(name, [len(rows), 1], column) for name, column in columns]})


def _instance(row: list[float], names: Sequence[str] | None) -> object:
    return row if names is None else dict(zip(names, row, strict=True))


def _tensor(name: str, shape: list[int], values: NDArray[np.float64]) -> dict[str, object]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": values.ravel().tolist()}


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Books(Protocol):
    """Where answers are written down: the demo's ledger."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def record(self, answer: Answer) -> None:
        """Keep one answer; never waits."""


class Traffic:
    """The client of one demo. The caller starts and stops the books, and closes the HTTP client."""

    def __init__(
        self, http: HttpClient, targets: Targets, ledger: Books, population: Population, load: Load | None = None
    ) -> None:
        self._http = http
        self._beside = bool(targets.direct)
        self._ledger = ledger
        self.population = population
        self.load = load or Load()
        self._urls = {(route, protocol): targets.url(route, protocol) for route in Route for protocol in ("v1", "v2")}

    async def run(
        self,
        phase: str,
        draw: Draw,
        rows: int,
        *,
        on_answer: Progress = lambda _: None,
        may_end: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send `rows` rows through the logger, more while `may_end()` is false, and the direct ones beside them.

        Returns when every request has its answer. `on_answer` is called with each; both routes' rows come from
        streams of their own, so that the monitored rows do not depend on the comparison.
        """
        through = _Lane(self, phase, Route.THROUGH, draw, on_answer)
        direct = _Lane(self, phase, Route.DIRECT, draw, on_answer)
        await asyncio.gather(through.prepare(), direct.prepare())
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            if self._beside:
                group.create_task(direct.drive(self.load.direct_per_s, over.is_set))
            await through.drive(self.load.through_per_s, may_end, rows)
            over.set()

    async def ask(self, phase: str, route: Route, protocol: str, rows: NDArray[np.float64]) -> Answer:
        """One request and its answer, recorded in the ledger."""
        request_id = str(uuid4())
        headers = [JSON, (b"x-request-id", request_id.encode())]
        body, url = encode(rows, protocol, self.population), self._urls[route, protocol]
        sent, begun, status = self._ledger.now(), perf_counter(), NO_ANSWER
        try:
            with suppress(Unreachable, SinkUnavailable):
                response = await self._http.send(b"POST", url, headers, body, timeout_s=self.load.timeout_s)
                status = response.status
        finally:  # a cancelled request may have reached the model all the same
            answer = Answer(sent, route, request_id, len(rows), status, perf_counter() - begun, phase)
            self._ledger.record(answer)
        return answer

    def stream(self, phase: str, route: Route) -> Stream:
        """The rows that a phase sends on a route."""
        return self.population.stream(f"traffic {phase} {route.value}")

    def choices(self, phase: str, route: Route) -> np.random.Generator:
        """What decides gaps, sizes and protocols; apart from the stream of rows."""
        return self.population.stream(f"pace {phase} {route.value}").rng


class _Lane:
    """One route's requests during one phase."""

    def __init__(self, traffic: Traffic, phase: str, route: Route, draw: Draw, on_answer: Progress) -> None:
        self._traffic = traffic
        self._phase = phase
        self._route = route
        self._draw = draw
        self._on_answer = on_answer
        self._stream = traffic.stream(phase, route)
        self._rng = traffic.choices(phase, route)
        self._slots = asyncio.Semaphore(traffic.load.limit_in_flight)
        self._rows = np.empty((0, traffic.population.features))

    async def prepare(self) -> None:
        """Draw the next rows in a thread, so that drawing shows in no latency."""
        sample = await asyncio.to_thread(self._draw, self._stream, _CHUNK_ROWS)
        self._rows = np.concatenate([self._rows, sample.rows])

    async def drive(self, rate_per_s: float, may_end: Callable[[], bool], rows: int = 0) -> None:
        """Send at the rate until at least `rows` rows are out and `may_end()` holds; then wait for every answer.

        Exactly `rows` rows are sent where `may_end()` holds by then.
        """
        sent, due = 0, asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as in_flight:
            while sent < rows or not may_end():
                due += self._rng.exponential(1 / rate_per_s)
                await _wait_until(due)
                await self._slots.acquire()
                batch = await self._take(self._size(rows - sent))
                protocol = "v1" if self._rng.random() < 0.5 else "v2"
                in_flight.create_task(self._ask(protocol, batch))
                sent += len(batch)

    def _size(self, left: int) -> int:
        size = int(self._rng.integers(1, self._traffic.load.max_rows, endpoint=True))
        return min(size, left) if left > 0 else size

    async def _ask(self, protocol: str, batch: NDArray[np.float64]) -> None:
        try:
            self._on_answer(await self._traffic.ask(self._phase, self._route, protocol, batch))
        finally:
            self._slots.release()

    async def _take(self, size: int) -> NDArray[np.float64]:
        if len(self._rows) < size:
            await self.prepare()
        batch, self._rows = self._rows[:size], self._rows[size:]
        return batch


async def _wait_until(due: float) -> None:
    await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
