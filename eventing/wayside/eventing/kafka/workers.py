"""Runs work over items with as few tasks as the waiting in it asks for. Needs the standard library alone.

Invariant: work begins in the order of the items, and an item whose work waits holds up only those of its own lane,
where there are lanes. There are never more tasks than items put in and not ended.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Workers(Generic[T]):
    """A worker goes from item to item and ends when none is left; another is made only while it waits.

    So work that never waits costs one task for all that was put in at once, instead of one for each.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]], lane: Callable[[T], Hashable] | None = None) -> None:
        """`work` is not expected to raise: what it raises ends its worker and stands in `failure`.

        With `lane`, the items of one lane are worked at one after the other.
        """
        self._work = work
        self._lanes = None if lane is None else _Lanes(lane)
        self._items: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hiring = False
        self.failure: BaseException | None = None

    def put(self, items: Iterable[T]) -> None:
        """Have work done over these, soon. To be called on the event loop."""
        self._items.extend(items if self._lanes is None else filter(self._lanes.enter, items))
        if not self._hiring:
            self._hire()

    async def wait_idle(self, wait_s: float) -> bool:
        """Whether all work is done, or comes to be within `wait_s` seconds; nothing may be put in meanwhile."""
        deadline_s = asyncio.get_running_loop().time() + wait_s
        while self._items or self._tasks:
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return False
            # one that ends in time may have others behind it, made for what it left
            await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def stop(self) -> None:
        """Forget what was not begun, cancel what was. May be called twice."""
        self._items.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hire(self) -> None:
        """Make one worker, and look again once it has come as far as it does without waiting."""
        self._hiring = bool(self._items)
        if self._hiring:
            loop = asyncio.get_running_loop()
            task = loop.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._note_end)
            loop.call_soon(self._hire)  # behind the task's first step

    async def _run(self) -> None:
        while self._items:
            item = self._items.popleft()
            await self._work(item)
            if self._lanes is not None:
                self._items.extend(self._lanes.leave(item))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self.failure is None:
            self.failure = task.exception()


class _Lanes(Generic[T]):
    """Lets one item of each lane go; the others wait behind it."""

    def __init__(self, lane: Callable[[T], Hashable]) -> None:
        self._lane = lane
        self._behind: dict[Hashable, deque[T]] = {}

    def enter(self, item: T) -> bool:
        """Whether the item's lane was free; if not, a `leave` gives it back."""
        lane = self._lane(item)
        behind = self._behind.get(lane)
        if behind is None:
            self._behind[lane] = deque()
            return True
        behind.append(item)
        return False

    def leave(self, item: T) -> tuple[T, ...]:
        """The item that may go now, if one waited behind this."""
        lane = self._lane(item)
        if self._behind[lane]:
            return (self._behind[lane].popleft(),)
        del self._behind[lane]
        return ()
