"""A shelf in memory: for replays, and for whoever may lose at a restart what waits.

Invariant: it holds what `take` bounds, and no more: what was removed leaves nothing behind.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

from wayside.eventing.pairs.join import Fate, Held, Line, Part, Shelf
from wayside.eventing.pairs.subject import Role, Subject


class MemoryShelf(Shelf):
    """`counts` are of parts by role and fate."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Role, Fate]] = Counter()
        self._line = Line()
        self._held: dict[Subject, Held] = {}
        self._payloads: dict[Subject, dict[Role, bytes]] = {}
        self._by_time: dict[int, set[Subject]] = {}
        self._times: list[int] = []  # a heap of the keys of `_by_time`, and of some that are no more

    def line(self) -> Line:
        return self._line

    def move_line(self, line: Line) -> None:
        self._line = line

    def find(self, subject: Subject) -> Held | None:
        return self._held.get(subject)

    def put(self, subject: Subject, held: Held) -> None:
        self._forget_time(subject)
        self._held[subject] = held
        if held.time_ns not in self._by_time:
            self._by_time[held.time_ns] = set()
            heapq.heappush(self._times, held.time_ns)
        self._by_time[held.time_ns].add(subject)

    def put_payload(self, part: Part) -> None:
        self._payloads.setdefault(part.subject, {})[part.role] = part.payload

    def take_payloads(self, subject: Subject) -> Mapping[Role, bytes]:
        return self._payloads.pop(subject, {})

    def oldest_ns(self) -> int | None:
        while self._times and self._times[0] not in self._by_time:
            heapq.heappop(self._times)
        return self._times[0] if self._times else None

    def remove_until(self, horizon_ns: int) -> Sequence[tuple[Subject, Held]]:
        removed: list[tuple[Subject, Held]] = []
        while (oldest_ns := self.oldest_ns()) is not None and oldest_ns <= horizon_ns:
            for subject in sorted(self._by_time.pop(oldest_ns)):
                removed.append((subject, self._held.pop(subject)))
                self._payloads.pop(subject, None)
        return removed

    def _forget_time(self, subject: Subject) -> None:
        held = self._held.get(subject)
        if held is None:
            return
        subjects = self._by_time[held.time_ns]
        subjects.discard(subject)
        if not subjects:
            del self._by_time[held.time_ns]

    def count(self, changes: Mapping[tuple[Role, Fate], int]) -> None:
        self.counts.update(changes)
