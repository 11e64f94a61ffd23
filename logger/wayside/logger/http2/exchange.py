"""One request over HTTP/2 and its answer, told to the recording of an inference.

Source: RFC 9113 section 8.3 (pseudo-header fields); gRPC over HTTP/2 (grpc-encoding, grpc-status).
Invariant: an event's body is what the peer sent, as it is, without HTTP/2's and gRPC's framing; what the event says of
its compression is true of it.
"""

from collections.abc import Mapping
from typing import Final

from wayside.eventing import vocabulary as words
from wayside.eventing.http.message import Headers, find
from wayside.logger.capture.events import field_text
from wayside.logger.capture.recording import Recorder, Recording
from wayside.logger.capture.request import RequestHead
from wayside.logger.http2.messages import UnaryMessage
from wayside.logger.settings import LogMode

UNREADABLE: Final = "unreadable"
_FIELD_BYTES: Final = 32
_ENCODING: Final = b"grpc-encoding"
_UNWANTED_BY: Final = {"request": LogMode.RESPONSE, "response": LogMode.REQUEST}


def request_head(headers: Headers) -> RequestHead | None:
    """A request's head as one of HTTP/1.1 would read; None where it is not one."""
    method, target = find(headers, b":method"), find(headers, b":path")
    if method is None or target is None:
        return None
    authority = find(headers, b":authority")
    host = [(b"host", authority)] if authority else []
    return RequestHead(method, target, host + plain(headers))


def plain(headers: Headers) -> Headers:
    """Headers without pseudo-header fields."""
    return [pair for pair in headers if not pair[0].startswith(b":")]


def size_bytes(headers: Headers) -> int:
    return sum(len(name) + len(value) + _FIELD_BYTES for name, value in headers)


def count_lost(recorder: Recorder, reason: str, *kinds: str) -> None:
    """Count what should have been events, and could not be."""
    for kind in kinds:
        if recorder.capture.mode is not _UNWANTED_BY[kind]:
            recorder.counts.captured[kind] += 1
            recorder.counts.drop(kind, reason)


class RecordedExchange:
    """Told what passes on one stream, in the order of its passing; `unary` for a call of gRPC with one message each
    way. `held_bytes` are reserved for its head, and given back once it is `over`: it is told nothing from then on."""

    __slots__ = ("_asked", "_held_bytes", "_recorder", "_recording", "_replied", "over")

    def __init__(
        self, recorder: Recorder, recording: Recording, head: RequestHead, *, unary: bool, held_bytes: int
    ) -> None:
        self._recorder = recorder
        self._recording = recording
        self._held_bytes = held_bytes
        self._asked = _Side(dict(head.fields), unary)
        head.fields = self._asked.fields
        self._replied: _Side | None = None
        self.over = False

    # the request

    def request_data(self, data: memoryview) -> None:
        if piece := self._asked.body(data):
            self._recording.request_body(piece)

    def request_end(self) -> None:
        if not self._asked.close():
            return self.lose(UNREADABLE)
        self._recording.request_done()

    # the answer

    def response_head(self, status: int, headers: Headers) -> None:
        """The final head."""
        self._replied = _Side(dict(reversed(plain(headers))), self._asked.unary)
        self._recording.response_head(status, self._replied.fields)

    def response_data(self, data: memoryview) -> None:
        if self._replied is not None and (piece := self._replied.body(data)):
            self._recording.response_body(piece)

    def response_end(self, trailers: Headers) -> None:
        """The answer is whole; `trailers` are its last fields, and its first where there is no body."""
        if self._replied is None or not self._replied.close():
            return self.lose(UNREADABLE)
        self._recording.response_done(whole=True, notes=_notes(trailers) if self._asked.unary else {})
        self._release()

    # ends out of turn

    def break_off(self) -> None:
        """One of the two ended it before its end."""
        if self._replied is not None:
            self._replied.close()
        self._recording.response_done(whole=False)
        self._release()

    def lose(self, reason: str) -> None:
        """What passes from now on cannot be read."""
        count_lost(self._recorder, reason, *self._recording.owed)
        self._release()

    def _release(self) -> None:
        self._recording.give_up()
        self._recorder.budget.used_bytes -= self._held_bytes
        self._held_bytes = 0
        self.over = True


class _Side:
    """A request or an answer: its header fields, of which the one on compression is put right once its message came."""

    __slots__ = ("_encoding", "_message", "fields", "unary")

    def __init__(self, fields: dict[bytes, bytes], unary: bool) -> None:
        self.unary = unary
        self.fields = fields
        self._message = UnaryMessage() if unary else None
        self._encoding = fields.pop(_ENCODING, None) if unary else None

    def body(self, data: memoryview) -> bytes:
        return bytes(data if self._message is None else self._message.receive_data(data))

    def close(self) -> bool:
        """The body is at its end: return whether it was as it should be."""
        message = self._message
        if message is None:
            return True
        if message.compressed and self._encoding is not None:
            self.fields[_ENCODING] = self._encoding
        return message.is_whole or message.is_absent


def _notes(trailers: Headers) -> Mapping[str, str]:
    status = find(trailers, b"grpc-status")
    return {words.GRPC_STATUS: field_text(status, 16)} if status else {}
