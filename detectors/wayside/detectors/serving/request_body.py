"""Bodies of requests, read within bounds: of one, of all that are held at once, and of what one inflates to.

Source: RFC 9110 §8.4 (content codings), §15.5.14 (413), §15.5.16 (415).
Invariant: no more than the limits is ever held of bodies, whatever a request announces, and what was held is given
back. Answers that clients do not take count as held: while there are too many of them, nothing more is read.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from wayside.detectors.serving.connection import ClientWatch
from wayside.eventing.errors import QueueFull, WaysideError
from wayside.eventing.payloads.encoding import inflate
from wayside.eventing.payloads.payload import Limits

R = TypeVar("R")
Receive = Any
"""ASGI's: a coroutine function that gives the next message."""

_LARGE_AT_ONCE = 2  # bodies that threads inflate and read: what comes of each is many times its size
_READ_CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"identity", b""))


class BodyTooLarge(WaysideError):
    """The body goes over its limit (413)."""


class CodingUnread(WaysideError):
    """The body has a content coding that is not read (415)."""


class ClientGone(WaysideError):
    """The connection closed before the body was complete: nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """Bounds of what is read: bytes of one body, requests in hand at once, bytes of all of their bodies, what a
    compressed body may inflate to, and rows of one body: an answer has many times the bytes of the row it is for."""

    body_bytes: int = 16 << 20
    in_flight: int = 1024
    held_bytes: int = 256 << 20
    inflated_bytes: int = 16 << 20
    rows: int = 100_000

    @property
    def payload(self) -> Limits:
        """The bounds of one payload, for whoever reads it."""
        return Limits(inflated_bytes=self.inflated_bytes, rows=self.rows)


class BodyHeaders(NamedTuple):
    """What a request's headers say of its body: bytes announced, 0 where it is sent in chunks, and its coding."""

    announced: int
    coding: bytes | None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> "BodyHeaders":
        """From headers whose names are in lower case."""
        announced, codings = 0, list[bytes]()
        for name, value in headers:
            if name == b"content-length":
                announced = int(value) if value.isdigit() else 0  # the server counts what follows, too
            elif name == b"content-encoding":
                codings.append(value)
        return cls(announced, b",".join(codings) if codings else None)


class Held:
    """What all requests in hand hold at this moment."""

    def __init__(self, limits: RouteLimits) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def apart(self, work: Callable[..., R], *given: object) -> R:
        """What takes longer than the event loop can be spared, in a thread; the others wait."""
        async with self._large:
            return await asyncio.to_thread(work, *given)

    async def until_taken(self, client: ClientWatch) -> None:
        """Hold what a client has not taken of its answer until it has, or has gone."""
        size = client.unsent_bytes
        if not size:
            return
        self.bytes += size
        try:
            await client.taken()
        finally:
            self.bytes -= size

    def request(self, announced: int) -> "HeldBody":
        """One more request in hand, once it is entered. Raises `BodyTooLarge`, or `QueueFull` for too much."""
        if announced > self.limits.body_bytes:
            raise BodyTooLarge(f"body is over {self.limits.body_bytes} bytes")
        if self.requests >= self.limits.in_flight:
            raise QueueFull(f"{self.requests} requests are in hand already")
        return HeldBody(self)


class HeldBody:
    """What one request holds: what of it has come. What it announces costs nobody anything."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.bytes = 0

    def __enter__(self) -> "HeldBody":
        self._held.requests += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._held.requests -= 1
        self._held.bytes -= self.bytes

    def grow(self, size: int) -> None:
        """Hold `size` bytes from now on, if that is more. Raises `BodyTooLarge`, `QueueFull`."""
        if size > self._held.limits.body_bytes:
            raise BodyTooLarge(f"body is over {self._held.limits.body_bytes} bytes")
        self._hold(size)

    def _hold(self, size: int) -> None:
        limits = self._held.limits
        if size <= self.bytes:
            return
        if self._held.bytes + size - self.bytes > limits.held_bytes:
            raise QueueFull(f"bodies, and answers that clients do not take, are over {limits.held_bytes} bytes")
        self._held.bytes += size - self.bytes
        self.bytes = size

    async def inflate(self, body: bytes, coding: bytes | None) -> bytes:
        """The body with its content coding undone, in a thread: that takes longer than the event loop can be spared.

        Raises `CodingUnread`, `QueueFull`, and `MalformedPayload` for what is damaged or inflates beyond the limit.
        """
        if coding is None:
            return body
        check_coding(coding)
        inflated = await self._held.apart(inflate, body, coding.decode("latin-1"), self._held.limits.payload)
        self._hold(len(inflated))
        return inflated

    async def read(self, receive: Receive) -> bytes:
        """The whole body. Raises `BodyTooLarge`, `QueueFull`, `ClientGone`."""
        message = await receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            whole: bytes = message.get("body", b"")
            self.grow(len(whole))
            return whole
        chunks, size = list[bytes](), 0
        while True:
            if message["type"] != "http.request":
                raise ClientGone("the connection closed before the body was complete")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            self.grow(size)
            if not message.get("more_body", False):
                return b"".join(chunks)
            message = await receive()


def check_coding(coding: bytes) -> None:
    """Raises `CodingUnread` where a content coding is named that is not read."""
    unread = [each.strip() for each in coding.lower().split(b",") if each.strip() not in _READ_CODINGS]
    if unread:
        raise CodingUnread(
            f"Content-Encoding {unread[0][:64].decode('latin-1')!r} is not read: send gzip, deflate or identity"
        )
