"""Starts the logger processes that share a port, starts anew whichever ends, and shows them as one.

The kernel deals new connections out over the processes that listen (SO_REUSEPORT), so the supervisor carries no byte.
Invariant: while it runs, every place has a process or is about to have one again; when it has ended, however it ended,
no process is left.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.processes.child import Child
from wayside.logger.processes.process_metrics import LABEL, registry_of
from wayside.logger.settings import Listen, LoggerSettings

log = logging.getLogger("wayside.logger")
_SCRAPE_S = 2.0
_STEADY_S = 60.0  # a process that lasted so long has left its failures behind
_OVERTIME_S = 1.0


class Supervisor:
    """`command_for` gives the command line of the process at a place, for the port that all of them share.

    `port` and `admin_port` are those in use once `start` has returned.
    """

    def __init__(
        self,
        settings: LoggerSettings,
        command_for: Callable[[int, int], Sequence[str]],
        backoff: Backoff | None = None,
    ) -> None:
        self._listen = settings.listen
        self._grace_s = settings.grace_s
        self._command_for = command_for
        self._backoff = backoff or Backoff(first_s=0.5, limit_s=30.0)
        self._places = range(settings.processes)
        self._children: dict[int, Child] = {}
        self._restarts = dict.fromkeys(self._places, 0)
        self._reserved: socket.socket | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._client = HttpClient()
        self._admin = HttpServer(self._answer, self._listen.admin_host, self._listen.admin_port)
        self.port = self._listen.port

    @property
    def admin_port(self) -> int:
        return self._admin.port

    @property
    def serving(self) -> int:
        """How many processes serve now."""
        return sum(child.admin_port is not None for child in self._children.values())

    async def start(self) -> None:
        """Returns once every process serves. Raises `ConfigurationError` where a port is in use, or one cannot."""
        await self._admin.start()
        self._reserved = _reserve(self._listen)
        self.port = self._reserved.getsockname()[1]
        served = await asyncio.gather(*map(self._start_child, self._places))
        if not all(served):
            raise ConfigurationError(f"{served.count(False)} of {len(served)} processes did not start; they said why")
        self._keepers = [asyncio.create_task(self._keep(place)) for place in self._places]

    async def stop(self) -> None:
        """End all of them within the grace; may be called twice, or before `start`."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        grace_s = self._grace_s + _OVERTIME_S
        await asyncio.gather(*(child.stop(grace_s) for child in self._children.values()), return_exceptions=True)
        if self._reserved is not None:
            self._reserved.close()
        await self._admin.stop()
        await self._client.close()

    async def _start_child(self, place: int) -> bool:
        child = self._children[place] = Child(self._command_for(place, self.port))
        try:
            await child.start()
        except OSError as exc:
            log.error("process %d cannot be started: %s", place, exc)
            return False
        return await child.wait_serving()

    async def _keep(self, place: int) -> None:
        """Wait for the process's end, and start another, for as long as we run."""
        loop = asyncio.get_running_loop()
        failures, since_s = 0, loop.time()
        while True:
            status = await self._children[place].wait_end()
            self._restarts[place] += 1
            failures = 1 if loop.time() - since_s > _STEADY_S else failures + 1
            pause_s = self._backoff.delay_s(failures)
            log.error("process %d ended with %d; it is started again in %.1f s", place, status, pause_s)
            await asyncio.sleep(pause_s)
            since_s = loop.time()
            await self._start_child(place)

    async def _answer(self, request: Request) -> Response:
        if request.method not in (b"GET", b"HEAD"):
            return Response.text(405, "use GET", [(b"allow", b"GET, HEAD")])
        if request.path == "/healthz":
            return Response.text(200, "ok")
        if request.path == "/readyz":
            ready = bool(self._keepers) and self.serving > 0
            return Response.text(200, "ready") if ready else Response.text(503, "not ready: no process serves")
        if request.path == "/metrics":
            return await self._metrics(request)
        return Response.text(404, "try /healthz /readyz /metrics")

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = exposition.choose_encoder((request.header(b"accept") or b"").decode("latin-1"))
        body = encode(registry_of(await self._pages(), self._families()))
        return Response(200, [(b"content-type", content_type.encode())], body)

    async def _pages(self) -> Mapping[int, str]:
        ports = {place: child.admin_port for place, child in self._children.items() if child.admin_port is not None}
        pages = await asyncio.gather(*map(self._page, ports.values()))
        return {place: page for place, page in zip(ports, pages, strict=True) if page is not None}

    async def _page(self, port: int) -> str | None:
        try:
            url = Url.parse(f"http://127.0.0.1:{port}/metrics")
            return (await self._client.send(b"GET", url, [], timeout_s=_SCRAPE_S)).body.decode()
        except (Unreachable, SinkUnavailable):
            return None

    def _families(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("wayside_logger_processes", "Processes that serve now.", float(self.serving))
        restarts = CounterMetricFamily(
            "wayside_logger_process_restarts", "Processes that ended and were replaced.", labels=[LABEL]
        )
        for place, count in self._restarts.items():
            restarts.add_metric([str(place)], float(count))
        yield restarts


def _reserve(listen: Listen) -> socket.socket:
    """Hold the port without listening on it: it is known to be free, and stays ours while processes come and go."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((listen.host, listen.port))
    except OSError as exc:
        held.close()
        raise ConfigurationError(f"cannot listen on {listen.host}:{listen.port}: {exc.strerror or exc}") from exc
    return held
