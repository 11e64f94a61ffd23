"""Micro-batching: requests that arrive while a batch is being scored are scored together in the next one.

Source: the idea of adaptive batching is Clipper's (Crankshaw et al., NSDI 2017); here the batch in hand is the clock.
Invariant: every request is answered with the scores of its own rows, in order, or with its own error; what one request
holds changes neither the answer nor the fate of another.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from wayside.detectors.runtimes.protocol import Matrix, Vector
from wayside.eventing.errors import MalformedEvent, QueueFull
from wayside.eventing.queue import BoundedQueue

Score = Callable[[Matrix], Vector]
Observe = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`rows` closes a batch (one larger request goes alone). `wait_s` is how long a batch that follows a shared one may
    wait for as many requests again; a lone client never waits. The queue is bounded in requests and bytes."""

    rows: int = 2048
    wait_s: float = 0.001
    queue_requests: int = 4096
    queue_bytes: int = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    rows: Matrix
    done: "asyncio.Future[Vector]"


class MicroBatcher:
    """Scores through `score`, one call at a time in a thread of its own. `observe` is told of each call's rows."""

    def __init__(self, score: Score, features: int, limits: BatchLimits, observe: Observe | None = None) -> None:
        self._score = score
        self._features = features
        self._limits = limits
        self._observe = observe
        self._queue: BoundedQueue[_Pending] = BoundedQueue(limits.queue_requests, limits.queue_bytes)
        self._held: _Pending | None = None
        self._shared = 1
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="micro-batcher")

    async def stop(self) -> None:
        """Score what is waiting, then end. May be called twice or before `start`."""
        self._queue.close()
        if self._task is not None:
            task, self._task = self._task, None
            await task
        self._executor.shutdown(wait=False)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def score(self, rows: Matrix) -> Vector:
        """The scores of rows of shape (n, features).

        Raises `MalformedEvent` for another width, `QueueFull` where there is no room, else whatever scoring raised.
        """
        if rows.ndim != 2 or rows.shape[1] != self._features:
            raise MalformedEvent(f"rows have shape {rows.shape}, the detector was fitted on {self._features} features")
        pending = _Pending(rows, asyncio.get_running_loop().create_future())
        if not self._queue.offer(pending, rows.nbytes):
            raise QueueFull(f"{len(self._queue)} requests are waiting to be scored already")
        self._arrived.set()
        return await pending.done

    async def _run(self) -> None:
        while (first := await self._next()) is not None:
            await self._wait_for_company()
            batch = await self._gather(first)
            self._shared = len(batch)
            wanted = [pending for pending in batch if not pending.done.done()]  # others' clients have gone
            if wanted:
                await self._answer(wanted)

    async def _next(self) -> _Pending | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        return await self._queue.wait_take()

    async def _wait_for_company(self) -> None:
        """The clients of a shared batch were answered together and are likely to come back together."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.wait_s
        while 1 + len(self._queue) < self._shared and (left_s := deadline - loop.time()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                return

    async def _gather(self, first: _Pending) -> list[_Pending]:
        """Whatever is waiting by now, up to the limit; a request that goes over it is held for the next batch."""
        batch, rows = [first], len(first.rows)
        while len(self._queue) and rows < self._limits.rows:
            pending = await self._queue.wait_take()
            assert pending is not None
            rows += len(pending.rows)
            if rows > self._limits.rows:
                self._held = pending
                break
            batch.append(pending)
        return batch

    async def _answer(self, batch: Sequence[_Pending]) -> None:
        try:
            scores = await self._call(np.concatenate([pending.rows for pending in batch]))
        except Exception as exc:  # the edge of the batch: the fault of one request is found by asking each alone
            await self._answer_alone(batch, exc)
            return
        ends = np.cumsum([len(pending.rows) for pending in batch])[:-1]
        for pending, part in zip(batch, np.split(scores, ends), strict=True):
            if not pending.done.done():
                pending.done.set_result(part)

    async def _answer_alone(self, batch: Sequence[_Pending], error: Exception) -> None:
        if len(batch) > 1:
            for pending in batch:
                await self._answer([pending])
        elif not batch[0].done.done():
            batch[0].done.set_exception(error)

    async def _call(self, rows: Matrix) -> Vector:
        if self._observe is not None:
            self._observe(len(rows))
        scores = await asyncio.get_running_loop().run_in_executor(self._executor, self._score, rows)
        if scores.shape != (len(rows),):
            raise ValueError(f"the detector gave scores of shape {scores.shape} for {len(rows)} rows")
        return scores
