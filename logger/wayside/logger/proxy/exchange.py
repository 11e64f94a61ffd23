"""One request and its response on their way through the logger.

Invariant: a byte is passed on before it is recorded, and nothing on the recording side can hold it back.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from wayside.eventing.http.message import Headers, Response, head, status_line
from wayside.logger.capture.recording import Recorder, Recording
from wayside.logger.capture.request import Fields, RequestHead
from wayside.logger.counts import LoggerCounts
from wayside.logger.http2.splice import Splices
from wayside.logger.proxy.headers import (
    Framing,
    chunk,
    client_head,
    is_chunked_alone,
    last_chunk,
    request_framing,
    response_framing,
    upstream_head,
)
from wayside.logger.proxy.probes import Prober
from wayside.logger.proxy.upstream import UpstreamConnection, UpstreamDown, UpstreamPool

if TYPE_CHECKING:
    from wayside.logger.proxy.peer import Peers

_PENDING_LIMIT = 256 << 10
_NO_TRAILERS: Headers = []
_SAFE = (b"GET", b"HEAD", b"OPTIONS")  # RFC 9110 section 9.2.1: asked twice, they do what they do once


class Client(Protocol):
    """The side that asked."""

    address: bytes

    @property
    def slow(self) -> bool:
        """Whether what was written for the client still waits to be read by it."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; `flush` sends them."""

    def flush(self) -> None: ...

    def hold(self, reason: str) -> None:
        """Read no more from the client until each reason is let go."""

    def let_go(self, reason: str) -> None: ...

    @property
    def held(self) -> bool:
        """Whether there is a reason not to read."""

    def exchange_done(self, close: bool) -> None:
        """The response is out; close the connection, or go on to the next request."""

    def break_off(self) -> None:
        """The response cannot be completed: the client must see the connection break."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What all connections of one logger share: the `peers` are those that are open. Without a `recorder` nothing is
    captured."""

    pool: UpstreamPool
    prober: Prober
    counts: LoggerCounts
    recorder: Recorder | None
    splices: Splices
    peers: "Peers"


