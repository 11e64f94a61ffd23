"""A middleware around an app, a sink that keeps its events, and the server's side of ASGI, message by message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from logger_stage import HOST, EventSink, settings

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.server import HttpServer
from wayside.logger.asgi import PayloadLoggerMiddleware
from wayside.logger.asgi.messages import App, Message, Receive, Scope, Send
from wayside.logger.settings import LoggerSettings

PATH = "/v1/models/m:predict"
ASKED = b'{"instances": [[1, 2]]}'
JSON = (b"content-type", b"application/json")


def scope_of(method: str = "POST", path: str = PATH, headers: Iterable[tuple[bytes, bytes]] = (), **more: Any) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [JSON, *headers],
        **more,
    }


def piece(body: bytes, more_body: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more_body}


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [JSON, *headers]}


def data(body: bytes, more_body: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more_body}


async def read_all(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked."""
    body = await read_all(receive)
    await send(start())
    await send(data(body))


@dataclass
class AppStage:
    """A middleware that runs, and what it sent."""

    middleware: PayloadLoggerMiddleware
    sink: EventSink

    async def ask(self, *incoming: Message, scope: Scope | None = None) -> list[Message]:
        """What the server got of one request; a server that has told all waits, as for a client that stays."""
        waiting, sent = list(incoming), list[Message]()

        async def receive() -> Message:
            if not waiting:
                await asyncio.Event().wait()
            return waiting.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        size = sum(len(message.get("body", b"")) for message in incoming)
        length = [(b"content-length", b"%d" % size)] if size else []
        await self.middleware(scope or scope_of(headers=length), receive, send)
        return sent

    async def wait_events(self) -> list[CloudEvent]:
        """All events of the requests so far: the middleware flushes, as at a shutdown."""
        await live(self.middleware)
        return sorted(self.sink.events, key=lambda event: event.type)


@asynccontextmanager
async def living(app: App) -> AsyncIterator[None]:
    """A lifespan from its start to its end."""
    told, answered = asyncio.Queue[Message](), asyncio.Queue[Message]()
    lifespan = asyncio.ensure_future(app({"type": "lifespan"}, told.get, answered.put))
    for kind in ("startup", "shutdown"):
        told.put_nowait({"type": f"lifespan.{kind}"})
        answer = asyncio.ensure_future(answered.get())
        await asyncio.wait([answer, lifespan], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await lifespan  # which is over too early: it raises what the app raised
        assert answer.result() == {"type": f"lifespan.{kind}.complete"}
        if kind == "startup":
            yield
    await lifespan


async def live(app: App) -> None:
    async with living(app):
        pass


def with_lifespan(app: App) -> App:
    """An app of one function, with a lifespan that does nothing."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            await send({"type": f"lifespan.{kind}.complete"})

    return both


@asynccontextmanager
async def sink_of_events() -> AsyncIterator[tuple[EventSink, int]]:
    """A sink that takes events, and its port."""
    sink = EventSink()
    sink.free.set()
    server = HttpServer(sink.answer, HOST, 0)
    await server.start()
    yield sink, server.port
    sink.free.set()
    await server.stop()


@asynccontextmanager
async def around(
    app: App, change: Callable[[LoggerSettings], LoggerSettings] = lambda given: given
) -> AsyncIterator[AppStage]:
    """A middleware around an app of one function."""
    async with sink_of_events() as (sink, port):
        middleware = PayloadLoggerMiddleware(with_lifespan(app), change(settings(0, port)))
        yield AppStage(middleware, sink)
        await live(middleware)
        assert middleware.faults == 0
