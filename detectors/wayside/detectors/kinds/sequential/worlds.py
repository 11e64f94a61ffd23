"""Streams of rows without drift, drawn from the reference, and the peaks of what follows them.

Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979). A stream is drawn from
a world, itself a resample of the reference: the rate that is found is thereby the one to be expected of traffic of
which the reference is a sample, not of the reference alone, and a small reference asks for higher thresholds.
Invariant: equal seeds give equal streams.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Array, Progress, untold

Indices = NDArray[np.intp]
Walk = Callable[[Any, Indices], tuple[Array, Any]]
"""(memories, the reference's rows that come next, shape (rows, streams)) to (peaks, shape (streams, …), memories)."""
Start = Callable[[int], Any]
"""The memories that so many streams start from."""

_WORLDS = 64
_WORLD_ROWS = 1 << 23  # of all worlds: of a large reference they hardly differ, and fewer do
_CHUNK = 256  # streams that are followed at once


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is simulated: `blocks` blocks of `block_rows` rows of each of `streams` streams, a multiple of 256.
    What a memory holds from its start on is forgotten within the first block."""

    streams: int
    blocks: int
    block_rows: int

    @classmethod
    def of_cost(cls, cells_a_row: int, block_rows: int = 256, cells: float = 6e7) -> "Plan":
        """As many rows as so many cells allow, within bounds."""
        rows = int(min(max(cells / cells_a_row, 3e5), 2e6))
        streams = 2048 if rows >= 2048 * 4 * block_rows else 1024 if rows >= 1024 * 3 * block_rows else 512
        return cls(streams, max(3, rows // (streams * block_rows)), block_rows)


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """The highest that each stream was in each block of rows: `peaks` (blocks, streams, …). Stream s is of the world
    s mod `worlds`, of which there are a power of 2. Over the first block a stream forgets where it started."""

    peaks: Array
    block_rows: int
    worlds: int


def simulate(walk: Walk, start: Start, rows: int, plan: Plan, seed: int, progress: Progress = untold) -> Simulated:
    """Follow streams of a reference of so many rows."""
    rng = np.random.default_rng(seed)
    count = 1 << (max(4, min(_WORLDS, _WORLD_ROWS // rows)).bit_length() - 1)
    worlds = rng.integers(rows, size=(count, rows), dtype=np.int32)
    chunks = []
    for first in range(0, plan.streams, _CHUNK):
        chunks.append(_follow(walk, start(_CHUNK), worlds, plan, rng))
        progress("simulating", first + _CHUNK, plan.streams)
    return Simulated(np.concatenate(chunks, axis=1), plan.block_rows, count)


def _follow(walk: Walk, memories: Any, worlds: NDArray[np.int32], plan: Plan, rng: np.random.Generator) -> Array:
    whose = np.arange(_CHUNK) % len(worlds)
    found = []
    for _ in range(plan.blocks):
        drawn = rng.integers(worlds.shape[1], size=(plan.block_rows, _CHUNK))
        peaks, memories = walk(memories, worlds[whose, drawn].astype(np.intp))
        found.append(peaks)
    return np.stack(found)
