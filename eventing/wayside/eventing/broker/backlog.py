"""Which deliveries of one Trigger come next: retries that fall due, then what just came, or else what the store holds.

An event that was just kept is handed over in memory; a lane that cannot keep up lets go of that and reads the store,
until it has caught up. So an idle Trigger reads nothing, and a slow one costs a bounded part of memory.

Invariant: every delivery that waits in the store is handed out, once for each time that it is due, and none is handed
out while another attempt at it is being made. Everything at or before `cursor` is settled.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.kept import Kept
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Found, Place, Waiting

_PAGE_ROWS = 256
_FRESH_ROWS = 1024
_FRESH_BYTES = 8 << 20
RETRY_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """One delivery whose turn it is. `attempt` counts from 1, since the process started; `resumed`: it was put off."""

    waiting: Waiting
    attempt: int = 1
    resumed: bool = False

    def delivery(self, tag: bytes) -> Delivery:
        return Delivery(tag, self.waiting.kept.position, self.waiting.again)


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at_s: float
    position: int
    again: bool
    attempts: int


class Backlog:
    """What one Trigger's lane has before it. With very many put off, no new ones are handed out.

    Where the Trigger is, the store is asked at the first `next_turns`, so that a lane can be fed before it delivers.
    """

    def __init__(self, store: BrokerStore, tag: bytes) -> None:
        self._store = store
        self._tag = tag
        self._changed = asyncio.Event()
        self._is_placed = False
        self._cursor = self._scanned = -1  # on disk; what waits at or before the second was handed out
        self._newest = -1
        self._behind = True  # what was kept before this lane was fed is read from the store
        self._again = False
        self._again_after = -1
        self._asked_again = 0
        self._fresh: deque[Kept] = deque()
        self._fresh_bytes = 0
        self._due: list[_Due] = []
        self._is_agains_turn = False
        self._open = _OpenPositions()
        self._open_again: set[int] = set()

    def feed(self, kept: Kept) -> None:
        """An event was just kept that the Trigger matched; to be told in the order of the positions."""
        if kept.position <= self._scanned:
            return  # a page of the store held it already
        self._newest = kept.position
        size_bytes = len(kept.event.data)
        if self._behind or len(self._fresh) >= _FRESH_ROWS or self._fresh_bytes + size_bytes > _FRESH_BYTES:
            self._behind = True
        else:
            self._fresh.append(kept)
            self._fresh_bytes += size_bytes
        self._changed.set()

    def wake(self) -> None:
        """Something changed: `next_turns` returns, to be called again."""
        self._changed.set()

    def look_again(self) -> None:
        """There are deliveries in the store that are to be made once more."""
        self._again, self._again_after = True, -1
        self._asked_again += 1
        self._changed.set()

    def put_off(self, turn: Turn, attempts: int, pause_s: float) -> None:
        """This delivery is due again after `pause_s`, and `attempts` were made by then."""
        at_s = asyncio.get_running_loop().time() + pause_s
        heapq.heappush(self._due, _Due(at_s, turn.waiting.kept.position, turn.waiting.again, attempts))
        self._changed.set()

    def release(self, delivery: Delivery) -> None:
        """This delivery, which was handed out and held back, may be made now: the store is asked for it anew."""
        heapq.heappush(self._due, _Due(0.0, delivery.position, delivery.again, 0))
        self._changed.set()

    def finish(self, delivery: Delivery) -> None:
        """This delivery is settled, on disk."""
        if delivery.again:
            self._open_again.discard(delivery.position)
        else:
            self._open.finish(delivery.position)
            self._move_cursor()

    def rest(self) -> None:
        """Bring the cursor of a Trigger that matches rarely to where it is; to be called now and then.

        Else it stays behind what the Trigger did not match, and whoever looks past it looks far.
        """
        if self._is_placed:
            if not self._fresh and not self._behind:
                self._scanned = max(self._scanned, self._store.fed)
            self._move_cursor()

    def _move_cursor(self) -> None:
        oldest = self._open.oldest
        cursor = self._scanned if oldest is None else oldest - 1
        if cursor > self._cursor:
            self._cursor = cursor
            self._store.move_cursor(self._tag, cursor)

    async def next_turns(self, only_due: bool = False) -> list[Turn]:
        """Deliveries to begin now. Waits for some; empty where it was woken, or a retry fell due, and has to look anew.

        Raises `SinkUnavailable` where the store cannot be read.
        """
        self._changed.clear()
        if not self._is_placed:
            self._begin_at(await self._store.place(self._tag))
        due = self._take_due()
        if due:
            return await self._load(due)
        if not only_due and len(self._due) < RETRY_LIMIT and (self._fresh or self._behind or self._again):
            return await self._next_new()
        await self._wait_for_change()
        return []

    def _begin_at(self, place: Place) -> None:
        self._cursor = place.cursor
        self._scanned = place.cursor if place.waiting else place.last
        self._newest = max(self._newest, place.last)
        self._again = place.waiting > 0
        self._is_placed = True

    async def _next_new(self) -> list[Turn]:
        """New ones and those to be made again by turns, so that neither kind waits for the other's end."""
        self._is_agains_turn = self._again and not (self._is_agains_turn and (self._fresh or self._behind))
        if self._is_agains_turn:
            return await self._read_again()
        return self._take_fresh() if self._fresh else await self._read_page()

    def _take_fresh(self) -> list[Turn]:
        taken = [self._fresh.popleft() for _ in range(min(_PAGE_ROWS, len(self._fresh)))]
        self._fresh_bytes -= sum(len(kept.event.data) for kept in taken)
        self._scanned = taken[-1].position
        return self._begin(Waiting(kept) for kept in taken)

    async def _read_page(self) -> list[Turn]:
        found = await self._store.page(self._tag, self._scanned, _PAGE_ROWS)
        self._scanned = found.last
        if found.last >= self._newest:
            self._behind = False
        return self._begin(found.waiting)

    def _begin(self, new: Iterable[Waiting]) -> list[Turn]:
        turns = [Turn(waiting) for waiting in new]
        for turn in turns:
            self._open.begin(turn.waiting.kept.position)
        return turns

    async def _read_again(self) -> list[Turn]:
        after, asked = self._again_after, self._asked_again
        positions = await self._store.to_make_again(self._tag, after, _PAGE_ROWS)
        new = [position for position in positions if position not in self._open_again]
        found = await self._store.some(self._tag, new, again=True) if new else None
        if self._asked_again == asked:  # else what was read may be from before that, and is read anew from the front
            self._again_after = found.last if found else max(positions, default=after)
            self._again = bool(positions)
        turns = [Turn(waiting) for waiting in (found.waiting if found else ())]
        self._open_again.update(turn.waiting.kept.position for turn in turns)
        return turns

    def _take_due(self) -> list[_Due]:
        now_s = asyncio.get_running_loop().time()
        due: list[_Due] = []
        while self._due and self._due[0].at_s <= now_s and len(due) < _PAGE_ROWS:
            due.append(heapq.heappop(self._due))
        return due

    async def _load(self, due: Sequence[_Due]) -> list[Turn]:
        """Those of one page; those for which it had no room come first in the next."""
        try:
            loaded = [
                (chosen, await self._store.some(self._tag, list(chosen), again))
                for again in (False, True)
                if (chosen := {one.position: one for one in due if one.again is again})
            ]
        except BaseException:
            self._take_back(due)
            raise
        return [turn for chosen, found in loaded for turn in self._resume(chosen, found)]

    def _resume(self, due: dict[int, _Due], found: Found) -> list[Turn]:
        turns = [Turn(waiting, due.pop(waiting.kept.position).attempts + 1, resumed=True) for waiting in found.waiting]
        self._take_back(one for one in due.values() if one.position > found.last)
        for one in due.values():
            if one.position <= found.last:  # damage took it: nothing waits for it any more
                self.finish(Delivery(self._tag, one.position, one.again))
        return turns

    def _take_back(self, due: Iterable[_Due]) -> None:
        for one in due:
            heapq.heappush(self._due, one)

    async def _wait_for_change(self) -> None:
        wait_s = max(0.0, self._due[0].at_s - asyncio.get_running_loop().time()) if self._due else None
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return


class _OpenPositions:
    """Positions in hand, and the oldest of them: in memory that goes by how many they are, not by how far they lie."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._heap: list[int] = []  # of every open one, and of some that are finished

    def begin(self, position: int) -> None:
        self._open.add(position)
        heapq.heappush(self._heap, position)

    def finish(self, position: int) -> None:
        self._open.discard(position)
        if len(self._heap) > 2 * len(self._open) + RETRY_LIMIT:
            self._heap = sorted(self._open)

    @property
    def oldest(self) -> int | None:
        while self._heap and self._heap[0] not in self._open:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None
