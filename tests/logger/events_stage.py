"""A model and a sink of raw bytes around a logger, ours or the agent: what the sink received is kept as it came."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from wayside.logger.cli import parse
from wayside.logger.service import PayloadLogger

HOST = "127.0.0.1"
ANNOTATIONS = "b/two=2,a/one=1"
FLAGS = (
    *("--source-uri", "digits-pod", "--log-mode", "all", "--inference-service", "digits", "--namespace", "default"),
    *("--endpoint", "", "--component", "predictor"),
    *("--metadata-headers", "X-Tenant,x-lower"),
)
_ENDS = b"\r\n\r\n"


def message(start: str, *lines: str, body: bytes = b"", length: bool = True) -> bytes:
    """A message of HTTP/1.1; `lines` are headers as they are to be written."""
    framing = [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([start, *lines, *framing, "", ""]).encode() + body


@dataclass(frozen=True)
class Post:
    """What came to the sink: names of headers in lower case, values as they came, and the body."""

    headers: list[tuple[str, bytes]]
    body: bytes

    @property
    def kind(self) -> str:
        return dict(self.headers)["ce-type"].decode().rsplit(".", 1)[1]


@dataclass
class Raw:
    """A server that keeps what it is sent, and answers with `answer`; it closes after one that is not whole."""

    answer: bytes
    is_whole: bool = True
    posts: list[Post] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                self.posts.append(await _read(reader))
                writer.write(self.answer)
                if not self.is_whole:
                    await writer.drain()
                    break
        writer.close()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.posts) < count:
                await asyncio.sleep(0.002)


async def _read(reader: asyncio.StreamReader) -> Post:
    _, *lines = (await reader.readuntil(_ENDS))[: -len(_ENDS)].split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    headers = [(name.decode().lower(), value.strip(b" ")) for name, _, value in pairs]
    fields = dict(headers)
    if fields.get("transfer-encoding") != b"chunked":
        return Post(headers, await reader.readexactly(int(fields.get("content-length", 0))))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return Post(headers, body)


@dataclass
class Scene:
    """`port` is the logger's."""

    model: Raw
    sink: Raw
    port: int

    async def ask(self, request: bytes) -> bytes:
        """What came back, until the connection was closed."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write(request)
        said = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                said = await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return said


@asynccontextmanager
async def _servers() -> AsyncIterator[tuple[Raw, Raw]]:
    model, sink = Raw(b""), Raw(message("HTTP/1.1 202 Accepted"))
    servers = []
    for raw in (model, sink):
        server = await asyncio.start_server(raw.serve, HOST, 0)
        raw.port = server.sockets[0].getsockname()[1]
        servers.append(server)
    yield model, sink
    for server in servers:
        server.close()


def _flags(model: Raw, sink: Raw, port: int) -> list[str]:
    where = ["--port", str(port), "--component-port", str(model.port), "--log-url", f"http://{HOST}:{sink.port}/x?y=1"]
    return [*where, *FLAGS, "--metadata-annotations", ANNOTATIONS]


@asynccontextmanager
async def our_scene(*more: str) -> AsyncIterator[Scene]:
    """Our logger, with the agent's flags and some more."""
    async with _servers() as (model, sink):
        ours = ("--host", HOST, "--admin-port", "0", "--revision", "digits-00001", "--quiet-period", "0")
        logger = PayloadLogger(parse([*_flags(model, sink, 0), *ours, *more], {}))
        await logger.start()
        try:
            yield Scene(model, sink, logger.port)
        finally:
            await logger.stop()


@asynccontextmanager
async def agent_scene(program: str, *more: str) -> AsyncIterator[Scene]:
    """KServe's agent."""
    async with _servers() as (model, sink):
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        flags: Sequence[str] = [program, *_flags(model, sink, port), *more]
        environ = {**os.environ, "SERVING_READINESS_PROBE": ""}
        with subprocess.Popen(flags, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
            try:
                await _listening(port)
                yield Scene(model, sink, port)
            finally:
                agent.kill()


async def _listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return
            await asyncio.sleep(0.02)
