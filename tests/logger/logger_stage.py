"""Real parts around a logger: a model server of raw bytes, a sink that keeps events, and the logger before them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.client import HttpClient
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.http_binding import decode
from wayside.eventing.vocabulary import ServiceKey
from wayside.logger.service import PayloadLogger
from wayside.logger.settings import Capture, Delivery, Identity, Listen, LoggerSettings, Upstream

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"


@dataclass
class EventSink:
    """Keeps what is posted; answers `statuses` first, then 202; `blocked` holds every answer back."""

    events: list[CloudEvent] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    posts: int = 0

    async def answer(self, request: Request) -> Response:
        self.posts += 1
        await self.free.wait()
        if self.statuses:
            return Response(self.statuses.pop(0))
        self.events.append(decode(request.headers, request.body))
        return Response(202)

    async def wait_for(self, count: int) -> list[CloudEvent]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                await asyncio.sleep(0.005)
        return self.events

    def of(self, kind: str) -> list[CloudEvent]:
        return [event for event in self.events if event.type.endswith(kind)]


@dataclass
class Stage:
    """A logger that runs, what is behind it, and a client."""

    logger: PayloadLogger
    sink: EventSink
    client: HttpClient

    def url(self, path: str = "/v1/models/m:predict") -> Url:
        return Url.parse(f"http://{HOST}:{self.logger.port}{path}")

    async def post(self, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
        json = (b"content-type", b"application/json")
        return await self.client.send(b"POST", self.url(), [json, *headers], body, timeout_s=10)

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        url = Url.parse(f"http://{HOST}:{self.logger.admin_port}/metrics")
        text = (await self.client.send(b"GET", url, [], timeout_s=5)).body.decode()
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def talk(self, *pieces: bytes, until: bytes = b"") -> bytes:
        """Raw bytes to the logger, piece by piece; what came back until the close, or until it ends with `until`."""
        reader, writer = await asyncio.open_connection(HOST, self.logger.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        said = b""
        async with asyncio.timeout(10):
            while not (until and said.endswith(until)) and (more := await reader.read(65536)):
                said += more
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return said


def settings(model_port: int, sink_port: int) -> LoggerSettings:
    service = ServiceKey("default", "digits", "predictor", "")
    return LoggerSettings(
        listen=Listen(HOST, 0, HOST, 0),
        upstream=Upstream(HOST, model_port),
        capture=Capture(metadata_headers=frozenset({"x-tenant"})),
        identity=Identity("digits-pod", service),
        delivery=Delivery(f"http://{HOST}:{sink_port}/ns/broker?q=1", timeout_s=2.0),
        grace_s=5.0,
    )


async def echo(request: Request) -> Response:
    """A model that answers with what it was asked."""
    return Response(200, [(b"content-type", b"application/json")], request.body or b"{}")


@asynccontextmanager
async def staged(
    model: Callable[[Request], Awaitable[Response]] = echo,
    change: Callable[[LoggerSettings], LoggerSettings] = lambda given: given,
) -> AsyncIterator[Stage]:
    """A logger before a model of whole messages."""
    server = HttpServer(model, HOST, 0)
    await server.start()
    async with before(server.port, change) as stage:
        yield stage
    await server.stop()


@asynccontextmanager
async def staged_raw(serve: Serve) -> AsyncIterator[Stage]:
    """A logger before a model that is a function over raw streams."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, HOST, 0)
    async with before(server.sockets[0].getsockname()[1]) as stage:
        yield stage
    server.close()


@asynccontextmanager
async def before(
    model_port: int, change: Callable[[LoggerSettings], LoggerSettings] = lambda given: given
) -> AsyncIterator[Stage]:
    """A logger before whatever listens on a port."""
    sink = EventSink()
    sink.free.set()
    events = HttpServer(sink.answer, HOST, 0)
    await events.start()
    logger, client = PayloadLogger(change(settings(model_port, events.port))), HttpClient()
    await logger.start()
    try:
        yield Stage(logger, sink, client)
    finally:
        sink.free.set()
        await client.close()
        await logger.stop()
        await events.stop()


def with_delivery(given: LoggerSettings, **changes: object) -> LoggerSettings:
    return replace(given, delivery=replace(given.delivery, **changes))  # type: ignore[arg-type]
