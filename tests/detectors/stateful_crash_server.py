"""A stateful detector's service that may be killed: run with a folder, it forks a child for each line that it reads.

Invariant: each child is a process of its own that opens the store, serves on a port of its own, and says
`ready PORT PID`; what is dear, the imports, is paid once, before the first fork.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.serving.batching import BatchLimits
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.stateful import open_stateful
from wayside.eventing.errors import MalformedEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http_binding import decode, encode_binary


async def serve(artifact: Path, data: Path) -> None:
    """Answers until it is told to stop, or killed."""
    fitted = load_folder(artifact)
    service = open_stateful(fitted, fitted.identity(), data, DetectorMetrics(), BatchLimits())

    async def answer(request: Request) -> Response:
        try:
            judged = await service.answer(decode(request.headers, request.body))
        except MalformedEvent:
            return Response(400)
        if judged.reply is None:
            return Response(202)
        headers, body = encode_binary(judged.reply)
        return Response(200, headers, body)

    server = HttpServer(answer, "127.0.0.1", 0)
    await service.start()
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", server.port, os.getpid(), flush=True)
    await stopped.wait()
    await server.stop(1.0)
    await service.stop()


def main(artifact: str, data: str) -> None:
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(serve(Path(artifact), Path(data)))
            os._exit(0)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
