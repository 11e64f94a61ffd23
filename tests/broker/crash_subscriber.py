"""A subscriber that may be killed: PORT FILE SECONDS [REPLY-TYPE].

Invariant: an event's id is in the file before its answer goes out. Written, not synced: that outlives this process.
"""

import asyncio
import os
import sys

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http_binding import decode, encode_binary


class Recorder:
    """Answers each event after so long, with a reply of its own where a type for it is given."""

    def __init__(self, file: str, delay_s: float, reply_type: str) -> None:
        self._file = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self._delay_s = delay_s
        self._reply_type = reply_type

    async def answer(self, request: Request) -> Response:
        event = decode(request.headers, request.body)
        await asyncio.sleep(self._delay_s)
        os.write(self._file, f"{event.id}\n".encode())
        if not self._reply_type:
            return Response(202)
        return Response(200, *encode_binary(CloudEvent(event.id, "/replies", self._reply_type, b"{}")))


async def serve(port: int, file: str, delay_s: float, reply_type: str = "") -> None:
    server = HttpServer(Recorder(file, delay_s, reply_type).answer, "127.0.0.1", port)
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), *sys.argv[4:]))
