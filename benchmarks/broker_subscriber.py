"""A subscriber for the broker's benchmark, in a process of its own: PORT SECONDS, which each answer takes.

Invariant: it takes every event and looks at none.
"""

import asyncio
import sys

import uvloop

from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import Handler, HttpServer

_TAKEN = Response(202)


def handler(delay_s: float) -> Handler:
    """Answers at once, or each request after so long."""

    def take(_: Request) -> Response:
        return _TAKEN

    async def take_late(_: Request) -> Response:
        await asyncio.sleep(delay_s)
        return _TAKEN

    return take_late if delay_s else take


async def serve(port: int, delay_s: float) -> None:
    server = HttpServer(handler(delay_s), "127.0.0.1", port)
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