class Exchange:
    """Driven by the client's connection (`begin`, `on_request_…`) and the upstream's (`on_response_…`)."""

    __slots__ = (
        *("_arrived_s", "_behind", "_chunked", "_client", "_client_framing", "_connection", "_http_1_0", "_is_probe"),
        *("_over", "_pending", "_pending_bytes", "_proxy", "_recording", "_request", "_reused", "_sent_s", "_status"),
        *("_task", "_tunnel", "_upstream_framing", "keep_alive", "waits_for_word", "request_complete"),
    )

    def __init__(self, proxy: Proxy, client: Client, request: RequestHead, *, http_1_0: bool) -> None:
        self._proxy = proxy
        self._client = client
        self._request = request
        self._http_1_0 = http_1_0
        self._arrived_s = self._sent_s = perf_counter()
        self._is_probe = request.is_probe
        self._chunked = request_framing(request.fields) is Framing.CHUNKED
        self._recording = self._record(proxy.recorder)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._behind: list[bytes] = []
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._status = 0
        self._upstream_framing = self._client_framing = Framing.NONE
        self._over = self._tunnel = self._reused = False
        self.waits_for_word = b"expect" in request.fields  # from the model, before it sends a body
        self.request_complete = False
        self.keep_alive = False

    def _record(self, recorder: Recorder | None) -> Recording | None:
        if self._is_probe:
            return None
        if recorder is None:
            self._proxy.counts.exchanges += 1
            return None
        return recorder.begin(self._request)

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
        self._pending.insert(0, upstream_head(self._request, self._client.address))
        connection = self._proxy.pool.take()
        if connection is not None:
            self._reused = True
            self._attach(connection)
        else:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    def on_request_body(self, data: bytes) -> None:
        self.waits_for_word = False
        self._to_upstream(chunk(data) if self._chunked else data)
        if self._recording is not None:
            self._recording.request_body(data)

    def on_request_complete(self, keep_alive: bool, trailers: Headers = _NO_TRAILERS) -> None:
        self.request_complete = True
        self.keep_alive = keep_alive and not self._request.upgrade
        if self._chunked:
            self._to_upstream(last_chunk(trailers))

    def on_tunnel_data(self, data: bytes) -> None:
        """Bytes behind a request that asks to switch protocols: before the switch they are no one's but ours."""
        if not self._tunnel:
            self._behind.append(data)
            self._client.hold("switching")
            return
        self._to_upstream(data)
        self.on_request_flush()

    def on_request_flush(self) -> None:
        """All that came from the client in one read has been told: pass it on, then look at what was recorded."""
        if self._connection is not None and self._pending:
            self._connection.write(self._pending)
            self._pending, self._pending_bytes = [], 0
        if self.request_complete and self._recording is not None and not self.switches:
            self._recording.request_done()  # one that asks to switch may turn out to be none to the model

    def abort(self) -> None:
        """The client is gone."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._end_recording(whole=False)

    def refuse(self, response: Response) -> None:
        """The request turned out to be none: it makes no event, and gets this answer, unless another has begun."""
        if self._status:
            return self._client.break_off()
        self._drop_recording()
        if self._task is not None:
            self._task.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._answer(response)

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
        self._sent_s = perf_counter()
        connection.begin(self)
        client = self._client
        if client.slow:
            connection.pause_reading()
        if client.held:
            client.let_go("connecting")

    async def _answer_probe(self) -> None:
        self._answer(await self._proxy.prober.answer(self._request))

    def _answer(self, response: Response) -> None:
        """An answer of the logger's own."""
        self._status = response.status
        close = not (self.keep_alive and self.request_complete)
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        start, _ = client_head(
            response.status, b"", headers, Framing.LENGTH, keep_alive=not close, http_1_0=self._http_1_0
        )
        self._client.write(start + (b"" if self.bodiless else response.body))
        self._record_answer(response)
        self._finish(close, perf_counter())

    def _record_answer(self, response: Response) -> None:
        """A 502 of ours is what the client was told: its event says that, too."""
        if self._recording is None:
            return
        if self.request_complete:
            self._recording.request_done()
        self._recording.response_head(response.status, dict(reversed(response.headers)))
        self._recording.response_body(response.body)

    # from the model server

    def on_response_head(self, status: int, reason: bytes, headers: Headers) -> None:
        self.waits_for_word = False
        if status < 200:
            self._pass_interim(status, reason, headers)
            return
        fields: Fields = dict(reversed(headers))
        self._upstream_framing = response_framing(self._request.method, status, fields)
        unread = b"transfer-encoding" in fields and not is_chunked_alone(headers)
        if unread and self._upstream_framing is Framing.CHUNKED:
            return self._refuse_answer("the only transfer coding that can be passed on is 'chunked'")
        self._status = status
        start, self._client_framing = client_head(
            status, reason, headers, self._upstream_framing, keep_alive=self.keep_alive, http_1_0=self._http_1_0
        )
        self._client.write(start)
        if self._recording is not None:
            self._recording.response_head(status, fields)

    def _pass_interim(self, status: int, reason: bytes, headers: Headers) -> None:
        if status == 101 and self.switches:
            self._client.write(head(status_line(status, reason), headers))
        elif status != 101 and not self._http_1_0:  # which knows none
            start, _ = client_head(status, reason, headers, Framing.NONE, keep_alive=True, http_1_0=False)
            self._client.write(start)

    def on_response_body(self, data: bytes) -> None:
        self._client.write(chunk(data) if self._client_framing is Framing.CHUNKED else data)
        if self._recording is not None:
            self._recording.response_body(data)

    def on_response_complete(self, reusable: bool, trailers: Headers = _NO_TRAILERS) -> None:
        now_s = perf_counter()
        if self._client_framing is Framing.CHUNKED:
            self._client.write(last_chunk(trailers))
        connection, self._connection = self._connection, None
        if connection is not None and reusable and self.request_complete:
            self._proxy.pool.give_back(connection)
        elif connection is not None:
            connection.close()
        close = not self.keep_alive or not self.request_complete or self._client_framing is Framing.CLOSE
        self._finish(close, now_s)

    def on_response_flush(self) -> None:
        self._client.flush()

    def on_tunnel(self, data: bytes) -> None:
        if not self.switches:
            return self._refuse_answer("it switched protocols unasked")
        if not self._tunnel:
            self._open_tunnel()
        if data:
            self._client.write(data)

    def _open_tunnel(self) -> None:
        """From here on bytes pass both ways unread; a conversation of this kind makes no events."""
        self._tunnel, self._status = True, 101
        self._drop_recording()
        for early in self._behind:
            self._to_upstream(early)
        self._behind.clear()
        self.on_request_flush()
        self._client.let_go("switching")

    def _refuse_answer(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.close()
        self.on_upstream_lost(reason, clean=False)

    def on_upstream_lost(self, reason: str, *, clean: bool) -> None:
        connection, self._connection = self._connection, None
        if self._over:
            return
        if not self._status and connection is not None and self._may_ask_again(connection):
            self._ask_again()
        elif not self._status:
            self._answer(Response.text(502, f"the model server gave no answer: {reason}"))
        elif self._tunnel:
            self._finish(True, perf_counter())
        elif clean and self._upstream_framing is Framing.CLOSE:
            self.on_response_complete(reusable=False)
        else:
            self._over = True
            self._end_recording(whole=False)
            self._client.break_off()

    def _may_ask_again(self, connection: UpstreamConnection) -> bool:
        """Whether a kept connection that ended unanswered, as one may between any two requests, is no answer at all.

        Never for what is not safe: a proxy cannot know that the model server did nothing (RFC 9110 section 9.2.2).
        """
        request = self._request
        safe = request.method in _SAFE and request_framing(request.fields) is Framing.NONE
        return safe and self._reused and connection.silent

    def _ask_again(self) -> None:
        """Once, on a new connection."""
        self._reused = False
        self._pending.insert(0, upstream_head(self._request, self._client.address))
        self._task = asyncio.get_running_loop().create_task(self._connect())

    def on_upstream_slow(self, slow: bool) -> None:
        (self._client.hold if slow else self._client.let_go)("upstream")

    def on_client_slow(self, slow: bool) -> None:
        """The client reads slower than the model server writes, or does so no longer."""
        if self._connection is not None:
            (self._connection.pause_reading if slow else self._connection.resume_reading)()

    # the end

    def _finish(self, close: bool, answered_s: float) -> None:
        """The response is complete, the last of it read at `answered_s`: send it, and only then record its end."""
        self._over = True
        self._client.flush()
        if self._client.held:
            for reason in ("upstream", "connecting", "switching"):
                self._client.let_go(reason)
        if not self._is_probe:
            self._count(answered_s)
            self._end_recording(whole=True)
        self._client.exchange_done(close)

    def _count(self, answered_s: float) -> None:
        counts = self._proxy.counts
        counts.responses[self._status] += 1
        if not self._tunnel:
            ended_s = perf_counter()
            counts.request.observe(ended_s - self._arrived_s)
            counts.upstream.observe(answered_s - self._sent_s)
            counts.added.observe(self._sent_s - self._arrived_s + ended_s - answered_s)

    def _end_recording(self, *, whole: bool) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        if self.request_complete:
            recording.request_done()  # answered in the same read: the request's event still comes first
        recording.response_done(whole=whole)

    def _drop_recording(self) -> None:
        if self._recording is not None:
            self._recording.give_up()
            self._recording = None
