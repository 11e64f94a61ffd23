"""Many small arrivals held as one: an arrival of one row is three quarters objects.

Invariant: `unpack` gives back what `pack` was given, but for identity and for when it came, which only those that are
not taken yet need; a pack's arrivals stay in their order.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.windowing.values import Arrival, WindowKey
from wayside.detectors.kinds.protocol import Matrix

SMALL_BYTES = 1024
"""Of an arrival's rows: of larger ones the rest is little beside them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Arrivals of one key that follow each other. `firsts` are the places of their rows in `rows`, `texts` the JSON of
    their sources, ids, times, groups and parts; sources and groups, which repeat, are held once each."""

    key: WindowKey
    rows: Matrix
    firsts: NDArray[np.int64]
    times_ns: NDArray[np.int64]
    positions: NDArray[np.int64]
    texts: bytes

    @property
    def time_ns(self) -> int:
        """The time of its last arrival."""
        return int(self.times_ns[-1])

    def row_at(self, time_ns: int) -> int:
        """The place of the first row whose time is not before `time_ns`, which its last is not."""
        return int(self.firsts[bisect_left(self.times_ns, time_ns)])

    def time_of(self, row: int) -> int:
        """The time of the row at a place."""
        return int(self.times_ns[bisect_right(self.firsts, row) - 1])

    def unpack(self) -> list[Arrival]:
        """The arrivals; their rows are views."""
        sources, source_at, ids, times, groups, group_at, parts = json.loads(self.texts)
        firsts = self.firsts.tolist()
        rows = [self.rows[first:end] for first, end in zip(firsts, [*firsts[1:], len(self.rows)], strict=True)]
        numbers = zip(self.positions.tolist(), self.times_ns.tolist(), rows, strict=True)
        named = zip(source_at, ids, times, group_at, parts or [""] * len(ids), strict=True)
        return [
            Arrival(position, self.key, sources[source], name, time_ns, time, cut, groups[group], part=part)
            for (position, time_ns, cut), (source, name, time, group, part) in zip(numbers, named, strict=True)
        ]


def pack(arrivals: Sequence[Arrival]) -> Pack:
    """Arrivals of one key and width, one at least."""
    sources, source_at = _told_once([each.source for each in arrivals])
    groups, group_at = _told_once([each.group for each in arrivals])
    parts = [each.part for each in arrivals] if any(each.part for each in arrivals) else None
    ids, times = [each.id for each in arrivals], [each.time for each in arrivals]
    texts = [sources, source_at, ids, times, groups, group_at, parts]
    ends = np.cumsum([len(each.rows) for each in arrivals])
    return Pack(
        key=arrivals[0].key,
        rows=np.concatenate([each.rows for each in arrivals]),
        firsts=np.concatenate([[0], ends[:-1]]),
        times_ns=np.array([each.time_ns for each in arrivals], np.int64),
        positions=np.array([each.position for each in arrivals], np.int64),
        texts=json.dumps(texts, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"),
    )


def _told_once(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """The words without repetition, and which of them each is."""
    at = {word: place for place, word in enumerate(dict.fromkeys(words))}
    return list(at), [at[word] for word in words]
