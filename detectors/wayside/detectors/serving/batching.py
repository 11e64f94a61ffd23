"""Micro-batching: requests that arrive while a batch is being scored are scored together in the next one.

Source: the idea of adaptive batching is Clipper's (Crankshaw et al., NSDI 2017); here the batch in hand is the clock.
Invariant: every request is answered with what its own rows gave, in order, or with its own error; what one request
holds changes neither the answer nor the fate of another. A request larger than a batch is scored block by block, and
after each block everybody else who waits has a turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wayside.detectors.kinds.protocol import Array, Matrix, NothingScored
from wayside.eventing.errors import MalformedPayload, QueueFull

Score = Callable[[Matrix], Array]
Observe = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`max_batch_rows` are scored in one call at most. `max_wait_ms` is how long a batch that follows a shared one may
    wait for as many requests again; a lone client never waits. What waits is bounded in requests, rows and bytes."""

    max_batch_rows: int = 2048
    max_wait_ms: float = 1.0
    queue_requests: int = 4096
    queue_rows: int = 4 << 20
    queue_bytes: int = 256 << 20


class Scored(NamedTuple):
    """What scoring gave: an entry a row; `features` where they were wanted."""

    rows: Array
    features: Array | None = None


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that waits: its rows from `start` on are not scored yet, `parts` are what the others gave."""

    rows: Matrix
    wants_features: bool
    done: "asyncio.Future[Scored]"
    start: int = 0
    parts: list[Scored] = field(default_factory=list)

    def take(self, most: int) -> "_Block":
        """The next rows, `most` of them at most."""
        block = _Block(self, self.rows[self.start : self.start + most])
        self.start += len(block.rows)
        return block

    def accept(self, part: Scored) -> None:
        self.parts.append(part)
        if self.start == len(self.rows) and not self.done.done():
            self.done.set_result(part if len(self.parts) == 1 else _joined(self.parts))

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Block(NamedTuple):
    """The share that a request has in one batch."""

    pending: _Pending
    rows: Matrix


class MicroBatcher:
    """Scores through `score`, one call at a time in a thread of its own: a matrix (n, columns) gives n entries.

    `explain`, likewise, gives what they get beside it who want feature scores. `observe` is told of each call's rows.
    """

    def __init__(
        self,
        score: Score,
        columns: int,
        limits: BatchLimits,
        observe: Observe | None = None,
        explain: Score | None = None,
    ) -> None:
        self._score = score
        self._explain = explain
        self._columns = columns
        self._limits = limits
        self._observe = observe
        self._waiting: deque[_Pending] = deque()
        self._room = _Room(limits)
        self._shared = 1
        self._closed = False
        self._arrived = _Arrivals()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="micro-batcher")

    async def stop(self) -> None:
        """Score what is waiting, then end. May be called twice or before `start`."""
        self._closed = True
        self._arrived.wake()
        if self._task is not None:
            task, self._task = self._task, None
            await task
        self._executor.shutdown(wait=False)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def score(self, rows: Matrix, wants_features: bool = False) -> Scored:
        """What rows of shape (n, columns) score. Who is cancelled while he waits is not worked for.

        Raises `MalformedPayload` for another shape, or more rows than may ever wait; `QueueFull` where there is no room
        now; else whatever scoring raised.
        """
        if rows.ndim != 2 or rows.shape[1] != self._columns or not len(rows):
            raise MalformedPayload(f"rows have shape {rows.shape}, the detector was fitted on {self._columns} features")
        self._room.check(rows, self._closed)
        pending = _Pending(rows, wants_features, asyncio.get_running_loop().create_future())
        self._room.enter(rows)
        try:
            self._waiting.append(pending)
            self._arrived.notice(len(self._waiting))
            return await pending.done
        except asyncio.CancelledError:
            with suppress(ValueError):  # it is being scored
                self._waiting.remove(pending)  # what is scored now may take long, and its rows have left the room
            raise
        finally:
            self._room.leave(rows)

    async def _run(self) -> None:
        while await self._wait_for_requests():
            batch = self._gather()
            if batch:
                await self._answer(batch)
                self._shared = len(batch) + len(self._waiting)

    async def _wait_for_requests(self) -> bool:
        """Whether there are any. The clients of a shared batch were answered together and will come back together."""
        while not self._waiting:
            if self._closed:
                return False
            await self._arrived.wait(1)
        if len(self._waiting) < self._shared and not self._closed:
            await self._arrived.wait(self._shared, self._limits.max_wait_ms / 1000)
        return True

    def _gather(self) -> list[_Block]:
        """Whatever waits by now, up to the limit. Who is larger than a batch lines up again for his next block."""
        batch: list[_Block] = []
        room, again = self._limits.max_batch_rows, list[_Pending]()
        while self._waiting and room:
            pending = self._waiting.popleft()
            if pending.done.done():  # its client has gone, or a block of it failed
                continue
            left = len(pending.rows) - pending.start
            if room < left <= self._limits.max_batch_rows and batch:
                self._waiting.appendleft(pending)  # it fits the next batch whole
                break
            batch.append(pending.take(room))
            room -= len(batch[-1].rows)
            if pending.start < len(pending.rows):
                again.append(pending)
        self._waiting.extend(again)
        return batch

    async def _answer(self, batch: Sequence[_Block]) -> None:
        """Score the blocks together. Where that fails whose fault it was is found by halves, if it can be a row's."""
        try:
            scored = await asyncio.get_running_loop().run_in_executor(self._executor, self._call, batch)
        except NothingScored as exc:  # no part of it would fare better, and each may take a time limit to say so
            for block in batch:
                block.pending.fail(exc)
            return
        except Exception as exc:  # the edge of the batch: none of it may end the task
            await self._answer_apart(batch, exc)
            return
        for block, part in zip(batch, scored, strict=True):
            block.pending.accept(part)

    async def _answer_apart(self, batch: Sequence[_Block], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].pending.fail(error)
            return
        middle = len(batch) // 2
        await self._answer(batch[:middle])
        await self._answer(batch[middle:])

    def _call(self, batch: Sequence[_Block]) -> list[Scored]:
        """In the thread: all rows in one call, and in another those whose features are wanted too."""
        parts = self._called(self._score, [block.rows for block in batch])
        explained = [block.rows for block in batch if block.pending.wants_features]
        if not explained or self._explain is None:
            return [Scored(part) for part in parts]
        features = iter(self._called(self._explain, explained))
        return [
            Scored(part, next(features) if block.pending.wants_features else None)
            for block, part in zip(batch, parts, strict=True)
        ]

    def _called(self, function: Score, parts: Sequence[Matrix]) -> list[Array]:
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self._observe is not None and function is self._score:
            self._observe(len(rows))
        result = function(rows)
        if len(result) != len(rows):
            raise ValueError(f"the detector gave {len(result)} scores for {len(rows)} rows")
        return list(_cut(result, parts))


