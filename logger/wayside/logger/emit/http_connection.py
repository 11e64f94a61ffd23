"""One connection to the log url, which carries one post, or several in line.

Source: RFC 9112 sections 9.3.2 and 9.6.
Invariant: answers belong to posts in the order in which those were written; a post ends once, with its answer or with
the reason why there is none. After anything odd the connection is closed, so that no answer is taken for another's.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from wayside.logger.emit.answers import Answer, AnswerReader, BadAnswer
from wayside.logger.emit.parcel import Shipment

_JOINED_BYTES = 64 << 10  # so much is cheaper copied than written in pieces


@dataclass(slots=True, eq=False)
class Post:
    """A message as it is written. `may_repeat`: it was not yet tried twice at once; `is_doubted`: what its answer said
    may have been about the posts around it."""

    shipment: Shipment
    head: bytes
    body: bytes
    may_repeat: bool = True
    is_doubted: bool = False

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.body)


class Exchanges(Protocol):
    """Who owns connections, and is told how posts end."""

    def note_answers(
        self, connection: "Connection", posts: Sequence[Post], answers: Sequence[Answer], rest: Sequence[Post]
    ) -> None:
        """These posts were answered so. `rest` will not be: the server ends the connection, which is closed."""

    def note_broken(self, connection: "Connection", posts: Sequence[Post], reason: str, repeatable: int) -> None:
        """The connection is of no more use. The last `repeatable` of the posts may be sent again at once: it had served
        before, and answered them with nothing."""


class Connection(asyncio.Protocol):
    """`posts` are in line for their answers. `since_s` tells since when the first of them is the first, or since when
    there is none; it and `retires_s` are the owner's. `crowd` were written at one go; `answered` counts answers;
    `pipelines` is whether the last of them lets several be written.
    """

    __slots__ = ("_owner", "_reader", "_transport", "answered", "crowd", "pipelines", "posts", "retires_s", "since_s")

    def __init__(self, owner: Exchanges) -> None:
        self._owner = owner
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self.posts: deque[Post] = deque()
        self.crowd = self.answered = 0
        self.pipelines = False
        self.retires_s = self.since_s = 0.0

    @property
    def is_free(self) -> bool:
        """Whether posts may be sent."""
        return self._transport is not None and not self.posts and not self._transport.is_closing()

    def send(self, posts: Sequence[Post]) -> None:
        """Write messages; the owner hears of their end in a later turn."""
        assert self._transport is not None, "a connection is used once it is made"
        self.posts.extend(posts)
        self.crowd = len(posts)
        pieces = [piece for post in posts for piece in (post.head, post.body)]
        if sum(map(len, pieces)) <= _JOINED_BYTES:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines(pieces)

    def close(self) -> None:
        """At once; posts in hand are told of nothing."""
        self.posts.clear()
        if self._transport is not None:
            self._transport.abort()

    def expire(self, reason: str) -> None:
        """Close, and tell the owner why: all posts had their time, or were behind the one that had."""
        self._break(reason, 0)

    def _fail(self, reason: str) -> None:
        begun = self._reader.begun
        self._break(reason, max(0, len(self.posts) - begun) if self.answered else 0)

    def _break(self, reason: str, repeatable: int) -> None:
        posts = list(self.posts)
        self.close()
        self._owner.note_broken(self, posts, reason, repeatable)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        if not self.posts:
            self._fail("the server spoke without being asked")
            return
        try:
            answers = self._reader.feed(data, len(self.posts))
        except BadAnswer as exc:
            self._fail(f"the answer is not HTTP/1.1: {exc}")
            return
        if answers:
            self._finish(answers)

    def _finish(self, answers: Sequence[Answer]) -> None:
        count, waiting = len(answers), self.posts
        if count == len(waiting):
            posts = list(waiting)
            waiting.clear()
        else:
            posts = [waiting.popleft() for _ in answers]
        self.answered += count
        self.pipelines = answers[-1].pipelines
        rest: list[Post] = []
        if not answers[-1].keeps_alive or self._was_hasty():
            rest = list(waiting)
            self.close()
        self._owner.note_answers(self, posts, answers, rest)

    def _was_hasty(self) -> bool:
        """Whether a post was answered before it was read: what is left of it would be read before the next one."""
        assert self._transport is not None
        unwritten_bytes = self._transport.get_write_buffer_size()
        return bool(unwritten_bytes) and unwritten_bytes > sum(post.size_bytes for post in self.posts)

    def eof_received(self) -> bool:
        return False  # the transport closes

    def connection_lost(self, exc: Exception | None) -> None:
        if self.posts and exc is None and (answer := self._reader.end()) is not None:
            self._finish([answer])
            return
        self._fail(f"the connection was closed before the answer was complete{f': {exc}' if exc else ''}")
