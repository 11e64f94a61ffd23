"""A lane a key: its complete windows are judged one after another in threads, and written down with what they say.

Invariant: of a key, windows are judged and written in their order, and what is written is the state after all that was
written before. A key that is given up is written off before anything that was folded in after it is. What cannot be
written now is written later: a window that the disk does not know is never posted, and none is judged twice.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from wayside.detectors.drift.judging.judge import Judged, WindowJudge
from wayside.detectors.drift.judging.series import SeriesState
from wayside.detectors.drift.service.room import Room
from wayside.detectors.drift.service.series import Account, Closing, Kept, Story
from wayside.detectors.drift.service.store import DriftStore
from wayside.detectors.drift.stream import GIVEN_UP, TRIES
from wayside.detectors.drift.windowing.values import Arrival, Fate, Window, WindowKey
from wayside.detectors.drift.windowing.windowing import Evicted, Windowing
from wayside.detectors.kinds.protocol import NothingScored
from wayside.detectors.serving.metrics import DetectorMetrics
from wayside.eventing import json_format
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told

log = logging.getLogger("wayside.detectors.drift")
R = TypeVar("R")
_JUDGING_THREADS = 2
_WINDOWS_AT_ONCE = 16  # judged in one call and written in one transaction
_SPENT_AT_ONCE = 256  # late arrivals that are forgotten without waiting for a window, or for the room that they take


@dataclass(frozen=True, slots=True)
class _Ending:
    """A key that is given up while the arrival at `position` is folded in, and the arrivals that are spent with it."""

    evicted: Evicted
    position: int
    spent: Sequence[int]


@dataclass(slots=True, eq=False)
class Lane:
    """What judging a key goes on from, as the disk has it, and what of the key is still to be done. `spent` are its
    late arrivals and those that had no room; once it `is_due` they are written off without waiting for a window."""

    key: WindowKey
    state: SeriesState
    story: Story = field(default_factory=Story)
    endings: deque[_Ending] = field(default_factory=deque)
    spent: list[int] = field(default_factory=list)
    is_due: bool = False
    task: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What a run of windows came to: the state and story after them, and what is to be posted."""

    state: SeriesState
    story: Story
    events: Sequence[tuple[str, bytes]]
    judged: Sequence[Judged]


