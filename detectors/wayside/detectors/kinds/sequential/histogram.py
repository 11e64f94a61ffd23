"""Sums of a stream in groups that are the larger the older they are: an exponential histogram, of many streams at once.

Source: Datar, Gionis, Indyk and Motwani, "Maintaining stream statistics over sliding windows", SIAM J. Computing 31
(2002), as ADWIN2 uses it (Bifet and Gavaldà, SDM 2007).
Invariant: there are at most `per_size` groups of each size, which is a power of two, and older groups are no smaller.
"""

from collections import deque
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Arrays


class Histogram:
    """`levels[i]` has the groups of 2^i rows, oldest first, each the sums of values and of squares, (2, streams).

    Once more than `most_rows` rows are held, the oldest groups go.
    """

    def __init__(self, per_size: int, most_rows: int) -> None:
        self._per_size = per_size
        self._most_rows = most_rows
        self._levels: list[deque[Array]] = [deque() for _ in range(most_rows.bit_length() + 1)]
        self._rows = 0

    @classmethod
    def of(cls, arrays: Arrays, per_size: int, most_rows: int) -> Self:
        """What `arrays` gave. Raises `ValueError` where the groups are not of such a histogram."""
        histogram = cls(per_size, most_rows)
        counts = arrays["groups"][:, 0].astype(np.intp)
        if (counts < 0).any() or (counts > per_size).any() or arrays["sums"].shape[:2] != (len(counts), per_size):
            raise ValueError("the groups of a histogram do not fit its memory")
        for level, count, sums in zip(histogram._levels, counts.tolist(), arrays["sums"], strict=True):
            level.extend(sums[:count])
        histogram._rows = sum(len(level) << size for size, level in enumerate(histogram._levels))
        return histogram

    def add(self, sums: Array) -> None:
        """The next row: its value and its square, (2, streams)."""
        levels = self._levels
        levels[0].append(sums)
        self._rows += 1
        size = 0
        while len(levels[size]) > self._per_size:
            levels[size + 1].append(levels[size].popleft() + levels[size].popleft())
            size += 1
        if self._rows > self._most_rows:
            self._forget()

    def _forget(self) -> None:
        size = max(size for size, level in enumerate(self._levels) if level)
        self._levels[size].popleft()
        self._rows -= 1 << size

    def groups(self) -> tuple[NDArray[np.intp], Array]:
        """The sizes of the groups, oldest first, (k,), and their sums (k, 2, streams)."""
        held = [(1 << size, sums) for size, level in reversed(list(enumerate(self._levels))) for sums in level]
        return np.array([size for size, _ in held], np.intp), np.stack([sums for _, sums in held])

    def arrays(self, streams: int) -> Arrays:
        """As a memory holds it: of each size how many groups, (sizes, streams), and their sums, padded with 0."""
        counts = np.array([[float(len(level))] * streams for level in self._levels])
        sums = np.zeros((len(self._levels), self._per_size, 2, streams))
        for padded, level in zip(sums, self._levels, strict=True):
            for place, group in zip(padded, level, strict=False):
                place[:] = group
        return {"groups": counts, "sums": sums}
