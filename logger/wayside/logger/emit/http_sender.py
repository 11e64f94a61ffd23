"""Posts messages over a pool of kept-alive connections to one URL, on the standard library alone.

Source: Knative's delivery contract for which answers are worth another try.
Invariant: every post is reported once, by its deadline and a quarter of a second; at most one request is on a
connection at a time; a redirect is not followed. No event costs a task or a timer of its own.
"""

import asyncio
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from wayside.eventing.event import CloudEvent
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.answers import Answer
from wayside.logger.emit.event_heads import HeadWriter
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.http_connection import Connection, Post
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.sender import Report, SinkBusy
from wayside.logger.emit.tls import ClientTls

_TRY_AGAIN = frozenset((404, 408, 409, 425, 429))
_SWEEP_S = 0.25


@dataclass(frozen=True, slots=True)
class Pooling:
    """A connection carries one post at a time, so `limit_posts` bounds both. `idle_s` is shorter than servers' usual
    keep-alive, so that a post seldom meets a connection that is being closed. After `life_s` a connection is not used
    again: the name is resolved anew, so that a Service's new endpoints get their share.
    """

    limit_posts: int = 16
    idle_s: float = 4.0
    life_s: float = 180.0


class HttpSender:
    """Posts each event alone, in binary mode. `timeout_s` bounds a post, the connection's making included."""

    def __init__(
        self,
        address: HttpAddress,
        timeout_s: float,
        pooling: Pooling,
        tls: ClientTls | None,
        *,
        batches: BatchLimits | None = None,
        raw_values: bool = False,
    ) -> None:
        self.limit_posts = pooling.limit_posts
        self.batches = batches or BatchLimits()
        self._address = address
        self._pooling = pooling
        self._timeout_s = timeout_s
        self._tls = tls
        self._heads = HeadWriter(address.target, address.authority, raw_values=raw_values)
        self._idle: list[Connection] = []  # the most recently used last
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # which make connections
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Nothing is opened before the first event."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Close all connections; posts in hand are given up, and not reported."""
        self._loop = None
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._open):
            connection.close()
        self._open.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn

    def post(self, events: Sequence[CloudEvent], report: Report) -> None:
        (event,) = events
        self._begin(*self._heads.message(event), report)

    def _begin(self, head: bytes, body: bytes, report: Report) -> None:
        loop = self._loop
        if loop is None:
            raise SinkUnavailable(f"{self._address.text}: the sender is not running")
        now_s = loop.time()
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)
        post = Post(head, body, report, now_s + self._timeout_s)
        connection = self._take_idle(now_s)
        if connection is not None:
            connection.send(post)
        else:
            self._connect_for(loop, post)

    def _take_idle(self, now_s: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_free and now_s < connection.idle_since_s + self._pooling.idle_s:
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    # connections

    def _connect_for(self, loop: asyncio.AbstractEventLoop, post: Post) -> None:
        task = loop.create_task(self._connect(loop, post))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, loop: asyncio.AbstractEventLoop, post: Post) -> None:
        """Make a connection and send the post over it, or report why that was not possible."""
        try:
            async with asyncio.timeout_at(post.deadline_s):
                context = await self._tls.wait_context() if self._tls is not None else None
                connection = await self._open_connection(loop, context)
        except TimeoutError:
            post.report(self._unavailable(f"no connection within {self._timeout_s:g} s"))
        except Exception as exc:  # a task's edge: whoever waits for the report hears of whatever it was
            post.report(self._unavailable(_reason(exc)))
        else:
            self._send_first(connection, post, loop.time())

    def _send_first(self, connection: Connection, post: Post, now_s: float) -> None:
        if not connection.is_free:
            post.report(self._unavailable("the connection was closed as soon as it was made"))
            return
        connection.retires_s = now_s + self._pooling.life_s * random.uniform(0.8, 1.0)  # not all of them at once
        self._open.add(connection)
        connection.send(post)

    async def _open_connection(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None) -> Connection:
        address = self._address
        _, connection = await loop.create_connection(lambda: Connection(self), address.host, address.port, ssl=context)
        return connection

    def _unavailable(self, reason: str) -> SinkUnavailable:
        return SinkUnavailable(f"{self._address.text}: {reason}")

    def _sweep_connections(self) -> None:
        """Fail what is past its deadline, close what lay idle too long, and come again while there is anything."""
        self._sweep = None
        loop = self._loop
        if loop is None:
            return
        now_s = loop.time()
        for connection in list(self._open):
            post = connection.post
            if post is not None and now_s >= post.deadline_s:
                connection.fail(f"no answer within {self._timeout_s:g} s")
            elif post is None and now_s >= connection.idle_since_s + self._pooling.idle_s:
                self._drop(connection)
        self._idle = [connection for connection in self._idle if connection in self._open]
        if (self._open or self._tasks) and self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)

    # how exchanges end

    def note_answer(self, connection: Connection, post: Post, answer: Answer) -> None:
        """The connection is kept if it can be, then the post is reported, so that the next one finds it."""
        loop = self._loop
        if loop is None:
            return
        now_s = loop.time()
        if connection.is_free and now_s < connection.retires_s:
            connection.idle_since_s = now_s
            self._idle.append(connection)
        else:
            self._drop(connection)
        post.report(None if 200 <= answer.status < 300 else self._error(answer))

    def note_broken(self, connection: Connection, post: Post | None, reason: str, *, repeatable: bool) -> None:
        """A post that met a connection which its server was closing is sent again at once, on a new one."""
        self._open.discard(connection)
        if post is None or self._loop is None:
            return
        if repeatable and post.may_repeat and self._loop.time() < post.deadline_s:
            post.may_repeat = False
            self._connect_for(self._loop, post)
        else:
            post.report(self._unavailable(reason))

    def _error(self, answer: Answer) -> SinkUnavailable | EventRefused:
        text = answer.text.decode(errors="replace").strip()
        reason = f"{self._address.text} answered {answer.status}" + (f": {text}" if text else "")
        if answer.status >= 500 or answer.status in _TRY_AGAIN:
            return SinkBusy(reason, answer.retry_after_s)
        return EventRefused(reason)


def _reason(exc: Exception) -> str:
    """Why there is no connection, in words."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    return str((isinstance(exc, OSError) and exc.strerror) or exc or type(exc).__name__)