class Lanes:
    """The lanes of all keys of one detector, over one `Windowing` that arrivals are folded into here.

    `posted` is called when there is something to post. All of it runs on one event loop; judging does not.
    """

    def __init__(
        self,
        judge: WindowJudge,
        windowing: Windowing,
        store: DriftStore,
        room: Room,
        metrics: DetectorMetrics,
        posted: Callable[[], None],
        retry_s: float = 1.0,
    ) -> None:
        self._judge = judge
        self._windowing = windowing
        self._store = store
        self._room = room
        self._metrics = metrics
        self._posted = posted
        self._retry_s = retry_s
        self._lanes: dict[WindowKey, Lane] = {}
        self._endings: dict[int, set[WindowKey]] = {}
        self._ended = asyncio.Event()
        room.pressed = self._write_off
        self._failures = 0
        self._threads: ThreadPoolExecutor | None = None

    @property
    def running(self) -> bool:
        """Whether every key's windows can be judged: a lane ends with nothing left to do, or with a fault of ours."""
        return self._threads is not None and not any(lane.task and lane.task.done() for lane in self._lanes.values())

    @property
    def busy(self) -> int:
        """How many keys have windows that are not judged and written yet."""
        return sum(lane.task is not None for lane in self._lanes.values())

    def start(self) -> None:
        """Begin with what is complete."""
        self._threads = ThreadPoolExecutor(_JUDGING_THREADS, thread_name_prefix="verdicts")
        for lane in list(self._lanes.values()):
            self._wake(lane)

    async def stop(self) -> None:
        """Leave what is not written to the next start. May be called twice or before `start`."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._threads is not None:
            threads, self._threads = self._threads, None
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    def restore(self, kept: Kept, held: Iterable[Arrival]) -> None:
        """Begin a key where it was. Raises `ValueError` where it is of another version."""
        arrivals = list(held)
        self._windowing.restore(kept.key, kept.snapshot, arrivals)
        self._lanes[kept.key] = Lane(kept.key, SeriesState.from_bytes(kept.state), kept.story)
        for arrival in arrivals:
            self._room.hold(arrival)

    def take(self, arrival: Arrival, evicts: bool = True) -> None:
        """Fold an arrival in; windows that it completes are judged in their turn.

        `evicts` is False for arrivals of before the last that some key was written with: whom they give up is written.
        """
        self._room.hold(arrival)
        taken = self._windowing.take(arrival, evicts)
        lane = self._lane(arrival.key)
        if taken.fate is not Fate.TAKEN:
            self._metrics.window_rows.labels(taken.fate.value).inc(len(arrival.rows))
            self._spend(lane)
        for evicted in taken.evicted:
            self._give_up(evicted, arrival.position)
        if arrival.key in self._windowing.ready():
            self._wake(lane)

    def _spend(self, lane: Lane) -> None:
        """Note what an arrival of the lane left that no window needs, and see that it does not pile up."""
        spent = self._windowing.spent(lane.key)
        self._room.spend(spent)
        lane.spent += spent
        if self._room.is_spent:
            self._write_off()
        elif len(lane.spent) >= _SPENT_AT_ONCE or self._room.is_spent_by(lane.key):
            self._fall_due(lane)

    def _write_off(self) -> None:
        """All that no window needs."""
        for lane in self._lanes.values():
            if lane.spent:
                self._fall_due(lane)

    def _fall_due(self, lane: Lane) -> None:
        lane.is_due = True
        self._wake(lane)

    def known(self, key: WindowKey) -> tuple[SeriesState, Story]:
        """What a living key's judging goes on from."""
        lane = self._lanes[key]
        return lane.state, lane.story

    def _lane(self, key: WindowKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._judge.begin())
        return lane

    def _give_up(self, evicted: Evicted, position: int) -> None:
        self._metrics.window_rows.labels("evicted").inc(evicted.progress.evicted)
        lane = self._lane(evicted.key)
        lane.endings.append(_Ending(evicted, position, [*lane.spent, *evicted.spent]))
        lane.spent, lane.is_due = [], False
        self._endings.setdefault(position, set()).add(evicted.key)
        self._wake(lane)

    def _wake(self, lane: Lane) -> None:
        if self._threads is not None and lane.task is None:
            lane.task = asyncio.create_task(self._run(lane), name=f"windows of {lane.key}")

    async def _run(self, lane: Lane) -> None:
        """Until nothing is left to do; whoever adds something wakes the lane again."""
        while await self._step(lane):
            pass
        lane.task = None

    async def _step(self, lane: Lane) -> bool:
        if lane.endings:
            await self._end(lane, lane.endings[0])
            return True
        windows = self._cut(lane.key)
        if not windows and not lane.is_due:
            return False
        spent, lane.spent, lane.is_due = [*lane.spent, *self._windowing.spent(lane.key)], [], False
        position, snapshot = self._windowing.position(lane.key), self._windowing.snapshot(lane.key)
        said = await self._said(lane, windows)
        kept = Kept(lane.key, position, snapshot, said.state.to_bytes(), said.story)
        await self._write(lane, said, Closing(kept, spent, said.events), position)
        return True

    def _cut(self, key: WindowKey) -> list[Window]:
        windows: list[Window] = []
        while len(windows) < _WINDOWS_AT_ONCE and (window := self._windowing.next_window(key)) is not None:
            windows.append(window)
        return windows

    async def _end(self, lane: Lane, ending: _Ending) -> None:
        """Judge what was complete when the key was given up, and write it off."""
        evicted = ending.evicted
        said = await self._said(lane, evicted.windows)
        at = evicted.progress
        last = self._judge.end(said.state, at.watermark_ns, GIVEN_UP)
        events = [*said.events, *((event.id, json_format.encode(event)) for event in last)]
        account = Account(1, at.rows, at.in_windows, at.late, at.overflow, at.evicted, said.story.windows)
        kept = Kept(lane.key, ending.position, b"", b"", said.story)
        await self._write(lane, said, Closing(kept, ending.spent, events, account), ending.position - 1)
        self._count_alerts(last)
        lane.endings.popleft()
        lane.state, lane.story = self._judge.begin(), Story()
        self._leave(lane, ending)

    def _leave(self, lane: Lane, ending: _Ending) -> None:
        waiting = self._endings[ending.position]
        waiting.discard(lane.key)
        if not waiting:
            del self._endings[ending.position]
        if not lane.endings and lane.key not in self._windowing:
            del self._lanes[lane.key]
        ended, self._ended = self._ended, asyncio.Event()
        ended.set()

    async def _said(self, lane: Lane, windows: Sequence[Window]) -> _Said:
        """What the judge says of windows, in a thread. It is asked again for as long as what tests is away; a window
        on which it fails otherwise is unjudged after a few tries, so that the key goes on."""
        if not windows:
            return _Said(lane.state, lane.story, (), ())
        judging = _Judging(self._judge, windows, lane.state, lane.story)
        loop = asyncio.get_running_loop()
        return await self._until_done(lane, "judged", lambda: loop.run_in_executor(self._threads, judging.all))

    async def _write(self, lane: Lane, said: _Said, closing: Closing, upto: int) -> None:
        """Put it on disk, after the keys that were given up until then."""
        while any(position <= upto for position in self._endings):
            await self._ended.wait()
        await self._until_done(lane, "written", lambda: self._store.close(closing))
        lane.state, lane.story = said.state, said.story
        for position in closing.spent:
            self._room.release(position)
        for judged in said.judged:
            self._count(judged)
        if closing.events:
            self._posted()

    async def _until_done(self, lane: Lane, what: str, attempt: Callable[[], Awaitable[R]]) -> R:
        while True:
            try:
                return await attempt()
            except Exception:  # a lane's edge: a full disk or a detector that is away may pass, and other keys go on
                self._failures += 1
                if is_told(self._failures):
                    log.exception("windows of %s could not be %s: trying again", lane.key, what)
                await asyncio.sleep(self._retry_s)

    def _count(self, judged: Judged) -> None:
        self._metrics.windows.labels(judged.outcome).inc()
        self._count_alerts(judged.alerts)

    def _count_alerts(self, alerts: Iterable[CloudEvent]) -> None:
        for alert in alerts:
            self._metrics.alerts.labels(alert.type.rpartition(".")[2]).inc()


