"""Posts messages over a pool of kept-alive connections to one URL, on the standard library alone.

Source: Knative's delivery contract for which answers are worth another try; RFC 9112 section 9.3.2 for pipelining.
Invariant: every post is reported once. An answer is waited for `timeout_s`, and a quarter of a second, from when its
post is the first in line on its connection; a redirect is not followed. No event costs a task or a timer of its own.

Posts wait in one line until a connection is free, which then takes as many as it may carry, in one write. Those that a
closing connection left unanswered are sent again at once, on another one; and once only, so that what breaks every
connection is soon reported.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from wayside.eventing.http.resolving import Resolver, connect_in_turn
from wayside.eventing.sink import EventRefused, SinkUnavailable
from wayside.logger.emit.answers import Answer
from wayside.logger.emit.event_heads import HeadWriter
from wayside.logger.emit.http_address import HttpAddress
from wayside.logger.emit.http_connection import Connection, Post
from wayside.logger.emit.http_pipeline import Pipelining
from wayside.logger.emit.outbox import BatchLimits
from wayside.logger.emit.parcel import Shipment
from wayside.logger.emit.sender import Report, SinkBusy
from wayside.logger.emit.tls import ClientTls

_TRY_AGAIN = frozenset((404, 408, 409, 425, 429))
_DOUBTFUL = frozenset((400, 505))  # so answers a server that cannot read pipelined posts
_SWEEP_S = 0.25
_IN_FLIGHT_BYTES = 256 << 10  # on a connection with several posts,
_BACKLOG_BYTES = 1 << 20  # and where a quarter of all that connections may carry is in line: else large events would
# be taken to a busy loop's sink more slowly than they come
_PROVEN = 64  # answers after which a connection's announced end is ordinary: nginx closes after 1000


@dataclass(frozen=True, slots=True)
class Pooling:
    """`limit_connections` carry up to `pipeline` posts each. `idle_s` is shorter than servers' usual keep-alive, so
    that a post seldom meets a connection that is being closed. After `life_s` a connection is not used again: the name
    is resolved anew, so that a Service's new endpoints get their share.
    """

    limit_connections: int = 16
    idle_s: float = 4.0
    life_s: float = 180.0
    pipeline: int = 1


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
        self.batches = batches or BatchLimits()
        self._address = address
        self._pooling = pooling
        self._resolver = Resolver()
        self._timeout_s = timeout_s
        self._tls = tls
        self._heads = HeadWriter(address.target, address.authority, address.authorization, raw_values=raw_values)
        self._pipelining = Pipelining(pooling.pipeline)
        self._line: deque[Post] = deque()
        self._idle: list[Connection] = []  # the most recently used last
        self._busy: dict[Connection, None] = {}  # the one that has waited longest for an answer first
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._report: Report = _ignore

    @property
    def limit_posts(self) -> int:
        return self._pooling.limit_connections * self._pipelining.depth

    @property
    def gathers(self) -> int:
        return self._pipelining.depth

    async def start(self, report: Report) -> None:
        """Nothing is opened before the first event."""
        self._loop = asyncio.get_running_loop()
        self._report = report

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
            self._drop(connection)
        self._idle.clear()
        self._line.clear()

    def post(self, shipment: Shipment) -> None:
        (parcel,) = shipment.parcels
        self._line.append(Post(shipment, *self._heads.message(parcel.event)))

    def flush(self) -> None:
        """Hand what is in line to free connections, as much as each may carry, and make others as far as it takes."""
        loop, line = self._loop, self._line
        if loop is None or not line:
            return
        now_s = loop.time()
        depth = self._depth(now_s)
        room_bytes = _BACKLOG_BYTES if 4 * len(line) > self.limit_posts else _IN_FLIGHT_BYTES
        while line and (connection := self._take_idle(now_s)) is not None:
            self._load(connection, depth, room_bytes, now_s)
        limit = self._pooling.limit_connections
        while line and len(self._open) + self._connecting < limit and self._connecting * (depth - 1) < len(line):
            self._connect_for(loop, line.popleft())
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)

    def _depth(self, now_s: float) -> int:
        for connection in self._busy:
            return self._pipelining.depth_after(now_s - connection.since_s)
        return self._pipelining.depth

    def _load(self, connection: Connection, depth: int, room_bytes: int, since_s: float) -> None:
        """Give a connection what it may carry: one post until it has answered one, else as many as have room."""
        line = self._line
        posts = [line.popleft()]
        if depth > 1 and line and connection.pipelines:
            room_bytes -= posts[0].size_bytes
            while line and len(posts) < depth and (room_bytes := room_bytes - line[0].size_bytes) >= 0:
                posts.append(line.popleft())
        connection.since_s = since_s
        self._busy[connection] = None
        connection.send(posts)

    def _take_idle(self, now_s: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_free and now_s < connection.since_s + self._pooling.idle_s:
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._busy.pop(connection, None)
        connection.close()

    # connections

    def _connect_for(self, loop: asyncio.AbstractEventLoop, post: Post) -> None:
        self._connecting += 1
        task = loop.create_task(self._connect(loop, post))
        self._tasks.add(task)
        task.add_done_callback(partial(self._note_done, post))

    async def _connect(self, loop: asyncio.AbstractEventLoop, post: Post) -> None:
        """Make a connection and send the post over it, or report why that was not possible."""
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._timeout_s):
                context = await self._tls.wait_context() if self._tls is not None else None
                connection = await self._open_connection(loop, context)
        except TimeoutError:
            self._note_unconnected(post, f"no connection within {self._timeout_s:g} s")
        except Exception as exc:  # a task's edge: whoever waits for the report hears of whatever it was
            self._note_unconnected(post, _reason(exc))
        else:
            self._send_first(connection, post, began_s)

    def _note_done(self, post: Post, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it ran at all
            self._note_unconnected(post, "the connecting was cancelled")

    def _note_unconnected(self, post: Post, reason: str) -> None:
        self._connecting -= 1
        self._give_up([post, *self._take_line()], reason)

    def _send_first(self, connection: Connection, post: Post, began_s: float) -> None:
        self._connecting -= 1
        if not connection.is_free:
            self._give_up([post], "the connection was closed as soon as it was made")
            return
        connection.retires_s = began_s + self._pooling.life_s * random.uniform(0.8, 1.0)  # not all of them at once
        self._open.add(connection)
        self._line.appendleft(post)
        self._load(connection, 1, _IN_FLIGHT_BYTES, began_s)
        self.flush()

    async def _open_connection(self, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext | None) -> Connection:
        """Its name is looked up on the sender's own threads: one that hangs must not keep the proxy's waiting."""
        address, name = self._address, self._address.host if context is not None else None

        async def connect(host: str) -> Connection:
            made = loop.create_connection(
                lambda: Connection(self), host, address.port, ssl=context, server_hostname=name
            )
            return (await made)[1]

        return await connect_in_turn(self._resolver, address.host, loop.time() + self._timeout_s, connect)

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
            waited_s = now_s - connection.since_s
            if connection.posts and waited_s >= self._timeout_s:
                connection.expire(f"no answer within {self._timeout_s:g} s")
            elif not connection.posts and waited_s >= self._pooling.idle_s:
                self._drop(connection)
        self._idle = [connection for connection in self._idle if connection in self._open]
        self.flush()
        if (self._open or self._tasks) and self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_S, self._sweep_connections)

    # how posts end

    def note_answers(
        self, connection: Connection, posts: Sequence[Post], answers: Sequence[Answer], rest: Sequence[Post]
    ) -> None:
        """The connection is kept if it can be, then the posts are reported, so that the next ones find it."""
        loop = self._loop
        if loop is None:
            return
        now_s = loop.time()
        self._pipelining.note_answers(len(posts), now_s - connection.since_s, now_s)
        self._keep(connection, now_s)
        if rest:
            if connection.answered < _PROVEN or answers[-1].keeps_alive:
                self._pipelining.note_broken(now_s)
            self._repeat(rest, "the connection was closed before the answer came")
        if answers.count(answers[0]) == len(answers):
            self._settle(posts, answers[0], connection.crowd)
        else:
            for answer, pairs in groupby(zip(answers, posts, strict=True), lambda pair: pair[0]):
                self._settle([post for _, post in pairs], answer, connection.crowd)
        self.flush()

    def _keep(self, connection: Connection, now_s: float) -> None:
        """A connection has had answers: it waits for others, or for posts, or is closed."""
        connection.since_s = now_s
        del self._busy[connection]
        if connection.posts:
            self._busy[connection] = None
        elif connection.is_free and now_s < connection.retires_s:
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _settle(self, posts: Sequence[Post], answer: Answer, crowd: int) -> None:
        """Report posts by their answer, or ask again those that one may not mean."""
        if 200 <= answer.status < 300:
            self._report([post.shipment for post in posts], None)
            return
        doubted: Sequence[Post] = ()
        if answer.status in _DOUBTFUL and self._loop is not None:
            if any(post.is_doubted for post in posts):
                self._pipelining.absolve()  # alone it is answered so too
            elif crowd > 1:
                self._pipelining.note_broken(self._loop.time())
                doubted = [post for post in posts if post.may_repeat]
        for post in doubted:
            post.is_doubted = True
        self._repeat(doubted, "")
        if meant := [post.shipment for post in posts if post not in doubted]:
            self._report(meant, self._error(answer))

    def note_broken(self, connection: Connection, posts: Sequence[Post], reason: str, repeatable: int) -> None:
        """Posts that met a connection which its server was closing are sent again at once, on another one."""
        self._open.discard(connection)
        self._busy.pop(connection, None)
        if not posts or self._loop is None:
            return
        if connection.crowd > 1:
            self._pipelining.note_broken(self._loop.time())
        for idle in self._idle:  # who closes one may be closing them all
            self._drop(idle)
        self._idle.clear()
        lost = len(posts) - repeatable
        self._repeat(posts[lost:], reason)
        if lost:
            self._give_up([*posts[:lost], *([] if repeatable else self._take_line())], reason)
        self.flush()

    def _repeat(self, posts: Sequence[Post], reason: str) -> None:
        """Put posts at the head of the line, unless they were there before."""
        again = [post for post in posts if post.may_repeat]
        for post in again:
            post.may_repeat = False
        if len(again) < len(posts):
            self._give_up([post for post in posts if post not in again], reason)
        self._line.extendleft(reversed(again))

    def _take_line(self) -> list[Post]:
        """What is in line shares the fate of what found nobody there: it waits elsewhere, longer each time."""
        line = list(self._line)
        self._line.clear()
        return line

    def _give_up(self, posts: Sequence[Post], reason: str) -> None:
        if self._loop is not None:
            self._report([post.shipment for post in posts], SinkUnavailable(f"{self._address.text}: {reason}"))

    def _error(self, answer: Answer) -> SinkUnavailable | EventRefused:
        text = answer.text.decode(errors="replace").strip()
        reason = f"{self._address.text} answered {answer.status}" + (f": {text}" if text else "")
        if answer.status >= 500 or answer.status in _TRY_AGAIN:
            asks_back = answer.status < 500 or answer.retry_after_s is not None
            return SinkBusy(reason, answer.retry_after_s, blames_event=not asks_back)
        return EventRefused(reason)


def _reason(exc: Exception) -> str:
    """Why there is no connection, in words."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    return str((isinstance(exc, OSError) and exc.strerror) or exc or type(exc).__name__)


def _ignore(_shipments: Sequence[Shipment], _error: Exception | None) -> None:
    """Nobody waits for reports before the start."""