class _Room:
    """How much waits and is scored now, against its bounds."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._requests = 0
        self._rows = 0
        self._bytes = 0

    def check(self, rows: Matrix, closed: bool) -> None:
        limits = self._limits
        if len(rows) > limits.queue_rows or rows.nbytes > limits.queue_bytes:
            raise MalformedPayload(
                f"event has {len(rows)} rows, {rows.nbytes} bytes: at most {limits.queue_rows} rows,"
                f" {limits.queue_bytes} bytes can wait to be scored"
            )
        if closed:
            raise QueueFull("the detector is stopping")
        if (
            self._requests >= limits.queue_requests
            or self._rows + len(rows) > limits.queue_rows
            or self._bytes + rows.nbytes > limits.queue_bytes
        ):
            raise QueueFull(f"{self._requests} requests of {self._rows} rows are waiting to be scored already")

    def enter(self, rows: Matrix) -> None:
        self._requests += 1
        self._rows += len(rows)
        self._bytes += rows.nbytes

    def leave(self, rows: Matrix) -> None:
        self._requests -= 1
        self._rows -= len(rows)
        self._bytes -= rows.nbytes


class _Arrivals:
    """Wakes one waiter once so many wait as he asked for: no other arrival costs a turn of the loop."""

    def __init__(self) -> None:
        self._wanted = 0
        self._woken: asyncio.Future[None] | None = None

    def notice(self, waiting: int) -> None:
        if waiting >= self._wanted:
            self.wake()

    def wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def wait(self, wanted: int, timeout_s: float | None = None) -> None:
        """Until `notice` is told of `wanted`, or the time is over."""
        loop = asyncio.get_running_loop()
        self._wanted, self._woken = wanted, loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self.wake)
        try:
            await self._woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()


def _joined(parts: Sequence[Scored]) -> Scored:
    features = [part.features for part in parts if part.features is not None]
    return Scored(np.concatenate([part.rows for part in parts]), np.concatenate(features) if features else None)


def _cut(result: Array, parts: Sequence[Matrix]) -> Iterator[Array]:
    start = 0
    for part in parts:
        yield result[start : start + len(part)]
        start += len(part)
