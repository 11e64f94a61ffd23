"""The soak's model server, a process of its own: answers with what it is asked, or with a stream of events.

Run as `python soak_model.py PORT`.
Invariant: connections are kept alive, and one that ends early costs nobody else anything.
"""

import asyncio
import re
import sys
from contextlib import suppress

HOST = "127.0.0.1"
STREAM_PATH = "/v1/stream"
_EVENTS = 5
_BETWEEN_S = 0.01
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LIMIT_BYTES = 4 << 20


def stream_of(body: bytes) -> list[bytes]:
    """The server-sent events that answer a body."""
    return [b"data: %d %b\n\n" % (number, body) for number in range(_EVENTS)]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            body = await reader.readexactly(int(found[1]) if found else 0)
            if head.split(b" ", 2)[1] == STREAM_PATH.encode():
                await _stream(writer, body)
            else:
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                writer.write(head + body)
            await writer.drain()
    writer.close()


async def _stream(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in stream_of(body):
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(_BETWEEN_S)
    writer.write(b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.start_server(_serve, HOST, port, limit=_LIMIT_BYTES)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
