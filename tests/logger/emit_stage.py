"""What the tests of the emitter's carriers share: a sink of raw bytes, and emitters that are stopped in the end."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from wayside.eventing.event import CloudEvent
from wayside.eventing.http_binding import decode_batched
from wayside.eventing.json_format import Refusal
from wayside.eventing.vocabulary import METADATA, REQUEST
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.emitter import Emitter
from wayside.logger.emit.log_sink import log_sink
from wayside.logger.settings import Delivery

HOST = "127.0.0.1"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
Answer = Callable[["Exchange"], Awaitable[None]]


def an_event(number: int, data: bytes = b'{"instances": [[1]]}') -> CloudEvent:
    return CloudEvent(
        str(number), "pod", REQUEST, data, datacontenttype="application/json", extensions={METADATA: "{}"}
    )


@dataclass
class Posted:
    """A request as it came."""

    start_line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def events(self) -> list[CloudEvent]:
        events = decode_batched(self.headers, self.body)
        assert not [event for event in events if isinstance(event, Refusal)]
        return [event for event in events if isinstance(event, CloudEvent)]


@dataclass
class Exchange:
    """A request, and the connection to answer on; both are numbered from 0."""

    posted: Posted
    writer: asyncio.StreamWriter
    connection: int
    number: int

    def say(self, data: bytes) -> None:
        self.writer.write(data)


@dataclass
class RawSink:
    """Reads requests and has them answered by `answer`. `accepted` are the events of those that were given a 202."""

    answer: Answer
    tls: ssl.SSLContext | None = None
    posts: list[Posted] = field(default_factory=list)
    accepted: list[CloudEvent] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://{HOST}:{self.port}/ns/broker?q=%7B1"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["RawSink"]:
        server = await asyncio.start_server(self._serve, HOST, self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.writers:
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self.writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while not writer.is_closing():
                posted = await _read(reader)
                self.posts.append(posted)
                await self.answer(Exchange(posted, writer, number, len(self.posts) - 1))
                await writer.drain()
        writer.close()

    async def accept(self, exchange: Exchange) -> None:
        self.accepted += exchange.posted.events
        exchange.say(ACCEPTED)

    @property
    def ids(self) -> set[int]:
        return {int(event.id) for event in self.accepted}


async def _read(reader: asyncio.StreamReader) -> Posted:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    length = int(dict(headers)[b"content-length"])
    return Posted(first, headers, await reader.readexactly(length))


def accepting(tls: ssl.SSLContext | None = None) -> RawSink:
    """A sink that takes everything."""
    sink = RawSink(answer=_nothing, tls=tls)
    sink.answer = sink.accept
    return sink


async def _nothing(_: Exchange) -> None:
    return


@dataclass
class Emitting:
    """An emitter that runs."""

    emitter: Emitter
    counts: LoggerCounts

    def offer(self, *events: CloudEvent) -> None:
        for event in events:
            self.emitter.offer(event)

    @property
    def sent(self) -> int:
        return sum(self.counts.sent.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.002)


@asynccontextmanager
async def emitting(url: str, grace_s: float = 0.0, **changes: object) -> AsyncIterator[Emitting]:
    """An emitter to a log url; stopped with `grace_s`."""
    delivery = replace(Delivery(url, timeout_s=2.0), **changes)  # type: ignore[arg-type]
    counts = LoggerCounts()
    emitter = Emitter(log_sink(delivery), delivery, counts)
    await emitter.start()
    try:
        yield Emitting(emitter, counts)
    finally:
        await emitter.stop(grace_s)
