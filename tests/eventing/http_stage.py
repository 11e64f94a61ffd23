"""A server on a real socket, and raw connections to it: bytes in, bytes out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits

PATIENCE_S = 10
LIMITS = ServerLimits(body_bytes=1000, head_bytes=500, idle_s=30)


async def echo(request: Request) -> Response:
    said = b" ".join((request.method, request.target, request.body))
    return Response(200, [(b"x-header", request.header(b"x") or b"")], said)


class Client:
    """A raw connection: bytes in, bytes out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, bodiless: bool = False) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the next response."""
        async with asyncio.timeout(PATIENCE_S):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
            headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
            length = 0 if bodiless else int(headers.get(b"content-length", b"0"))
            return int(lines[0].split()[1]), headers, await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """What comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()


@asynccontextmanager
async def serving(handler: Any = echo, limits: ServerLimits = LIMITS) -> AsyncIterator[HttpServer]:
    server = HttpServer(handler, "127.0.0.1", 0, limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_s=0.1)


@asynccontextmanager
async def connected(server: HttpServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def talking(handler: Any = echo, limits: ServerLimits = LIMITS) -> AsyncIterator[Client]:
    async with serving(handler, limits) as server, connected(server) as client:
        yield client
