"""Whole HTTP messages as values, and the bytes of a head and of a response.

Invariant: header names of a parsed message are lower case; values are as they arrived.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

Headers = list[tuple[bytes, bytes]]
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
_WITHOUT_BODY = (204, 304)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One request with its whole body. `target` is the path with its query, as sent."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query, undecoded bytes read as Latin-1."""
        return self.target.split(b"?", 1)[0].decode("latin-1")

    def header(self, name: bytes) -> bytes | None:
        return find(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """One response with its whole body. `content-length` is written by the server, never given here."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    @classmethod
    def text(cls, status: int, reason: str, headers: Headers | None = None) -> "Response":
        """A plain-text answer that ends in a line break, for people and their logs."""
        return cls(status, [TEXT, *(headers or [])], reason.encode(errors="backslashreplace") + b"\n")

    def header(self, name: bytes) -> bytes | None:
        return find(self.headers, name)


def find(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header, by its lower-case name."""
    for key, value in headers:
        if key == name:
            return value
    return None


def status_line(status: int, reason: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d %s\r\n" % (status, reason or _REASONS.get(status, b""))


def head(start_line: bytes, headers: Headers) -> bytes:
    """A message head: start line, headers, empty line. Raises `ValueError` for a line break that is not ours."""
    lines = start_line + b"\r\n".join([*map(b": ".join, headers), b"", b""])
    if lines.count(b"\r") != len(headers) + 2 or lines.count(b"\n") != len(headers) + 2:
        raise ValueError("a start line or header holds a line break")
    return lines


def response_bytes(response: Response, last: bool, bodiless: bool) -> bytes:
    """A response as a server writes it: `last` on its connection, `bodiless` where HEAD asked. Raises `ValueError`."""
    silent = response.status in _WITHOUT_BODY
    length = None if silent else len(response.body)
    if response.headers:
        start = head(status_line(response.status), [*response.headers, *_framing(length, last)])
    else:
        start = _plain_head(response.status, length, last)
    return start if bodiless or silent else start + response.body


def _framing(length: int | None, last: bool) -> Headers:
    headers: Headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return [*headers, (b"connection", b"close")] if last else headers


@lru_cache(maxsize=256)
def _plain_head(status: int, length: int | None, last: bool) -> bytes:
    """Most answers have no headers of their own, and one of few lengths."""
    return head(status_line(status), _framing(length, last))
