"""A sink behind HTTP: what a Trigger's subscriber is.

Invariant: 202 only after the sink's `send` returned; 4xx for what no retry can mend, 503 for what one may.
"""

from collections.abc import Callable

from wayside.eventing.errors import MalformedEvent
from wayside.eventing.http.message import Request, Response
from wayside.eventing.http.server import HttpServer, ServerLimits
from wayside.eventing.http_binding import decode
from wayside.eventing.sink import EventRefused, Sink, SinkUnavailable


class Receiver:
    """Takes CloudEvents by POST on any path and sends them to `sink`, which it does not start or stop.

    `on_malformed` is told of each message that was no CloudEvent.
    """

    def __init__(
        self, sink: Sink, host: str, port: int, limits: ServerLimits, on_malformed: Callable[[], None] = lambda: None
    ) -> None:
        self._sink = sink
        self._on_malformed = on_malformed
        self._server = HttpServer(self._handle, host, port, limits)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def listening(self) -> bool:
        """Whether events can be posted now."""
        return self._server.listening

    async def start(self) -> None:
        """Listen. Raises `ConfigurationError` where the port is in use."""
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def _handle(self, request: Request) -> Response:
        if request.method != b"POST":
            return Response.text(405, "POST a CloudEvent", [(b"allow", b"POST")])
        try:
            event = decode(request.headers, request.body)
        except MalformedEvent as exc:
            self._on_malformed()
            return Response.text(400, str(exc))
        try:
            await self._sink.send(event)
        except (EventRefused, MalformedEvent) as exc:
            return Response.text(400, str(exc))
        except SinkUnavailable as exc:
            return Response.text(503, str(exc), [(b"retry-after", b"%d" % (exc.retry_after_s or 1))])
        return Response(202)
