"""One client's connection to an `HttpServer`: answers its requests in order, and bounds what it may take.

Invariant: every request that was read whole gets exactly one response, in order, whatever the handler raises. What a
connection is waited for is the client's own doing, and never longer than `idle_s`: its next whole request, its reading
of the answers, its reading of the last one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from wayside.eventing.http.body_parts import Held
from wayside.eventing.http.message import Request, Response, response_bytes
from wayside.eventing.http.request_reader import SLICE_BYTES, RequestReader
from wayside.eventing.http.server_limits import Refused, ServerLimits

Handler = Callable[[Request], Response | Awaitable[Response]]
log = logging.getLogger("wayside.http")
_PIPELINE_LIMIT = 16
_LINGER_S = 2.0
_TOLD_LIMIT = 64
_FAILED = Response.text(500, "internal error; the server's log has the details")


@dataclass(slots=True)
class Load:
    """The connections of one server, and what they hold together."""

    connections: "set[Connection]" = field(default_factory=set)
    refused_connections: int = 0
    held: Held = field(default_factory=Held)


class Connection(asyncio.Protocol):
    """One client connection.

    Turns, each a request and whether the connection lives on, are answered one after another, at once where the
    handler answers at once; `_in_hand` is the answer that is still to come. What could not be read gets the `_refusal`
    after them. `_closing` says that nothing more is read, and that the last answer ends the connection. One timer
    serves a connection's whole life: it looks at `_since`, which costs a request less than a timer of its own.
    """

    __slots__ = (
        "_closing",
        "_handler",
        "_in_hand",
        "_limits",
        "_lingering",
        "_load",
        "_loop",
        "_own_task",
        "_reader",
        "_reading",
        "_refusal",
        "_since",
        "_timer",
        "_transport",
        "_turns",
        "_unread",
        "_writable",
        "lost",
    )

    def __init__(self, handler: Handler, limits: ServerLimits, load: Load) -> None:
        self._handler = handler
        self._limits = limits
        self._load = load
        self._reader = RequestReader(limits, load.held)
        self._loop = asyncio.get_running_loop()
        self._turns = self._reader.whole
        self._refusal: Response | None = None
        self._in_hand: asyncio.Future[Response] | None = None
        self._own_task = False
        self._writable = True
        self._reading = True
        self._unread = b""
        self._closing = self._lingering = False
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def in_hand(self) -> asyncio.Future[Response] | None:
        """The answer that the handler still owes."""
        return self._in_hand

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._since = self._loop.time()
        self._timer = self._loop.call_later(self._limits.idle_s, self._check_patience)
        self._load.connections.add(self)
        excess = len(self._load.connections) - self._limits.connections
        if excess > 0:
            self._turn_away(excess)

    def _turn_away(self, excess: int) -> None:
        """A few are told to try later, which takes a moment each; a flood is shut out without a word."""
        self._load.refused_connections += 1
        if excess > _TOLD_LIMIT:
            self._closing = True
            self._transport.abort()
        else:
            self._refuse(self._limits.too_many_connections().response)
            self._answer_turns()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.connections.discard(self)
        self._closing = True
        self._timer.cancel()
        self._reader.drop()
        while self._turns:
            self._load.held.body_bytes -= len(self._turns.popleft()[0].body)
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable = False
        self._since = self._loop.time()

    def resume_writing(self) -> None:
        self._writable = True
        if self._in_hand is None:
            self._answer_turns()

    def eof_received(self) -> bool:
        """A client that shut its sending side still gets the answers to what it sent whole."""
        self._closing = True
        return self._in_hand is not None or bool(self._turns)

    def data_received(self, data: bytes) -> None:
        """Read a slice at a time, and no further than to `_PIPELINE_LIMIT`: a request takes far more than its bytes."""
        for start in range(0, len(data), SLICE_BYTES):
            if self._closing:
                return
            self._read(data[start : start + SLICE_BYTES])
            if len(self._turns) > _PIPELINE_LIMIT:
                self._unread = data[start + SLICE_BYTES :]
                self._reading = False
                self._transport.pause_reading()
                return

    def _read_on(self) -> None:
        unread, self._unread = self._unread, b""
        self.data_received(unread)
        if self._reading and not self._transport.is_closing():
            self._transport.resume_reading()

    def _read(self, data: bytes) -> None:
        try:
            self._reader.read(data)
        except Refused as exc:
            self._refuse(exc.response)
        if self._in_hand is None and (self._turns or self._refusal):
            self._answer_turns()
        if self._reader.asks_to_go_on:
            self._tell_to_go_on()

    def _tell_to_go_on(self) -> None:
        self._reader.asks_to_go_on = False
        if self._in_hand is None and not self._turns:  # else it would stand before the answers that are still due
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # answering

    def _refuse(self, response: Response) -> None:
        """Answer what came whole, then this; read no more."""
        self._closing = True
        self._reader.drop()
        self._refusal = response

    def _answer_turns(self) -> None:
        """Answer turns until one must be waited for; after the last, wait for the client.

        While it leaves answers unread nothing is answered, nor is its time begun anew by what it sends.
        """
        turns = self._turns
        if turns and not self._writable:
            return
        while turns and self._writable and not self._transport.is_closing():
            request, keep_alive = turns.popleft()
            answer = self._begin_answer(request, keep_alive)
            if answer is None:
                return
            self._give(answer, request, keep_alive)
        if self._transport.is_closing():
            return
        self._since = self._loop.time()
        if self._closing and not turns:
            self._end()
        elif not self._reading and len(turns) <= _PIPELINE_LIMIT:
            self._reading = True
            self._loop.call_soon(self._read_on)

    def _begin_answer(self, request: Request, keep_alive: bool) -> Response | None:
        """The answer, or None where it is in hand."""
        try:
            answer = self._handler(request)
            if isinstance(answer, Response):
                return answer
            future = asyncio.ensure_future(answer)
        except Exception:  # the edge of a request: nothing that one does may stop the server
            log.exception("%s %s failed", request.method.decode("latin-1"), request.path)
            return _FAILED
        self._in_hand = future
        self._own_task = future is not answer
        future.add_done_callback(partial(self._take_answer, request, keep_alive))
        return None

    def _take_answer(self, request: Request, keep_alive: bool, future: "asyncio.Future[Response]") -> None:
        self._in_hand = None
        try:
            answer = future.result()
        except (Exception, asyncio.CancelledError) as exc:  # the same edge; what a handler waited for may be cancelled
            if not self._transport.is_closing() or not future.cancelled():
                log.error("%s %s failed", request.method.decode("latin-1"), request.path, exc_info=exc)
            answer = _FAILED
        self._give(answer, request, keep_alive)
        self._answer_turns()

    def _give(self, answer: Response, request: Request, keep_alive: bool) -> None:
        """Write the answer to a request; one that the connection does not outlive ends it."""
        self._load.held.body_bytes -= len(request.body)
        if self._transport.is_closing():
            return
        last = not keep_alive or (self._closing and not self._turns and self._refusal is None)
        self._transport.write(_message(answer, last, bodiless=request.method == b"HEAD"))
        if last:
            self._close()

    # ending

    def _end(self) -> None:
        """Close after the last answer. Where bytes may still come, that is the refusal, only the sending side at first:
        a reset would take the refusal from the client."""
        if self._refusal is None:
            self._close()
        elif not self._lingering:
            self._lingering = True
            self._transport.write(_message(self._refusal, last=True, bodiless=False))
            self._transport.write_eof()
            self._timer.cancel()
            self._timer = self._loop.call_later(_LINGER_S, self._close)

    def _close(self) -> None:
        """Close once the client has read what was written, or has left it unread for `idle_s`."""
        self._transport.close()
        self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.idle_s, self._transport.abort)

    def _check_patience(self) -> None:
        """Look whether the client has had its time; where it is the handler that is waited for, that is no matter."""
        now = self._loop.time()
        due = (now if self._in_hand is not None else self._since) + self._limits.idle_s
        if now < due:
            self._timer = self._loop.call_at(due, self._check_patience)
        elif self._writable:
            self._close()
        else:
            self._transport.abort()

    def drain(self) -> None:
        """Close at once where nothing is being answered, else after the answers to what came whole."""
        self._closing = True
        if self._in_hand is None and not self._turns and not self._transport.is_closing():
            self._close()

    def abort(self) -> None:
        """Close now, whatever is in hand. A future that the handler gave is the handler's, and is left alone."""
        self._transport.abort()
        if self._in_hand is not None and self._own_task:
            self._in_hand.cancel()
        else:
            self._in_hand = None


def _message(response: Response, last: bool, bodiless: bool) -> bytes:
    try:
        return response_bytes(response, last, bodiless)
    except Exception:  # the edge of a request: what a handler returned cannot be sent
        log.exception("a response cannot be sent: %.200r", response)
        return response_bytes(_FAILED, last, bodiless)
