"""Sinks that misbehave, each a process: `slow` answers 202 after 2 s, `hanging` takes connections and never answers."""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

_SLOW_S = 2.0
_ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Hanging(asyncio.Protocol):
    """Reads what comes and says nothing."""


class Slow(asyncio.Protocol):
    """Answers each request so long after its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        asyncio.get_running_loop().call_later(_SLOW_S, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


SINKS = {"slow": Slow, "hanging": Hanging}


async def serve(kind: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(SINKS[kind], "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
