"""One request and its response on their way through the logger.

Invariant: a byte is passed on before it is copied, and nothing on the copying side can hold it back. A response event
exists only for a 200 whose body went out whole; a request event only for a body that came in whole.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from wayside.eventing.clock import Clock
from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.http.message import Headers, Response, head, status_line
from wayside.eventing.identity import mint_event_id
from wayside.logger.capture import BodyCopy, CaptureBudget, EventFactory, Inference
from wayside.logger.emitter import Emitter
from wayside.logger.headers import (
    LAST_CHUNK,
    Framing,
    RequestHead,
    chunk,
    client_headers,
    request_framing,
    response_framing,
    upstream_headers,
)
from wayside.logger.metrics import LoggerMetrics
from wayside.logger.probes import Prober
from wayside.logger.settings import Capture, LogMode
from wayside.logger.upstream import UpstreamConnection, UpstreamDown, UpstreamPool

_PENDING_LIMIT = 256 << 10


class Client(Protocol):
    """The side that asked."""

    address: str

    @property
    def slow(self) -> bool:
        """Whether what was written for the client still waits to be read by it."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; `flush` sends them."""

    def flush(self) -> None: ...

    def hold(self, reason: str) -> None:
        """Read no more from the client until each reason is let go."""

    def let_go(self, reason: str) -> None: ...

    def exchange_done(self, close: bool) -> None:
        """The response is out; close the connection, or go on to the next request."""

    def break_off(self) -> None:
        """The response cannot be completed: the client must see the connection break."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all exchanges of one logger share. Without an `emitter` nothing is captured."""

    pool: UpstreamPool
    prober: Prober
    metrics: LoggerMetrics
    clock: Clock
    capture: Capture
    budget: CaptureBudget
    events: EventFactory
    emitter: Emitter | None

    def copies(self, mode: LogMode) -> bool:
        """Whether bodies of one side, REQUEST or RESPONSE, are captured."""
        return self.emitter is not None and self.capture.mode in (LogMode.ALL, mode)


