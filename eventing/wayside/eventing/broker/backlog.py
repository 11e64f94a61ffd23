"""Which deliveries of one Trigger come next: retries and dead letters that are due, what was released, what is made
once more, what is new.

An event that was just kept is handed over in memory; a lane that cannot keep up lets go of that and reads the store,
until it has caught up. So an idle Trigger reads nothing, and a slow one costs a bounded part of memory: 1 024 events
or 8 MiB that just came, what it handed out, and less of both where the other lanes need the room (`budget`).

Invariant: every delivery that waits in the store is handed out, once for each time that it is due, and none is handed
out while another attempt at it is being made. Everything at or before `cursor` is settled.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from wayside.eventing.broker.budget import ByteBudget
from wayside.eventing.broker.changes import Delivery
from wayside.eventing.broker.open_positions import OpenPositions
from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Found, Place
from wayside.eventing.broker.turns import EVENT_BYTES, Turn, size_bytes

_PAGE_ROWS = 256
_PAGE_BYTES = (8 << 20) + _PAGE_ROWS * EVENT_BYTES  # of the largest page that the store gives, but for a single event
_FRESH_ROWS = 1024
_FRESH_BYTES = 8 << 20
_RETRY_LIMIT = 1024
_LETTER_LIMIT = 65_536


class _Kind(IntEnum):
    """What may be ready. Each gets its turn, so that none waits for another's end."""

    RETRY = 0
    LETTER = 1
    RELEASED = 2
    AGAIN = 3
    NEW = 4


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    at_s: float
    position: int
    again: bool
    attempts: int


