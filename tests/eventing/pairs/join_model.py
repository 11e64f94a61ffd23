"""The join said again in the plainest words, without heaps or tables: what the tests compare the real one to."""

from collections import Counter
from collections.abc import Mapping, Sequence

from wayside.eventing.pairs.join import Fate, JoinSettings, Part
from wayside.eventing.pairs.subject import Role, Subject

Counts = Mapping[tuple[Role, Fate], int]


class JoinModel:
    """Looks at every subject after every part. `wholes` are the payloads of each whole, in order."""

    def __init__(self, settings: JoinSettings) -> None:
        self.settings = settings
        self.counts: Counter[tuple[Role, Fate]] = Counter()
        self.wholes: list[tuple[Subject, tuple[bytes, ...]]] = []
        self.horizon_ns = -(1 << 62)
        self.watermark_ns = -(1 << 62)
        self.held: dict[Subject, list[tuple[Part, bool]]] = {}

    def take(self, part: Part) -> Fate:
        fate = self._fate(part)
        if fate in (Fate.WAITING, Fate.JOINED):
            self._see(part.time_ns)
        else:
            self.counts[part.role, fate] += 1
        return fate

    def total(self) -> Counts:
        """Every part that came, those included that are still held."""
        total = Counter(self.counts)
        for parts in self.held.values():
            total.update((part.role, Fate.JOINED if joined else Fate.WAITING) for part, joined in parts)
        return {key: count for key, count in total.items() if count}

    def _fate(self, part: Part) -> Fate:
        parts = self.held.get(part.subject)
        for known, _ in parts or ():
            if self._key(known) == self._key(part):
                return Fate.DUPLICATE if known.digest == part.digest else Fate.CONFLICT
        if parts is None and part.time_ns <= self.horizon_ns:
            return Fate.LATE
        after = self._joined([*(parts or ()), (part, False)])
        if not after[-1][1] and self._size(part) > self.settings.limit_bytes:
            return Fate.OVERFLOW
        self.held[part.subject] = after
        whole = self.settings.whole
        if after[-1][1] and part.role in whole:
            found = {known.role: known.payload for known, _ in after}
            self.wholes.append((part.subject, tuple(found[role] for role in whole)))
        return Fate.JOINED if after[-1][1] else Fate.WAITING

    def _joined(self, parts: Sequence[tuple[Part, bool]]) -> list[tuple[Part, bool]]:
        there, whole = {part.role for part, _ in parts}, set(self.settings.whole)
        needed = {role: whole if role in whole else {self.settings.whole[0]} for role in Role}
        return [(part, joined or needed[part.role] <= there) for part, joined in parts]

    def _key(self, part: Part) -> tuple[Role, str]:
        return part.role, "" if part.role in self.settings.whole else part.name

    def _size(self, part: Part) -> int:
        return len(part.payload) if part.role in self.settings.whole else 0

    def _see(self, time_ns: int) -> None:
        granule_ns = max(1, self.settings.timeout_ns // 64)
        self.watermark_ns = max(self.watermark_ns, time_ns // granule_ns * granule_ns)
        self.horizon_ns = max(self.horizon_ns, self.watermark_ns - self.settings.timeout_ns)
        self._give_up(Fate.LONELY)
        while self._is_full():
            self.horizon_ns = max(self.horizon_ns, min(map(self._time, self.held)))
            self._give_up(Fate.OVERFLOW)

    def _is_full(self) -> bool:
        parts = [held for parts in self.held.values() for held in parts]
        waiting = sum(self._size(part) for part, joined in parts if not joined)
        return len(parts) > self.settings.limit_parts or waiting > self.settings.limit_bytes

    def _time(self, subject: Subject) -> int:
        return max(part.time_ns for part, _ in self.held[subject])

    def _give_up(self, fate: Fate) -> None:
        for subject in [subject for subject in self.held if self._time(subject) <= self.horizon_ns]:
            for part, joined in self.held.pop(subject):
                self.counts[part.role, Fate.JOINED if joined else fate] += 1
