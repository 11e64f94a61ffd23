"""A drift service that may be killed: run with a folder, it forks a child for each line that it reads.

Invariant: each child is a process of its own that opens the store, serves on a port of its own, and says
`ready PORT PID`; what is dear, the imports, is paid once, before the first fork.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from wayside.detectors.artifacts.folder import load_folder
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.detectors.serving.settings import parse
from wayside.detectors.serving.window_opening import restore_windows
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http_binding import decode
from wayside.eventing.outbound import event_sink


async def serve(artifact: str, flags: list[str]) -> None:
    """Answers until it is told to stop, or killed."""
    settings = parse(["--artifact", artifact, *flags], {})
    assert settings.sink_url is not None
    sink = event_sink(settings.sink_url, 10.0, None)
    loaded = restore_windows(load_folder(Path(artifact)), "drift", settings, DetectorMetrics(), sink)

    async def answer(request: Request) -> Response:
        await loaded.service.answer(decode(request.headers, request.body))
        return Response(202)

    server = HttpServer(answer, "127.0.0.1", 0)
    await loaded.service.start()
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", server.port, os.getpid(), flush=True)
    await stopped.wait()
    await server.stop(1.0)
    await loaded.service.stop()


def main(artifact: str, *flags: str) -> None:
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(serve(artifact, list(flags)))
            os._exit(0)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
