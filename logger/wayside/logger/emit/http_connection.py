"""One connection to the log url, which carries one exchange at a time.

Invariant: an exchange ends once, with an answer or the reason why there is none; after anything odd the connection is
closed, so that no answer is ever taken for another's.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, cast

from wayside.logger.emit.answers import Answer, AnswerReader, BadAnswer
from wayside.logger.emit.sender import Report

_CONCATENATED_BYTES = 8 << 10  # a small body is cheaper copied than written as a second piece


@dataclass(slots=True, eq=False)
class Post:
    """A message, who waits for what became of it, and until when. `may_repeat`: it was not yet tried twice at once."""

    head: bytes
    body: bytes
    report: Report
    deadline_s: float
    may_repeat: bool = True


class Exchanges(Protocol):
    """Who owns connections, and is told how their exchanges end."""

    def note_answer(self, connection: "Connection", post: Post, answer: Answer) -> None:
        """The exchange is over; the connection is free, or of no more use."""

    def note_broken(self, connection: "Connection", post: Post | None, reason: str, *, repeatable: bool) -> None:
        """The connection is of no more use. `repeatable`: it had served before, and answered this post with nothing."""


class Connection(asyncio.Protocol):
    """`post` is the message in hand; `retires_s` and `idle_since_s` are the owner's."""

    __slots__ = ("_owner", "_reader", "_served", "_transport", "idle_since_s", "post", "retires_s")

    def __init__(self, owner: Exchanges) -> None:
        self._owner = owner
        self._reader = AnswerReader()
        self._served = False
        self._transport: asyncio.Transport | None = None
        self.post: Post | None = None
        self.retires_s = self.idle_since_s = 0.0

    @property
    def is_free(self) -> bool:
        """Whether a post may be sent."""
        return self._transport is not None and self.post is None and not self._transport.is_closing()

    def send(self, post: Post) -> None:
        """Write a message; the owner hears of its end in a later turn."""
        assert self._transport is not None, "a connection is used once it is made"
        self.post = post
        if len(post.body) <= _CONCATENATED_BYTES:
            self._transport.write(post.head + post.body)
        else:
            self._transport.writelines([post.head, post.body])

    def close(self) -> None:
        """At once; a post in hand is told of nothing."""
        self.post = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, reason: str) -> None:
        """Close, and tell the owner why."""
        repeatable = self._served and not self._reader.begun
        post = self.post
        self.close()
        self._owner.note_broken(self, post, reason, repeatable=repeatable)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        if self.post is None:
            self.fail("the server spoke without being asked")
            return
        try:
            answer = self._reader.feed(data)
        except BadAnswer as exc:
            self.fail(f"the answer is not HTTP/1.1: {exc}")
            return
        if answer is not None:
            self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        assert self._transport is not None
        post, self.post = self.post, None
        assert post is not None
        self._served = True
        if not answer.keeps_alive or self._transport.get_write_buffer_size():
            self.close()  # what it has not read of a request it would read before the next one
        self._owner.note_answer(self, post, answer)

    def eof_received(self) -> bool:
        return False  # the transport closes

    def connection_lost(self, exc: Exception | None) -> None:
        if self.post is not None and exc is None and (answer := self._reader.end()) is not None:
            self._finish(answer)
            return
        self.fail(f"the connection was closed before the answer was complete{f': {exc}' if exc else ''}")
