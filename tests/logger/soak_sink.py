"""The soak's sink, a process of its own: keeps what it takes in a file, and behaves as it is told.

Run as `python soak_sink.py PORT FILE`; `POST /be/MOOD` changes how it behaves.
Invariant: an event is in the file, as one line of JSON written at once, before anybody is told that it was taken.
"""

import asyncio
import json
import os
import signal
import sys
import zlib
from enum import StrEnum
from pathlib import Path

from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http_binding import decode
from wayside.eventing.vocabulary import REQUEST_ID

HOST = "127.0.0.1"
_SLOW_S = 0.1


class Mood(StrEnum):
    """`SILENT` takes an event and never says so."""

    TAKING = "taking"
    SLOW = "slow"
    BUSY = "busy"
    SILENT = "silent"


class Sink:
    """Answers posts according to its mood."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._mood = Mood.TAKING

    async def answer(self, request: Request) -> Response:
        if request.path.startswith("/be/"):
            self._mood = Mood(request.path.removeprefix("/be/"))
            return Response(204)
        if self._mood is Mood.BUSY:
            return Response(503)
        if self._mood is Mood.SLOW:
            await asyncio.sleep(_SLOW_S)
        self._keep(decode(request.headers, request.body))
        if self._mood is Mood.SILENT:
            await asyncio.Event().wait()
        return Response(202)

    def _keep(self, event: CloudEvent) -> None:
        line = {
            "key": [event.source, event.id, event.type],
            "request_id": event.extensions[REQUEST_ID],
            "crc": zlib.crc32(event.data),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")


async def main(port: int, path: Path) -> None:
    server, ended = HttpServer(Sink(path).answer, HOST, port), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await server.start()
    await ended.wait()
    await server.stop(0.0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