class Exchange:
    """Driven by the client's connection (`begin`, `on_request_…`) and the upstream's (`on_response_…`)."""

    def __init__(self, proxy: Proxy, client: Client, request: RequestHead, *, http_1_0: bool) -> None:
        self._proxy = proxy
        self._client = client
        self._request = request
        self._http_1_0 = http_1_0
        self._arrived_s = self._upstream_s = perf_counter()
        self._inference = Inference(mint_event_id(), proxy.clock.time_ns(), request.headers)
        self._is_probe = Prober.is_probe(request)
        self._chunked = request_framing(request.headers) is Framing.CHUNKED
        self._request_copy = self._copy(LogMode.REQUEST)
        self._response_copy: BodyCopy | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._behind: list[bytes] = []
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._status = 0
        self._upstream_framing = self._client_framing = Framing.NONE
        self._response_headers: Headers = []
        self._over = False
        self._tunnel = False
        self.request_complete = False
        self.keep_alive = False

    def _copy(self, mode: LogMode) -> BodyCopy | None:
        if self._is_probe or not self._proxy.copies(mode):
            return None
        return BodyCopy(self._proxy.capture.body_bytes, self._proxy.budget)

    @property
    def switches(self) -> bool:
        """Whether the request asks for another protocol."""
        return self._request.upgrade

    @property
    def bodiless(self) -> bool:
        return self._request.method == b"HEAD"

    # from the client

    def begin(self) -> None:
        """The exchange's turn has come: answer a probe, or reach for the model server."""
        if self._is_probe:
            self._task = asyncio.get_running_loop().create_task(self._answer_probe())
            return
        start = b"%s %s HTTP/1.1\r\n" % (self._request.method, self._request.target)
        self._pending.insert(0, head(start, upstream_headers(self._request, self._client.address)))
        connection = self._proxy.pool.take()
        if connection is not None:
            self._attach(connection)
        else:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    def on_request_body(self, data: bytes) -> None:
        self._to_upstream(chunk(data) if self._chunked else data)
        if self._request_copy is not None:
            self._request_copy.add(data)

    def on_request_complete(self, keep_alive: bool) -> None:
        self.request_complete = True
        self.keep_alive = keep_alive and not self._request.upgrade
        if self._chunked:
            self._to_upstream(LAST_CHUNK)

    def on_tunnel_data(self, data: bytes) -> None:
        """Bytes behind a request that asks to switch protocols: before the switch they are no one's but ours."""
        if not self._tunnel:
            self._behind.append(data)
            self._client.hold("switching")
            return
        self._to_upstream(data)
        self.on_request_flush()

    def on_request_flush(self) -> None:
        """All that came from the client in one read has been told: pass it on, then look at what was copied."""
        if self._connection is not None and self._pending:
            self._connection.write(self._pending)
            self._pending, self._pending_bytes = [], 0
        if self.request_complete and self._request_copy is not None and not self.switches:
            self._emit_request(self._request_copy)  # one that asks to switch may turn out to be none to the model

    def abort(self) -> None:
        """The client is gone."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._release_copies()

    def _to_upstream(self, data: bytes) -> None:
        if self._over or self._is_probe:
            return
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._connection is None and self._pending_bytes > _PENDING_LIMIT:
            self._client.hold("connecting")

    # reaching the model server

    async def _connect(self) -> None:
        try:
            connection = await self._proxy.pool.connect()
        except UpstreamDown as exc:
            self._answer(Response.text(502, str(exc)))
        else:
            self._attach(connection)
            self.on_request_flush()

    def _attach(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._upstream_s = perf_counter()
        connection.begin(self)
        if self._client.slow:
            connection.pause_reading()
        self._client.let_go("connecting")

    async def _answer_probe(self) -> None:
        self._answer(await self._proxy.prober.answer(self._request))

    def _answer(self, response: Response) -> None:
        """An answer of the logger's own."""
        self._status = response.status
        close = not (self.keep_alive and self.request_complete)
        length = [(b"content-length", b"%d" % len(response.body))]
        headers, _ = client_headers(
            response.headers + length, Framing.LENGTH, keep_alive=not close, http_1_0=self._http_1_0
        )
        self._client.write(head(status_line(response.status), headers) + (b"" if self.bodiless else response.body))
        self._finish(close)

    # from the model server

    def on_response_head(self, status: int, reason: bytes, headers: Headers) -> None:
        if status < 200:
            self._pass_interim(status, reason, headers)
            return
        self._status, self._response_headers = status, headers
        self._upstream_framing = response_framing(self._request.method, status, headers)
        out, self._client_framing = client_headers(
            headers, self._upstream_framing, keep_alive=self.keep_alive, http_1_0=self._http_1_0
        )
        if status == 200:
            self._response_copy = self._copy(LogMode.RESPONSE)
        self._client.write(head(status_line(status, reason), out))

    def _pass_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if status == 101 and self.switches:
            self._client.write(head(status_line(status, reason), headers))
        elif status != 101 and not self._http_1_0:  # which knows none
            interim, _ = client_headers(headers, Framing.NONE, keep_alive=True, http_1_0=False)
            self._client.write(head(status_line(status, reason), interim))

    def on_response_body(self, data: bytes) -> None:
        self._client.write(chunk(data) if self._client_framing is Framing.CHUNKED else data)
        if self._response_copy is not None:
            self._response_copy.add(data)

    def on_response_complete(self, reusable: bool) -> None:
        if self._client_framing is Framing.CHUNKED:
            self._client.write(LAST_CHUNK)
        connection, self._connection = self._connection, None
        if connection is not None and reusable and self.request_complete:
            self._proxy.pool.give_back(connection)
        elif connection is not None:
            connection.close()
        self._finish(not self.keep_alive or not self.request_complete or self._client_framing is Framing.CLOSE)

    def on_response_flush(self) -> None:
        self._client.flush()

    def on_tunnel(self, data: bytes) -> None:
        if not self.switches:
            if self._connection is not None:
                self._connection.close()
            self.on_upstream_lost("it switched protocols unasked", clean=False)
            return
        if not self._tunnel:
            self._open_tunnel()
        if data:
            self._client.write(data)

    def _open_tunnel(self) -> None:
        """From here on bytes pass both ways unread; a conversation of this kind makes no events."""
        self._tunnel, self._status = True, 101
        self._release_copies()
        for early in self._behind:
            self._to_upstream(early)
        self._behind.clear()
        self.on_request_flush()
        self._client.let_go("switching")

    def on_upstream_lost(self, reason: str, *, clean: bool) -> None:
        self._connection = None
        if self._over:
            return
        if not self._status:
            self._answer(Response.text(502, f"the model server gave no answer: {reason}"))
        elif self._tunnel:
            self._finish(close=True)
        elif clean and self._upstream_framing is Framing.CLOSE:
            self.on_response_complete(reusable=False)
        else:
            self._over = True
            self._release_copies()
            self._client.break_off()

    def on_upstream_slow(self, slow: bool) -> None:
        (self._client.hold if slow else self._client.let_go)("upstream")

    def on_client_slow(self, slow: bool) -> None:
        """The client reads slower than the model server writes, or does so no longer."""
        if self._connection is not None:
            (self._connection.pause_reading if slow else self._connection.resume_reading)()

    # the end

    def _finish(self, close: bool) -> None:
        """The response is complete: send it, and only then turn to what was copied of it."""
        self._over = True
        self._client.flush()
        ended_ns, ended_s = self._proxy.clock.time_ns(), perf_counter()
        self._client.let_go("upstream")
        self._client.let_go("connecting")
        self._client.let_go("switching")
        if not self._is_probe:
            self._proxy.metrics.count_response(self._status)
            if not self._tunnel:
                self._proxy.metrics.request_seconds.observe(ended_s - self._arrived_s)
                self._proxy.metrics.upstream_seconds.observe(ended_s - self._upstream_s)
            self._emit_response(ended_ns)
        self._release_copies()
        self._client.exchange_done(close)

    def _emit_request(self, copy: BodyCopy) -> None:
        self._request_copy = None
        events, recorded_ns = self._proxy.events, self._proxy.clock.time_ns()
        self._emit("request", copy, lambda body: events.request(self._inference, body, recorded_ns))

    def _emit_response(self, ended_ns: int) -> None:
        if self._request_copy is not None and self.request_complete:
            self._emit_request(self._request_copy)  # answered in the same read: the request's event still comes first
        copy, self._response_copy = self._response_copy, None
        if copy is None or not self.request_complete:
            return
        events, headers = self._proxy.events, self._response_headers
        self._emit("response", copy, lambda body: events.response(self._inference, headers, body, ended_ns))

    def _emit(self, kind: str, copy: BodyCopy, build: Callable[[bytes], CloudEvent]) -> None:
        emitter = self._proxy.emitter
        assert emitter is not None, "nothing is copied without an emitter"
        if copy.overflowed:
            emitter.drop(kind, "too_large")
            return
        try:
            emitter.offer(build(copy.take()))
        except WaysideError:  # whatever a client sent, inference goes on; what cannot be an event is counted
            emitter.drop(kind, "refused")

    def _release_copies(self) -> None:
        for copy in (self._request_copy, self._response_copy):
            if copy is not None:
                copy.release()
        self._request_copy = self._response_copy = None
