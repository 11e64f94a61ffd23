"""The soak's clients: steady small requests, streams, large bodies, and one that goes away in the middle.

Invariant: what was asked and answered is remembered by its X-Request-Id, with checksums of both bodies; whatever a
client would call an error is in `errors`.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from statistics import quantiles

from soak_model import STREAM_PATH, stream_of

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.url import Url

HOST = "127.0.0.1"
PREDICT_PATH = "/v1/models/m:predict"
_LARGE_BYTES = 256 << 10
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Habit:
    """So many clients that ask for `path` with bodies of a size, and wait between."""

    clients: int
    path: str
    size_bytes: int
    pause_s: float


_HABITS = (
    _Habit(6, PREDICT_PATH, 200, 0.02),
    _Habit(2, STREAM_PATH, 50, 0.05),
    _Habit(1, PREDICT_PATH, _LARGE_BYTES, 0.2),
)
_LEAVE_S = 0.1


@dataclass
class Clients:
    """All clients of one logger. `answered`: CRC-32 of the request's body and of the response's, by request id."""

    port: int
    name: str
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)
    _is_over: bool = False

    async def run(self, length_s: float) -> None:
        """Ask for so long; each finishes what it is doing then."""
        client = HttpClient()
        asking = [self._ask_on(client, habit) for habit in _HABITS for _ in range(habit.clients)]
        tasks = [asyncio.create_task(each) for each in (*asking, self._leave_on())]
        try:
            await asyncio.sleep(length_s)
            self._is_over = True
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()

    @property
    def p99_s(self) -> float:
        """Of the small requests."""
        return quantiles(self.latencies_s, n=100)[98]

    async def _repeat(self, step: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while not self._is_over:
            await step()
            await asyncio.sleep(pause_s)

    async def _ask_on(self, client: HttpClient, habit: _Habit) -> None:
        await self._repeat(lambda: self._ask(client, habit), habit.pause_s)

    async def _ask(self, client: HttpClient, habit: _Habit) -> None:
        loop = asyncio.get_running_loop()
        request_id = f"{self.name}-{next(self._numbers)}"
        body = request_id.encode().ljust(habit.size_bytes, b".")
        expected = b"".join(stream_of(body)) if habit.path == STREAM_PATH else body
        url, began_s = Url.parse(f"http://{HOST}:{self.port}{habit.path}"), loop.time()
        headers = [(b"x-request-id", request_id.encode())]
        try:
            response = await client.send(b"POST", url, headers, body, timeout_s=_TIMEOUT_S)
        except WaysideError as exc:
            self.errors.append(f"{request_id}: {exc}")
            return
        if response.status != 200 or response.body != expected:
            self.errors.append(f"{request_id}: {response.status} with {len(response.body)} bytes")
            return
        self.answered[request_id] = (zlib.crc32(body), zlib.crc32(expected))
        if habit is _HABITS[0]:
            self.latencies_s.append(loop.time() - began_s)

    async def _leave_on(self) -> None:
        await self._repeat(self._leave, _LEAVE_S)

    async def _leave(self) -> None:
        """By turns in the middle of a request, and in the middle of a stream."""
        number = next(self._numbers)
        path, sent = (PREDICT_PATH, b"half") if number % 2 else (STREAM_PATH, b"the whole")
        head = (
            f"POST {path} HTTP/1.1\r\nhost: m\r\nx-request-id: {self.name}-left-{number}\r\ncontent-length: 9\r\n\r\n"
        )
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(HOST, self.port)
            writer.write(head.encode() + sent)
            await writer.drain()
            if path == STREAM_PATH:
                await reader.read(64)
            writer.transport.abort()
