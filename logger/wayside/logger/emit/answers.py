"""Reads the answers of an HTTP/1.1 server, byte by byte or whole: all that a sender of events needs of them.

Source: RFC 9112 sections 4 to 7 and 9.3.
Invariant: reading does no I/O and keeps no more than `HEAD_LIMIT` bytes; whatever is not an answer, or could be read in
two ways, is none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from wayside.eventing.errors import WaysideError

HEAD_LIMIT = 64 << 10  # of all heads of one answer, 1xx included
FRAMING_LIMIT = 256 << 10  # of the sizes of chunks, and trailers
BODY_LIMIT = 64 << 20  # it is read past, so this bounds time rather than memory
TEXT_LIMIT = 200
_KNOWN_LIMIT = 1024
_LINE_LIMIT = 8 << 10
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\x00\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00\r\n]*)?")
_DIGITS = re.compile(rb"[0-9]{1,12}")

_Step = Callable[[], bool]


class BadAnswer(WaysideError):
    """What came is no answer that can be trusted; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is the beginning of the body; `keeps_alive`: another request may follow on the connection; `pipelines`: so
    may several, as HTTP/1.1 has it."""

    status: int
    retry_after_s: float | None = None
    text: bytes = b""
    keeps_alive: bool = True
    pipelines: bool = True


@dataclass(frozen=True, slots=True)
class _Head:
    """A head as its fields say: `length` of the body, None where it is chunked or lasts until the close."""

    status: int
    length: int | None
    chunked: bool
    keeps_alive: bool
    pipelines: bool
    retry_after_s: float | None


class AnswerReader:
    """Reads one answer after another from one connection. `begun`: the next one has sent a byte."""

    def __init__(self) -> None:
        self._known: tuple[bytes, Answer | None] = (b"", None)
        self._buffer = bytearray()
        self._start()

    def _start(self) -> None:
        self.begun = False
        self._step: _Step = self._read_head
        self._head_bytes = self._framing_bytes = self._body_bytes = self._left = self._searched = 0
        self._head: _Head | None = None
        self._text = b""
        self._answer: Answer | None = None

    def feed(self, data: bytes, awaited: int = 1) -> list[Answer]:
        """The answers that are whole by now, of `awaited` that were asked for.

        After an answer that ends the connection, which one does that nobody asked for, or nonsense, comes after, the
        rest is passed over. Raises `BadAnswer` where it comes before any answer.
        """
        known, answer = self._known
        count = len(data) // len(known) if answer is not None and not self.begun else 0
        if answer is not None and 0 < count <= awaited and data == known * count:
            return [answer] * count  # servers repeat themselves: the same bytes from the start are the same answers
        self._buffer += data
        answers: list[Answer] = []
        is_over = False
        try:
            while self._buffer and len(answers) < awaited and (not answers or answers[-1].keeps_alive):
                if (answer := self._read_one(data)) is None:
                    return answers
                answers.append(answer)
        except BadAnswer:
            if not answers:
                raise
            is_over = True
        if self._buffer or is_over:
            answers[-1] = replace(answers[-1], keeps_alive=False)
            self._buffer.clear()
        return answers

    def _read_one(self, data: bytes) -> Answer | None:
        """The answer at the buffer's beginning, which is part of `data` unless it began before."""
        left_bytes, is_new = len(self._buffer), not self.begun
        self.begun = True
        while self._answer is None and self._step():
            pass
        answer = self._answer
        if answer is None:
            return None
        taken_bytes = left_bytes - len(self._buffer)
        if is_new and answer.keeps_alive and taken_bytes <= _KNOWN_LIMIT:
            at = len(data) - left_bytes
            self._known = data[at : at + taken_bytes], answer
        self._start()
        return answer

    def end(self) -> Answer | None:
        """The server closed: the answer, where it is one whose body lasts until then. None where it is not whole."""
        head = self._head
        if head is None or head.chunked or head.length is not None:
            return None
        return Answer(head.status, head.retry_after_s, self._text, keeps_alive=False)

    # each step reads something and says whether the next may go on

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._buffer)
        self._charge_head(end + 4 if end >= 0 else 0)
        if end < 0:
            return False
        head = _head_of(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._searched = 0
        if head.status >= 200:
            self._begin_body(head)
        return True

    def _charge_head(self, taken: int) -> None:
        """Count bytes of heads; what waits for its end counts too."""
        if self._head_bytes + (taken or len(self._buffer)) > HEAD_LIMIT:
            raise BadAnswer(f"the answer's head is over {HEAD_LIMIT} bytes")
        self._head_bytes += taken

    def _begin_body(self, head: _Head) -> None:
        self._head = head
        if head.chunked:
            self._step = self._read_size
        elif head.length is None:
            self._step = self._read_until_close
        elif head.length:
            self._charge_body(head.length)
            self._step, self._left = self._read_sized, head.length
        else:
            self._finish()

    def _charge_body(self, length: int) -> None:
        self._body_bytes += length
        if self._body_bytes > BODY_LIMIT:
            raise BadAnswer(f"the answer is over {BODY_LIMIT} bytes")

    def _read_sized(self) -> bool:
        if not self._pass_over():
            return False
        self._finish()
        return True

    def _pass_over(self) -> bool:
        """Read past what there is of the body's `_left` bytes, and keep its beginning; True at their end."""
        part = self._buffer[: min(self._left, TEXT_LIMIT - len(self._text))]
        self._text += part
        taken = min(self._left, len(self._buffer))
        del self._buffer[:taken]
        self._left -= taken
        return not self._left

    def _read_until_close(self) -> bool:
        self._left = len(self._buffer)
        self._charge_body(self._left)
        self._pass_over()
        return False

    def _line(self) -> bytes | None:
        """A line of chunked framing, without its end; None where it is not whole."""
        end = self._buffer.find(b"\r\n")
        self._framing_bytes += end + 2 if end >= 0 else 0
        if self._framing_bytes > FRAMING_LIMIT or (end < 0 and len(self._buffer) > _LINE_LIMIT):
            raise BadAnswer(f"the sizes of the answer's chunks are over {FRAMING_LIMIT} bytes")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadAnswer(f"{line[:64]!r} is no size of a chunk")
        self._left = int(match[1], 16)
        self._charge_body(self._left)
        self._step = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        if not self._pass_over():
            return False
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadAnswer("a chunk is longer than it says")
        del self._buffer[:2]
        self._step = self._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._finish()
        elif _FIELD.fullmatch(line) is None:
            raise BadAnswer(f"{line[:64]!r} is no trailer")
        return True

    def _finish(self) -> None:
        head = self._head
        assert head is not None, "a body has a head"
        self._answer = Answer(head.status, head.retry_after_s, self._text, head.keeps_alive, head.pipelines)


def _head_of(text: bytes) -> _Head:
    first, *lines = text.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise BadAnswer(f"{first[:64]!r} is no status line of HTTP/1.1")
    status, fields = int(match[2]), _fields(lines)
    if status == 101:
        raise BadAnswer("it switched protocols, and was not asked to")
    chunked = _is_chunked(fields, match[1])
    length = None if chunked else _length(status, fields)
    keeps_alive = (chunked or length is not None) and _keeps_alive(match[1], fields)
    return _Head(status, length, chunked, keeps_alive, match[1] == b"1", _retry_after_s(fields))


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadAnswer(f"{line[:64]!r} is no header")
        fields.setdefault(match[1].lower(), []).append(match[2])
    return fields


def _is_chunked(fields: dict[bytes, list[bytes]], minor: bytes) -> bool:
    codings = fields.get(b"transfer-encoding")
    if codings is None:
        return False
    if b"content-length" in fields:
        raise BadAnswer("it has both content-length and transfer-encoding")
    if minor == b"0" or [coding.lower() for coding in codings] != [b"chunked"]:
        raise BadAnswer(f"transfer-encoding {b', '.join(codings)[:64]!r} is not one that was asked for")
    return True


def _length(status: int, fields: dict[bytes, list[bytes]]) -> int | None:
    given = fields.get(b"content-length")
    if given is not None and (len(given) > 1 or _DIGITS.fullmatch(given[0]) is None):
        raise BadAnswer(f"content-length {b', '.join(given)[:64]!r} is not one number")
    if status < 200 or status in (204, 304):
        return 0
    return int(given[0]) if given is not None else None


def _keeps_alive(minor: bytes, fields: dict[bytes, list[bytes]]) -> bool:
    options = {option.strip().lower() for option in b",".join(fields.get(b"connection", [])).split(b",")}
    return b"close" not in options and (minor == b"1" or b"keep-alive" in options)


def _retry_after_s(fields: dict[bytes, list[bytes]]) -> float | None:
    """Seconds; None without the header, or with a date, which needs a clock."""
    value = fields.get(b"retry-after", [b""])[0]
    return float(value) if value.isdigit() and len(value) <= 6 else None
