"""What passes on one connection of HTTP/2, both ways, read on the side: its streams, and the recordings of those that
are inferences.

Source: RFC 9113 sections 5.1 (streams), 6.8 (GOAWAY), 8.1 (messages).
Invariant: no I/O, and nothing here acts on the connection. Where a header block cannot be read no more is recorded, but
streams are still followed; where frames cannot be, nothing is. Either way what was in hand is counted as lost, once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wayside.eventing.http.message import Headers, find
from wayside.logger.capture.bodies import CAPTURE_FULL
from wayside.logger.capture.recording import Recorder
from wayside.logger.capture.request import RequestHead
from wayside.logger.http2.exchange import UNREADABLE, RecordedExchange, count_lost, request_head, size_bytes
from wayside.logger.http2.frames import Data, Frame, FrameReader, GoAway, HeaderBlock, Reset, Settings, Unreadable
from wayside.logger.http2.header_blocks import HeaderBlocks
from wayside.logger.http2.messages import Call, call_of

log = logging.getLogger("wayside.logger")
TOO_MANY_STREAMS: Final = "too_many_streams"
_RECORDED_LIMIT: Final = 1_000
_OPEN_LIMIT: Final = 16_384
_FINAL: Final = 200


@dataclass(slots=True)
class Http2Counts:
    """Over all connections of one logger: `unserved` are those for which the model server took none, `unreadable` those
    that could not be read to their end. `streams` are all that clients opened; of them `unlogged` are calls that no
    event is made of by design."""

    connections: int = 0
    streams: int = 0
    unserved: int = 0
    unlogged: int = 0
    unreadable: int = 0


@dataclass(slots=True)
class _Stream:
    """A stream that is open; `recorded` until its answer ended, where it is recorded at all."""

    recorded: RecordedExchange | None = None
    logged: bool = False
    client_ended: bool = False
    server_ended: bool = False
    answered: bool = False


class ConnectionObserver:
    """Told all bytes of one connection, from the client's preface on, in the order in which they passed.

    Without a `recorder` streams are followed alone. `server` reads what the server said: it knows where a frame could
    be put in.
    """

    def __init__(self, recorder: Recorder | None, counts: Http2Counts) -> None:
        self._recorder = recorder
        self._counts = counts
        self._client = FrameReader(preface=True)
        self.server = FrameReader()
        self._asked, self._answered = HeaderBlocks(), HeaderBlocks()
        self._streams: dict[int, _Stream] = {}
        self._recorded = 0
        self._heads_read = recorder is not None
        self.last_stream_id = 0
        self.in_step = True

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def client_sent(self, data: bytes) -> None:
        """Bytes went from the client to the server. Never raises."""
        self._follow(self._client, self._from_client, data)

    def server_sent(self, data: bytes) -> None:
        """Bytes went from the server to the client. Never raises."""
        self._follow(self.server, self._from_server, data)

    def closed(self) -> None:
        """No stream that is open will end. May be called twice."""
        for stream_id in list(self._streams):
            self._break_off(stream_id)

    def _follow(self, reader: FrameReader, take: Callable[[Frame], None], data: bytes) -> None:
        if not self.in_step:
            return
        try:
            for frame in reader.receive_data(data):
                take(frame)
        except Unreadable as exc:
            self._fall_out(str(exc))
        except Exception:  # the calls on this connection must go on, whatever is wrong here
            log.exception("an HTTP/2 connection is not recorded any more")
            self._fall_out("")

    # the client's frames

    def _from_client(self, frame: Frame) -> None:
        match frame:
            case Data(stream_id, data, end_stream):
                stream = self._streams.get(stream_id)
                if stream is not None:
                    if stream.recorded is not None:
                        stream.recorded.request_data(data)
                    self._end_request(stream_id, stream, end_stream)
            case HeaderBlock(stream_id, block, end_stream):
                headers = self._decode(self._asked, block)
                if stream_id > self.last_stream_id:
                    self._open(stream_id, headers)
                stream = self._streams.get(stream_id)
                if stream is not None:
                    self._end_request(stream_id, stream, end_stream)
            case Settings(ack, table_bytes):
                self._asked.acknowledge() if ack else self._answered.announce(table_bytes)
            case Reset(stream_id):
                self._break_off(stream_id)

    def _open(self, stream_id: int, headers: Headers | None) -> None:
        if len(self._streams) == _OPEN_LIMIT:
            raise Unreadable(f"more than {_OPEN_LIMIT} streams are open")
        self.last_stream_id = stream_id
        self._counts.streams += 1
        self._streams[stream_id] = stream = _Stream()
        head = request_head(headers) if headers is not None else None
        if head is None or self._recorder is None:
            return
        call = call_of(head)
        if call is Call.UNLOGGED or head.is_probe:
            self._counts.unlogged += 1
            return
        stream.logged = True
        stream.recorded = self._record(self._recorder, head, unary=call is Call.UNARY)
        self._recorded += stream.recorded is not None

    def _record(self, recorder: Recorder, head: RequestHead, *, unary: bool) -> RecordedExchange | None:
        held_bytes, budget = size_bytes(head.headers), recorder.budget
        is_one_too_many = self._recorded >= _RECORDED_LIMIT
        if is_one_too_many or budget.used_bytes + held_bytes > budget.limit_bytes:
            recorder.counts.exchanges += 1
            count_lost(recorder, TOO_MANY_STREAMS if is_one_too_many else CAPTURE_FULL, "request", "response")
            return None
        recording = recorder.begin(head)
        if recording is None:
            return None
        budget.used_bytes += held_bytes
        return RecordedExchange(recorder, recording, head, unary=unary, held_bytes=held_bytes)

    def _end_request(self, stream_id: int, stream: _Stream, end_stream: bool) -> None:
        if not end_stream or stream.client_ended:
            return
        stream.client_ended = True
        if stream.recorded is not None:
            stream.recorded.request_end()
        self._settle(stream_id, stream)

    # the server's frames

    def _from_server(self, frame: Frame) -> None:
        match frame:
            case Data(stream_id, data, end_stream):
                stream = self._streams.get(stream_id)
                if stream is not None:
                    if stream.recorded is not None:
                        stream.recorded.response_data(data)
                    self._end_answer(stream_id, stream, [], end_stream)
            case HeaderBlock(stream_id, block, end_stream):
                headers = self._decode(self._answered, block)
                stream = self._streams.get(stream_id)
                if stream is not None:
                    self._begin_answer(stream, headers or [])
                    self._end_answer(stream_id, stream, headers or [], end_stream)
            case Settings(ack, table_bytes):
                self._answered.acknowledge() if ack else self._asked.announce(table_bytes)
            case Reset(stream_id):
                self._break_off(stream_id)
            case GoAway(last_stream_id):
                for stream_id in [each for each in self._streams if each > last_stream_id]:
                    self._break_off(stream_id)

    def _begin_answer(self, stream: _Stream, headers: Headers) -> None:
        status = _status(headers)
        if stream.answered or status < _FINAL:
            return
        stream.answered = True
        if self._recorder is not None and stream.logged:
            self._recorder.counts.responses[status] += 1
        if stream.recorded is not None:
            stream.recorded.response_head(status, headers)

    def _end_answer(self, stream_id: int, stream: _Stream, trailers: Headers, end_stream: bool) -> None:
        if not end_stream or stream.server_ended:
            return
        stream.server_ended = True
        if stream.recorded is not None:
            stream.recorded.response_end(trailers)
        self._settle(stream_id, stream)

    # ends

    def _settle(self, stream_id: int, stream: _Stream) -> None:
        if stream.recorded is not None and stream.recorded.over:
            stream.recorded = None
            self._recorded -= 1
        if stream.client_ended and stream.server_ended:
            self._streams.pop(stream_id, None)

    def _break_off(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None and stream.recorded is not None:
            stream.recorded.break_off()
            self._recorded -= 1

    def _decode(self, blocks: HeaderBlocks, block: bytes | None) -> Headers | None:
        """A header list; None where header blocks cannot be read any more."""
        if not self._heads_read:
            return None
        try:
            if block is None:
                raise Unreadable("header block is over the limit")
            return blocks.decode(block)
        except Unreadable as exc:
            self._lose_heads(str(exc))
            return None

    def _lose_heads(self, reason: str) -> None:
        log.info("an HTTP/2 connection is not recorded any more: %s", reason)
        self._heads_read = False
        self._counts.unreadable += 1
        for stream in self._streams.values():
            if stream.recorded is not None:
                stream.recorded.lose(UNREADABLE)
                stream.recorded = None
        self._recorded = 0

    def _fall_out(self, reason: str) -> None:
        self.in_step = False
        if self._heads_read:
            self._lose_heads(reason)
        self._streams.clear()


def _status(headers: Headers) -> int:
    """0 where there is none, as in trailers."""
    status = find(headers, b":status") or b""
    return int(status) if len(status) == 3 and status.isdigit() else 0
