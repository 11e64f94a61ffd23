"""One request on its way through an app, and what is recorded of it.

Invariant: a message is passed on before it is recorded, as it is; what the app raises goes on to the server, and what
goes wrong here goes to `on_fault` alone.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

from wayside.logger.asgi.messages import App, Message, Receive, Scope, Send, response_fields
from wayside.logger.capture.recording import Recording
from wayside.logger.counts import LoggerCounts

_SERVERS_OWN = 500  # what a server answers where an app ends without an answer


class Exchange:
    """`run` gives the app `receive` and `send`. Without a `recording`, for a request sampled out, it only counts."""

    __slots__ = (
        *("_arrived_s", "_counts", "_last_is_out", "_on_fault", "_over", "_receive", "_recording", "_request_is_whole"),
        *("_send", "_sends_body", "_status"),
    )

    def __init__(
        self, recording: Recording | None, counts: LoggerCounts, on_fault: Callable[[Exception], None], method: bytes
    ) -> None:
        self._arrived_s = perf_counter()
        self._recording = recording
        self._counts = counts
        self._on_fault = on_fault
        self._sends_body = method != b"HEAD"  # whatever an app sends then, the server keeps
        self._request_is_whole = self._last_is_out = self._over = False
        self._status = 0
        self._receive: Receive
        self._send: Send

    async def run(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app to its end. Raises what it raises."""
        self._receive, self._send = receive, send
        try:
            await app(scope, self.receive, self.send)
        except BaseException as exc:
            self._leave(cut_off=not isinstance(exc, Exception))
            raise
        self._leave(cut_off=False)

    # the request

    async def receive(self) -> Message:
        message = await self._receive()
        try:
            self._on_received(message)
        except Exception as exc:
            self._on_fault(exc)
        return message

    def request_is_whole(self) -> None:
        """All of it has come. Its event is made while the app waits for something, or has answered."""
        self._request_is_whole = True
        if self._recording is not None:
            asyncio.get_running_loop().call_soon(self._tell_request)

    def _on_received(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.request":
            body = message.get("body")
            if body and self._recording is not None:
                self._recording.request_body(bytes(body))
            if not message.get("more_body"):
                self.request_is_whole()
        elif kind == "http.disconnect" and not self._last_is_out:
            self._end(whole=False)

    def _tell_request(self) -> None:
        try:
            if self._recording is not None and self._request_is_whole:
                self._recording.request_done()
        except Exception as exc:
            self._on_fault(exc)

    # the response

    async def send(self, message: Message) -> None:
        """Pass a message on, then record it. Raises what the server raises."""
        if message.get("type") == "http.response.body" and not message.get("more_body"):
            self._last_is_out = True  # a disconnect that is told from here on came after the response
        try:
            await self._send(message)
        except BaseException:
            self._last_is_out = False
            self._finish(whole=False)
            raise
        try:
            self._on_sent(message)
        except Exception as exc:
            self._on_fault(exc)

    def _on_sent(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body")
            if body and self._recording is not None and self._sends_body:
                self._recording.response_body(bytes(body))
            if not message.get("more_body"):
                self._end(whole=True)
        elif kind == "http.response.start" and not self._over:
            self._status = message["status"]
            self._tell_request()
            if self._recording is not None:
                self._recording.response_head(self._status, response_fields(message))

    # the end

    def _leave(self, *, cut_off: bool) -> None:
        """The app is done. Where it sent no answer the server does; where it sent part of one, the client sees it
        break off; where it was `cut_off`, no one is there to be answered."""
        if self._over:
            return
        if not (self._status or cut_off):
            self._answered_by_server()
        self._finish(whole=False)

    def _answered_by_server(self) -> None:
        try:
            self._on_sent({"type": "http.response.start", "status": _SERVERS_OWN})
        except Exception as exc:
            self._on_fault(exc)

    def _finish(self, *, whole: bool) -> None:
        try:
            self._end(whole=whole)
        except Exception as exc:
            self._on_fault(exc)

    def _end(self, *, whole: bool) -> None:
        if self._over:
            return
        self._over = True
        if self._status:
            self._counts.responses[self._status] += 1
            self._counts.request.observe(perf_counter() - self._arrived_s)
        self._tell_request()
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.response_done(whole=whole)
