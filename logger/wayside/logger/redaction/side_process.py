"""Side work on events in a second process, as an outlet before the emitter.

Invariant: offered = passed on + dropped + in hand, at every moment, and events are passed on in the order in which they
were offered. What the process did not answer is dropped and counted: it is never passed on as it came, nor tried again.
"""

import asyncio
import logging
from collections import deque
from typing import Final, NamedTuple

from wayside.eventing import vocabulary as words
from wayside.eventing.backoff import Backoff
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told
from wayside.logger.capture.recording import Outlet
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.parcel import kind_of, size_of
from wayside.logger.redaction.child import Child, running_child
from wayside.logger.redaction.frames import Frame, event_of, frame_of
from wayside.logger.redaction.memory import MemoryBounds, bounds_within
from wayside.logger.redaction.redactor import APPLIED, WITHHELD
from wayside.logger.redaction.rules import Rules, read_key
from wayside.logger.redaction.worker import configuration
from wayside.logger.settings import SideWork

log = logging.getLogger("wayside.logger")

FULL, FAILED, SHUTDOWN = "side_work_full", "side_work_failed", "shutdown"
_BACKOFF: Final = Backoff()
_DEADLINE_S: Final = 30.0
_HANDED_BYTES: Final = 256 << 10  # what the process is given before it has answered: little is lost with it
_BATCH_BYTES: Final = 32 << 10
_TURN: Final = 8  # events passed on before the loop turns


class _Job(NamedTuple):
    event: CloudEvent
    size_bytes: int


class _Handed(NamedTuple):
    """What is remembered of an event that the process has."""

    kind: str
    size_bytes: int


class SideProcess:
    """Takes events, has the side work done on them, and offers them to `outlet`.

    Everything in hand together takes at most `in_hand_bytes`. A process that answers nothing for `deadline_s`, or at
    most twice that, though it has events, is killed, and another is started. `applied` and `withheld` count the events
    that came back so; `pid` is that of the process, None while there is none. `memory` bounds what it may take.
    """

    def __init__(
        self,
        side_work: SideWork,
        outlet: Outlet,
        counts: LoggerCounts,
        *,
        deadline_s: float = _DEADLINE_S,
        memory: MemoryBounds | None = None,
    ) -> None:
        self._side_work = side_work
        self._outlet = outlet
        self._counts = counts
        self._deadline_s = deadline_s
        self._memory = memory or bounds_within()
        self._waiting: deque[_Job] = deque()
        self._handed: deque[_Handed] = deque()
        self._handed_bytes = self.in_hand_bytes = 0
        self._progress = self._failures = 0
        self._first_frame = Frame(b"", b"")
        self._task: asyncio.Task[None] | None = None
        self._stopping = self._ending = False
        self._changed = asyncio.Event()
        self._done = asyncio.Event()
        self.pid: int | None = None
        self.applied = self.withheld = 0

    @property
    def in_hand(self) -> int:
        """Events that were offered, and neither passed on nor dropped yet."""
        return len(self._waiting) + len(self._handed)

    async def start(self) -> None:
        """Raises `ConfigurationError` for a rule that cannot work, and for a key that is missing or cannot be used."""
        Rules.of(self._side_work.rules)
        key = read_key(self._side_work)
        self._first_frame = configuration(self._side_work, key, self._memory)
        self._task = asyncio.create_task(self._run())

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more events, finish those in hand for at most `grace_s` seconds, and drop the rest.

        May be called twice or before `start`.
        """
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            await self._wait_done(grace_s)
            self._ending = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._drop_handed(SHUTDOWN)
        while self._waiting:
            self._drop(self._waiting.popleft().event, SHUTDOWN)
        self.in_hand_bytes = 0

    async def _wait_done(self, grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                while self.in_hand:
                    self._done.clear()
                    await self._done.wait()
        except TimeoutError:
            log.warning("stopped with %d events not yet redacted or compressed; they are dropped", self.in_hand)

    def offer(self, event: CloudEvent) -> None:
        """Take an event, or drop and count it where there is no room. Never waits, never raises."""
        size_bytes = size_of(event)
        if self._stopping:
            self._drop(event, SHUTDOWN)
        elif self.in_hand_bytes + size_bytes > self._side_work.in_hand_bytes:
            self._drop(event, FULL)
        else:
            self.in_hand_bytes += size_bytes
            self._waiting.append(_Job(event, size_bytes))
            self._changed.set()

    def _drop(self, event: CloudEvent, reason: str) -> None:
        self._counts.drop(kind_of(event), reason)

    # one process after another

    async def _run(self) -> None:
        failures = 0
        while not self._ending:  # before 3.13 a task group may turn a cancellation into the failure that it met
            progress = self._progress
            try:
                async with running_child() as child:
                    await self._work_with(child)
            except Exception as exc:  # a task's edge: whatever ends one process, another is started
                failures = failures + 1 if self._progress == progress else 1
                self._note_failed(exc)
                if not self._ending:
                    await asyncio.sleep(_BACKOFF.delay_s(failures))

    def _note_failed(self, exc: Exception) -> None:
        self.pid = None
        lost = len(self._handed)
        self._drop_handed(FAILED)
        self._failures += 1
        if is_told(self._failures):
            cause = exc.exceptions[0] if isinstance(exc, ExceptionGroup) else exc
            log.warning(
                "the process that redacts and compresses ended (%s: %s) with %d events, which are dropped; another is"
                " started",
                *(type(cause).__name__, cause, lost),
            )

    async def _work_with(self, child: Child) -> None:
        async with asyncio.timeout(self._deadline_s):
            await child.send([self._first_frame])
            await child.wait_frame()
        self.pid = child.pid
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hand_over(child))
            tasks.create_task(self._take_back(child))
            tasks.create_task(self._watch(child))

    async def _hand_over(self, child: Child) -> None:
        while True:
            while not self._waiting or self._handed_bytes >= _HANDED_BYTES:
                self._changed.clear()
                await self._changed.wait()
            await child.send(self._next_batch())

    def _next_batch(self) -> list[Frame]:
        """Some of what waits: one large event, or small ones together."""
        frames, size_bytes = list[Frame](), 0
        while self._waiting and size_bytes < _BATCH_BYTES:
            event, event_bytes = self._waiting.popleft()
            self._handed.append(_Handed(kind_of(event), event_bytes))
            self._handed_bytes += event_bytes
            size_bytes += event_bytes
            frames.append(frame_of(event))
        return frames

    async def _take_back(self, child: Child) -> None:
        while True:
            event = event_of(await child.wait_frame())
            self._settle()
            self._progress += 1
            said = event.extensions.get(words.REDACTION)
            self.applied += said == APPLIED
            self.withheld += said == WITHHELD
            self._outlet.offer(event)
            if self._progress % _TURN == 0:
                await asyncio.sleep(0)

    def _settle(self) -> _Handed:
        """The oldest event that the process has is not in hand any more."""
        handed = self._handed.popleft()
        self._handed_bytes -= handed.size_bytes
        self.in_hand_bytes -= handed.size_bytes
        self._changed.set()
        self._done.set()
        return handed

    def _drop_handed(self, reason: str) -> None:
        while self._handed:
            self._counts.drop(self._settle().kind, reason)

    async def _watch(self, child: Child) -> None:
        """Kill a process that answers nothing, though it has events, for the deadline."""
        while True:
            before, had_events = self._progress, bool(self._handed)
            await asyncio.sleep(self._deadline_s)
            if had_events and self._handed and self._progress == before:
                child.kill()