class _Judging:
    """One run of windows of a key: each in the state that the one before it left. Asked again where it raised, it goes
    on with the window that it raised on."""

    def __init__(self, judge: WindowJudge, windows: Sequence[Window], state: SeriesState, story: Story) -> None:
        self._judge, self._windows, self._state, self._story = judge, windows, state, story
        self._judged: list[Judged] = []
        self._failures = 0  # of the window that is next

    def all(self) -> _Said:
        """Raises `NothingScored`, and what else the judge raised, at most twice in a row."""
        while len(self._judged) < len(self._windows):
            said = self._next(self._windows[len(self._judged)])
            self._judged.append(said)
            self._failures, self._state, self._story = 0, said.state, self._story.told(said.outcome)
        events = [event for each in self._judged for event in (each.verdict, *each.alerts)]
        bodies = [(event.id, json_format.encode(event)) for event in events]
        return _Said(self._state, replace(self._story, last=_in_short(self._judged[-1])), bodies, self._judged)

    def _next(self, window: Window) -> Judged:
        try:
            return self._judge.judge(window, self._state)
        except NothingScored:
            raise
        except Exception as exc:  # whatever a detector does: no window may hold up its key for ever
            self._failures += 1
            if self._failures < TRIES:
                raise
            log.exception("a window of %s is given up as unjudged", window.key)
            return self._judge.give_up(window, self._state, exc)


def _in_short(judged: Judged) -> Mapping[str, Any]:
    """A verdict for people."""
    data = json.loads(judged.verdict.data)["data"]
    names = ("is_drift", "p_val", "threshold", "distance", "window", "error")
    told = {name: data[name] for name in names if name in data}
    return {"id": judged.verdict.id, "time": judged.verdict.time, "outcome": judged.outcome, **told}
