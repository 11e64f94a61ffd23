"""HTTP/2's frames as they pass in one direction, read byte by byte if need be.

Source: RFC 9113 sections 3.4 (preface), 4 (frames), 6 (their payloads).
Invariant: no I/O; what is held of a connection is bounded, for bodies are told in pieces as they come, header blocks
are collected only up to a limit, and every other payload is passed over. How the bytes were split changes nothing but
the pieces.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from wayside.eventing.errors import WaysideError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LAST_STREAM_ID: Final = (1 << 31) - 1
_HEADER_BYTES: Final = 9
_BLOCK_LIMIT: Final = 32 << 10
_SETTINGS_LIMIT: Final = 16 << 10
_EMPTY_FRAMES_LIMIT: Final = 1_000
_SETTING_BYTES: Final = 6
_HEADER_TABLE_SIZE: Final = 1
_PRIORITY_BYTES: Final = 5
_PROMISE_BYTES: Final = 4
_NO_ERROR: Final = 0
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20


class Unreadable(WaysideError):
    """The bytes are no HTTP/2, or go over what is read of it: this connection can be followed no further."""


class Kind(IntEnum):
    """The frames that are looked into."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    GOAWAY = 7
    CONTINUATION = 9


_LOOKED_INTO: Final = frozenset(Kind)


class Data(NamedTuple):
    """A piece of a body, good until the bytes given are gone; `end_stream` with the last one, which may be empty."""

    stream_id: int
    data: memoryview
    end_stream: bool


class HeaderBlock(NamedTuple):
    """A header list as HPACK wrote it, with its continuations; `block` is None where it was over the limit. A promise's
    is of stream 0."""

    stream_id: int
    block: bytes | None
    end_stream: bool


class Reset(NamedTuple):
    """A stream ended out of turn."""

    stream_id: int


class Settings(NamedTuple):
    """What a peer asks for: how large the other's header table may be, if it says so. `ack`: it took what was asked."""

    ack: bool
    header_table_bytes: int | None


class GoAway(NamedTuple):
    """No stream over `last_stream_id` is served."""

    last_stream_id: int


Frame = Data | HeaderBlock | Reset | Settings | GoAway


def go_away(last_stream_id: int) -> bytes:
    """A GOAWAY frame without an error."""
    payload = last_stream_id.to_bytes(4) + _NO_ERROR.to_bytes(4)
    return len(payload).to_bytes(3) + bytes((Kind.GOAWAY, 0, 0, 0, 0, 0)) + payload


class _Head(NamedTuple):
    """A frame's first nine bytes."""

    length: int
    kind: int
    flags: int
    stream_id: int

    @classmethod
    def of(cls, data: bytes) -> "_Head":
        return cls(int.from_bytes(data[:3]), data[3], data[4], int.from_bytes(data[5:]) & LAST_STREAM_ID)


@dataclass(slots=True)
class _OpenBlock:
    """A header block whose end has not come, and the frame that it began with."""

    head: _Head
    fragments: bytearray = field(default_factory=bytearray)
    over_limit: bool = False

    def told(self) -> HeaderBlock:
        """A promise's block is of no stream that a client opened, whichever it came on."""
        is_promise = self.head.kind == Kind.PUSH_PROMISE
        ends = bool(self.head.flags & _END_STREAM) and not is_promise
        return HeaderBlock(0 if is_promise else self.head.stream_id, self._whole(), ends)

    def _whole(self) -> bytes | None:
        return None if self.over_limit else bytes(self.fragments)


