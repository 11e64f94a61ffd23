"""One connection of an `HttpClient`: a request out, its whole answer in, one exchange at a time.

Source: RFC 9110 section 5.5 (the blanks round a field's value); RFC 9112 sections 6.1 (transfer codings), 7.1 (chunks).
Invariant: an exchange ends in its answer, in a `ConnectionError` that says what was wrong with that, or at its deadline
in a `TimeoutError`. What is held of an answer is bounded at every byte: no part of it has to end for that.
"""

import asyncio
import select
from dataclasses import dataclass
from typing import cast

import httptools

from wayside.eventing.http.body_parts import BodyParts, Held
from wayside.eventing.http.message import Headers, Response, find
from wayside.eventing.http.transfer_codings import is_chunked_alone


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of an answer, and of the bodies of all those that one client is reading.

    `head_bytes` bounds what comes before a body, interim answers included, and what stands in it that is none of its
    data: extensions of chunks, trailers.
    """

    body_bytes: int = 16 << 20
    head_bytes: int = 256 << 10
    total_body_bytes: int = 256 << 20


class ClientConnection(asyncio.Protocol):
    """httptools calls the `on_…` methods while it is fed.

    One timer serves all of its exchanges: where it fires before the deadline of the one in hand, it is set anew. That
    costs an exchange less than a timer of its own.
    """

    def __init__(self, limits: AnswerLimits, held: Held) -> None:
        self._limits = limits
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._poll = select.poll()
        self._response: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._reusable = False
        self._body = BodyParts()
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        """Whether the last exchange left the stream at a message's end, in both directions."""
        transport = self._transport
        return (
            self._reusable
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def has_input(self) -> bool:
        """Whether something lies unread on an idle connection: its end, which the loop has yet to see, or worse."""
        return bool(self._poll.poll(0))

    def exchange(self, request: bytes, bodiless: bool, deadline: float) -> asyncio.Future[Response]:
        """Write a request; its response is to come, or a `TimeoutError` at the `deadline` of the loop's clock."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("connection closed before the request was sent")
        self._reusable = False
        self._bodiless = bodiless
        self._untold_bytes = 0  # read since the last piece of a body, or end of a final head
        self._head_complete = False
        self._response = self._loop.create_future()
        self._set_deadline(deadline)
        self._transport.write(request)
        return self._response

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        if self._timer is None or self._timer_at > deadline:
            self._set_timer(deadline)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._check_deadline)
        self._timer_at = at

    def _check_deadline(self) -> None:
        self._timer = None
        if self._response is None or self._response.done():
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        else:
            self._response.set_exception(TimeoutError())
            self.close()

    def close(self) -> None:
        """Close at once."""
        self._reusable = False
        self._take_body()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._response is None or self._response.done():
            self.close()  # bytes nobody asked for: the stream can no longer be trusted
            return
        self._told = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(f"the answer is not HTTP/1.1: {exc}")
        self._untold_bytes = 0 if self._told else self._untold_bytes + len(data)
        if self._untold_bytes > self._limits.head_bytes:
            what = "trailer or chunk extension" if self._head_complete else "head"
            self._fail(f"the answer's {what} is over {self._limits.head_bytes} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._until_close():
            self._finish()
        self._fail(f"connection closed before the answer was complete{f': {exc}' if exc else ''}")

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._response is not None and self._response.done():
            self.close()  # a second answer to one request
        self._headers: Headers = []
        self._head_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # a trailer is no header
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            return
        self._told = self._head_complete = True
        if self._bodiless:
            self._finish()
            self.close()  # the parser would wait for the body that HEAD's answer only announces
        elif find(self._headers, b"transfer-encoding") is not None and not is_chunked_alone(self._headers):
            self._fail("the answer's body is in a transfer coding other than 'chunked', which alone is read here")

    def on_body(self, part: bytes) -> None:
        if self._response is None or self._response.done():
            return
        self._told = True
        self._body.add(part)
        self._held.body_bytes += len(part)
        limits = self._limits
        if self._body.size > limits.body_bytes:
            self._fail(f"the answer is over {limits.body_bytes} bytes")
        elif self._held.body_bytes > limits.total_body_bytes:
            self._fail(f"the answers that are being read are over {limits.total_body_bytes} bytes together")

    def on_message_complete(self) -> None:
        if self._head_complete:
            self._reusable = self._parser.should_keep_alive()
            self._finish()

    def _until_close(self) -> bool:
        if self._response is None or self._response.done() or not self._head_complete:
            return False
        return all(find(self._headers, name) is None for name in (b"content-length", b"transfer-encoding"))

    def _finish(self) -> None:
        assert self._response is not None
        if not self._response.done():
            status = self._parser.get_status_code()
            self._response.set_result(Response(status, self._headers, self._take_body()))

    def _fail(self, reason: str) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionError(reason))
        self.close()

    def _take_body(self) -> bytes:
        """What came of it; it is no longer held here."""
        if not self._body.size:
            return b""
        self._held.body_bytes -= self._body.size
        return self._body.take()
