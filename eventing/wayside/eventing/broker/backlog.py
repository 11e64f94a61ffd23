"""Which deliveries of one Trigger come next: retries that fall due, then what waits in the store, in order.

Invariant: every delivery that waits in the store is handed out, once for each time that it is due, and none is handed
out while another attempt at it is being made. Memory is bounded: a page of events, and numbers of those put off.
"""

import asyncio
import heapq
from dataclasses import dataclass

from wayside.eventing.broker.store import BrokerStore
from wayside.eventing.broker.tables import Waiting

_PAGE_ROWS = 128
_RETRY_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """One delivery whose turn it is. `attempt` counts from 1, since the process started."""

    waiting: Waiting
    attempt: int


class Backlog:
    """What one Trigger's lane has before it. Once very many deliveries are put off, no new ones are handed out."""

    def __init__(self, store: BrokerStore, trigger: int) -> None:
        self._store = store
        self._trigger = trigger
        self._changed = asyncio.Event()
        self._cursor = 0
        self._due: list[tuple[float, int]] = []
        self._attempts: dict[int, int] = {}

    def wake(self) -> None:
        """Something changed: `next_turns` looks into the store again, or returns."""
        self._changed.set()

    def put_off(self, turn: Turn, attempts: int, pause_s: float) -> None:
        """This delivery is due again after `pause_s`, and `attempts` were made by then."""
        seq = turn.waiting.seq
        self._attempts[seq] = attempts
        heapq.heappush(self._due, (asyncio.get_running_loop().time() + pause_s, seq))
        self._changed.set()

    async def next_turns(self) -> list[Turn]:
        """Deliveries to begin now. Waits for some; empty where it was woken, or a retry fell due, and has to look anew.

        Raises `SinkUnavailable` where the store cannot be read.
        """
        self._changed.clear()
        due = self._take_due()
        if due:
            return self._turns(await self._load(due))
        if len(self._due) < _RETRY_LIMIT:
            page = await self._store.page(self._trigger, self._cursor, _PAGE_ROWS)
            if page:
                self._cursor = page[-1].seq
                return self._turns(page)
        await self._wait_for_change()
        return []

    def _turns(self, page: list[Waiting]) -> list[Turn]:
        return [Turn(waiting, self._attempts.pop(waiting.seq, 0) + 1) for waiting in page]

    def _take_due(self) -> list[int]:
        now = asyncio.get_running_loop().time()
        due: list[int] = []
        while self._due and self._due[0][0] <= now and len(due) < _PAGE_ROWS:
            due.append(heapq.heappop(self._due)[1])
        return due

    async def _load(self, due: list[int]) -> list[Waiting]:
        """A page of these; those for which it had no room come first in the next."""
        try:
            loaded = await self._store.some(self._trigger, due)
        except BaseException:
            self._take_back(due)
            raise
        self._take_back([seq for seq in due if loaded and seq > loaded[-1].seq])
        return loaded

    def _take_back(self, due: list[int]) -> None:
        for seq in due:
            heapq.heappush(self._due, (0.0, seq))

    async def _wait_for_change(self) -> None:
        wait_s = max(0.0, self._due[0][0] - asyncio.get_running_loop().time()) if self._due else None
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return