class Backlog:
    """What one Trigger's lane has before it.

    While 1 024 wait for their next attempt at the subscriber, or 65 536 for one at the dead-letter sink, all of them by
    their positions alone, no new ones are handed out.

    Where the Trigger is, the store is asked at the first `next_turns`, so that a lane can be fed before it delivers.
    What is handed out counts to `share`; whoever got it gives that back.
    """

    def __init__(self, store: BrokerStore, tag: bytes, budget: ByteBudget) -> None:
        self.share = budget.share(self.wake)
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
        self._fresh: deque[Turn] = deque()
        self._fresh_bytes = 0
        self._retries: list[_Due] = []
        self._letters: list[_Due] = []
        self._released: list[_Due] = []
        self._lost: list[Delivery] = []
        self._last = _Kind.NEW
        self._open = OpenPositions()
        self._open_again: set[int] = set()

    def feed(self, turn: Turn) -> None:
        """An event was just kept that the Trigger matched; to be told in the order of the positions."""
        position = turn.waiting.kept.position
        if position <= self._scanned:
            return  # a page of the store held it already
        self._newest = position
        if not (self._behind or self._keep_fresh(turn)):
            self._behind = True
        self._changed.set()

    def _keep_fresh(self, turn: Turn) -> bool:
        after_bytes = self._fresh_bytes + turn.size_bytes
        has_place = len(self._fresh) < _FRESH_ROWS and after_bytes <= _FRESH_BYTES
        if not has_place or not self.share.take(turn.size_bytes):
            return False
        self._fresh.append(turn)
        self._fresh_bytes = after_bytes
        return True

    def wake(self) -> None:
        """Something changed: `next_turns` returns, to be called again."""
        self._changed.set()

    def look_again(self) -> None:
        """There are deliveries in the store that are to be made once more."""
        self._again, self._again_after = True, -1
        self._asked_again += 1
        self._changed.set()

    def put_off(self, turn: Turn, attempts: int, pause_s: float, is_letter: bool = False) -> None:
        """This delivery is due again after `pause_s`, and `attempts` count as made by then: at whom it is due."""
        at_s = asyncio.get_running_loop().time() + pause_s
        due = _Due(at_s, turn.waiting.kept.position, turn.waiting.again, attempts)
        heapq.heappush(self._letters if is_letter else self._retries, due)
        self._changed.set()

    def release(self, delivery: Delivery) -> None:
        """This delivery, which was handed out and held back, may be made now: the store is asked for it anew."""
        heapq.heappush(self._released, _Due(0.0, delivery.position, delivery.again, 0))
        self._changed.set()

    def finish(self, delivery: Delivery) -> None:
        """This delivery is settled, on disk."""
        if delivery.again:
            self._open_again.discard(delivery.position)
        else:
            self._open.finish(delivery.position)
            self._move_cursor()

    def take_lost(self) -> list[Delivery]:
        """Deliveries that had been handed out, and that damage took before they were again: they are finished."""
        lost, self._lost = self._lost, []
        return lost

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

    async def next_turns(self, put_off: int = _PAGE_ROWS, new: bool = True) -> list[Turn]:
        """Deliveries to begin now: of those that are due again so many at most, and `new` ones where they are wanted.

        Waits for some. Empty where it was woken, or something fell due, and has to look anew: then `take_lost` may
        tell why. Raises `SinkUnavailable` where the store cannot be read.
        """
        self._changed.clear()
        if not self._is_placed:
            self._begin_at(await self._store.place(self._tag))
        new = new and len(self._retries) < _RETRY_LIMIT and len(self._letters) < _LETTER_LIMIT
        if not new and not self.share.has_room:
            self._let_go()
        has_room = self.share.ask_room()
        ready = [kind for kind in _Kind if self._is_ready(kind, has_room, put_off, new)]
        if not ready:
            await self._wait_for_change(has_room and put_off > 0)
            return []
        self._last = min(ready, key=lambda kind: (kind <= self._last, kind))
        return await self._take(self._last, put_off)

    def _begin_at(self, place: Place) -> None:
        self._cursor = place.cursor
        self._scanned = place.cursor if place.waiting else place.last
        self._newest = max(self._newest, place.last)
        self._again = place.waiting > 0
        self._is_placed = True

    def _let_go(self) -> None:
        """What just came would keep the room that is needed for what must come before it."""
        self._behind = self._behind or bool(self._fresh)
        self._fresh.clear()
        self.share.give(self._fresh_bytes)
        self._fresh_bytes = 0

    def _is_ready(self, kind: _Kind, has_room: bool, put_off: int, new: bool) -> bool:
        if kind is _Kind.NEW:
            return new and (bool(self._fresh) or (self._behind and has_room))
        if kind is _Kind.AGAIN:
            return has_room and new and self._again
        if kind is _Kind.RELEASED:
            return has_room and bool(self._released)
        due = self._retries if kind is _Kind.RETRY else self._letters
        return has_room and put_off > 0 and bool(due) and due[0].at_s <= asyncio.get_running_loop().time()

    async def _take(self, kind: _Kind, put_off: int) -> list[Turn]:
        if kind is _Kind.NEW:
            return self._take_fresh() if self._fresh else await self._read(self._read_page)
        if kind is _Kind.AGAIN:
            return await self._read(self._read_again)
        if kind is _Kind.RELEASED:
            return await self._read(lambda rows: self._load(self._released, rows))
        due = self._retries if kind is _Kind.RETRY else self._letters
        return await self._read(lambda rows: self._load(due, min(rows, put_off)))

    def _take_fresh(self) -> list[Turn]:
        taken = [self._fresh.popleft() for _ in range(min(_PAGE_ROWS, len(self._fresh)))]
        self._fresh_bytes -= sum(turn.size_bytes for turn in taken)
        self._scanned = taken[-1].waiting.kept.position
        return self._begin(taken)

    async def _read(self, read: Callable[[int], Awaitable[list[Turn]]]) -> list[Turn]:
        """A page where there is room for the largest, else one delivery: what they cost is known once they are read."""
        is_page = self.share.take(_PAGE_BYTES)
        try:
            turns = await read(_PAGE_ROWS if is_page else 1)
        finally:
            if is_page:
                self.share.give(_PAGE_BYTES)
        self.share.charge(sum(turn.size_bytes for turn in turns))
        return turns

    async def _read_page(self, rows: int) -> list[Turn]:
        found = await self._store.page(self._tag, self._scanned, rows)
        self._scanned = found.last
        if found.last >= self._newest:
            self._behind = False
        return self._begin([Turn.first(waiting) for waiting in found.waiting])

    def _begin(self, turns: list[Turn]) -> list[Turn]:
        for turn in turns:
            self._open.begin(turn.waiting.kept.position)
        return turns

    async def _read_again(self, rows: int) -> list[Turn]:
        after, asked = self._again_after, self._asked_again
        positions = await self._store.to_make_again(self._tag, after, rows)
        new = [position for position in positions if position not in self._open_again]
        found = await self._store.some(self._tag, new, again=True) if new else None
        if self._asked_again == asked:  # else what was read may be from before that, and is read anew from the front
            self._again_after = found.last if found else max(positions, default=after)
            self._again = bool(positions)
        turns = [Turn.first(waiting) for waiting in (found.waiting if found else ())]
        self._open_again.update(turn.waiting.kept.position for turn in turns)
        return turns

    async def _load(self, due: list[_Due], rows: int) -> list[Turn]:
        """The first of those that are due, of one page; those for which it had no room come first in the next."""
        chosen = _pop_due(due, rows)
        try:
            found = await self._store.some(self._tag, [one.position for one in chosen], chosen[0].again)
        except BaseException:
            _push(due, chosen)
            raise
        _push(due, (one for one in chosen if one.position > found.last))
        return self._resume([one for one in chosen if one.position <= found.last], found, due is not self._released)

    def _resume(self, chosen: Sequence[_Due], found: Found, put_off: bool) -> list[Turn]:
        waiting = {one.kept.position: one for one in found.waiting}
        lost = [Delivery(self._tag, one.position, one.again) for one in chosen if one.position not in waiting]
        for delivery in lost:  # nothing waits for it any more
            self.finish(delivery)
        self._lost += lost
        return [
            Turn(one, size_bytes(one.kept), due.attempts + 1, admitted=True, put_off=put_off)
            for due in chosen
            if (one := waiting.get(due.position)) is not None
        ]

    async def _wait_for_change(self, until_due: bool) -> None:
        first = [due[0].at_s for due in (self._retries, self._letters) if due and until_due]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(first, default=None)):
                await self._changed.wait()


def _pop_due(due: list[_Due], rows: int) -> list[_Due]:
    """The first that are due, all of them made again, or none: so the store is asked once."""
    now_s = asyncio.get_running_loop().time()
    taken = [heapq.heappop(due)]
    while due and len(taken) < rows and due[0].at_s <= now_s and due[0].again is taken[0].again:
        taken.append(heapq.heappop(due))
    return taken


def _push(due: list[_Due], chosen: Iterable[_Due]) -> None:
    for one in chosen:
        heapq.heappush(due, one)