class FrameReader:
    """Reads one direction; a client's begins with the preface."""

    def __init__(self, *, preface: bool = False, block_limit_bytes: int = _BLOCK_LIMIT) -> None:
        self._block_limit_bytes = block_limit_bytes
        self._skip = len(PREFACE) if preface else 0  # bytes that are nobody's
        self._want = _HEADER_BYTES  # bytes to be held before anything can be told
        self._held = bytearray()
        self._head: _Head | None = None  # of the frame whose payload is being held
        self._data: _Head | None = None  # of the frame whose payload is a body, on its way
        self._data_left = self._padding = 0
        self._block: _OpenBlock | None = None
        self._empty_frames = 0  # in a row: they cost most for their bytes
        self.begun = False

    @property
    def at_boundary(self) -> bool:
        """Whether another frame could be put in here."""
        return not (self._skip or self._data_left or self._held or self._head or self._block)

    @property
    def pending_bytes(self) -> int:
        """How many bytes belong to what is being read; `at_boundary` does not become True before they came."""
        return self._skip or self._data_left or self._want - len(self._held)

    def receive_data(self, data: bytes) -> list[Frame]:
        """What bytes say, together with those before. Raises `Unreadable`, and is of no use afterwards."""
        told: list[Frame] = []
        view, at, end = memoryview(data), 0, len(data)
        while at < end:
            size = min(self.pending_bytes, end - at)
            self._advance(view[at : at + size], told)
            at += size
        return told

    def _advance(self, piece: memoryview, told: list[Frame]) -> None:
        if self._skip:
            self._skip -= len(piece)
        elif self._data_left:
            self._pass_data(piece, told)
        else:
            self._hold(piece, told)

    def _hold(self, piece: memoryview, told: list[Frame]) -> None:
        if self._held or len(piece) < self._want:
            self._held += piece
            if len(self._held) < self._want:
                return
            whole = bytes(self._held)
            self._held.clear()
        else:
            whole = bytes(piece)
        if self._head is None:
            self._begin(_Head.of(whole), told)
        else:
            self._end(self._head, whole, told)

    def _begin(self, head: _Head, told: list[Frame]) -> None:
        self.begun = True
        self._empty_frames = 0 if head.length else self._empty_frames + 1
        self._check_order(head)
        if head.kind not in _LOOKED_INTO:
            self._skip = head.length
            return
        self._head, self._want = head, self._looked_into(head)
        if self._want > head.length:
            raise Unreadable(f"frame of kind {head.kind} has {head.length} bytes, {self._want} at least were expected")
        if self._want == 0:
            self._end(head, b"", told)

    def _check_order(self, head: _Head) -> None:
        if self._empty_frames > _EMPTY_FRAMES_LIMIT:
            raise Unreadable(f"more than {_EMPTY_FRAMES_LIMIT} empty frames in a row")
        expected = self._block.head.stream_id if self._block is not None else None
        continued = head.stream_id if head.kind == Kind.CONTINUATION else None
        if continued != expected:
            raise Unreadable(f"header block of stream {expected} goes on in a frame of kind {head.kind}")

    def _looked_into(self, head: _Head) -> int:
        """How much of a frame's payload is held before it is told."""
        match head.kind:
            case Kind.HEADERS | Kind.CONTINUATION | Kind.PUSH_PROMISE:
                return head.length if head.length <= self._block_limit_bytes else 0
            case Kind.DATA:
                return 1 if head.flags & _PADDED else 0
            case Kind.RST_STREAM:
                return 4
            case Kind.GOAWAY:
                return 8
            case Kind.SETTINGS if head.length > _SETTINGS_LIMIT or head.length % _SETTING_BYTES:
                raise Unreadable(f"SETTINGS frame of {head.length} bytes")
            case Kind.SETTINGS:
                return head.length
        return 0

    def _end(self, head: _Head, payload: bytes, told: list[Frame]) -> None:
        self._head, self._want = None, _HEADER_BYTES
        self._skip = head.length - len(payload)
        match head.kind:
            case Kind.DATA:
                self._begin_data(head, payload, told)
            case Kind.HEADERS | Kind.PUSH_PROMISE:
                self._block = _OpenBlock(head)
                self._add_fragment(self._block, head, payload, told)
            case Kind.CONTINUATION if self._block is not None:
                self._add_fragment(self._block, head, payload, told)
            case Kind.SETTINGS:
                told.append(Settings(bool(head.flags & _ACK), _header_table_bytes(payload)))
            case Kind.RST_STREAM:
                told.append(Reset(head.stream_id))
            case Kind.GOAWAY:
                told.append(GoAway(int.from_bytes(payload[:4]) & LAST_STREAM_ID))

    # bodies

    def _begin_data(self, head: _Head, payload: bytes, told: list[Frame]) -> None:
        self._padding = payload[0] if payload else 0
        self._data, self._data_left = head, self._skip - self._padding
        if self._data_left < 0:
            raise Unreadable("DATA frame has more padding than bytes")
        self._skip = 0
        if self._data_left == 0:
            self._pass_data(memoryview(b""), told)

    def _pass_data(self, piece: memoryview, told: list[Frame]) -> None:
        assert self._data is not None
        self._data_left -= len(piece)
        is_last = self._data_left == 0
        told.append(Data(self._data.stream_id, piece, is_last and bool(self._data.flags & _END_STREAM)))
        if is_last:
            self._skip, self._data = self._padding, None

    # header blocks

    def _add_fragment(self, block: _OpenBlock, head: _Head, payload: bytes, told: list[Frame]) -> None:
        taken = len(block.fragments) + _HEADER_BYTES + len(payload)
        if block.over_limit or self._skip or taken > self._block_limit_bytes:
            block.over_limit = True
            block.fragments.clear()
        else:
            block.fragments += _fragment(head, payload)
        if head.flags & _END_HEADERS:
            self._block = None
            told.append(block.told())


def _fragment(head: _Head, payload: bytes) -> bytes:
    """A frame's part of its header block: without padding, and without the fields that stand before it."""
    if head.kind == Kind.CONTINUATION:
        return payload
    start, end = 0, len(payload)
    if head.flags & _PADDED:
        start, end = 1, end - (payload[0] if payload else 0)
    if head.kind == Kind.PUSH_PROMISE:
        start += _PROMISE_BYTES
    elif head.flags & _PRIORITY:
        start += _PRIORITY_BYTES
    if start > end:
        raise Unreadable(f"frame of kind {head.kind} is too short for its padding and fields")
    return payload[start:end]


def _header_table_bytes(payload: bytes) -> int | None:
    """The last HEADER_TABLE_SIZE of a SETTINGS frame, for settings count in their order."""
    size = None
    for at in range(0, len(payload), _SETTING_BYTES):
        if int.from_bytes(payload[at : at + 2]) == _HEADER_TABLE_SIZE:
            size = int.from_bytes(payload[at + 2 : at + _SETTING_BYTES])
    return size
