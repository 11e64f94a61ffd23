"""Score distributions over one axis: counts in bins, on a logarithmic scale where scores are skewed.

Invariant: every score is counted once: in a bin, or, what lies beyond the axis or is infinite, in the one at its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.kinds.protocol import Vector

_BINS = 64
_SKEWED = 8.0  # times the median: where the 99th percentile lies of scores that want a logarithmic scale
_QUANTILE = 0.998
_ROOM = 1.15  # beyond the threshold


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """`edges` (b + 1,) rise; `counts` has (b,) numbers of rows by the name of each distribution."""

    edges: Vector
    counts: Mapping[str, Vector]
    is_log: bool

    @classmethod
    def of(cls, scores: Mapping[str, Vector], threshold: float) -> Self:
        """Of several distributions, none of them empty; the first, of finite scores, says which scale there is."""
        first = next(iter(scores.values()))
        finite = [each[np.isfinite(each)] for each in scores.values()]
        ends = [np.quantile(each, (0.0, _QUANTILE)).tolist() for each in finite if len(each)]
        is_log = _is_skewed(first, max(end[1] for end in ends))
        edges = _log_edges(first, ends, threshold) if is_log else _edges(ends, threshold)
        counts = {name: np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0] for name, each in scores.items()}
        return cls(edges, {name: found.astype(np.float64) for name, found in counts.items()}, is_log)

    def place(self, score: float) -> float:
        """Where a score stands on the axis, from 0 to 1."""
        low, high, at = self.edges[0], self.edges[-1], float(np.clip(score, self.edges[0], self.edges[-1]))
        if self.is_log:
            low, high, at = np.log(low), np.log(high), float(np.log(at))
        return float((at - low) / (high - low))

    def ticks(self) -> list[float]:
        """Round scores along the axis."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.is_log:
            return _log_ticks(low, high)
        step = _round_step((high - low) / 6)
        first = int(np.ceil(low / step))
        return [number * step for number in range(first, int(np.floor(high / step)) + 1)]


def _is_skewed(scores: Vector, high: float) -> bool:
    return bool(scores.min() >= 0 and 0 < _SKEWED * np.median(scores) < high)


def _log_edges(scores: Vector, ends: Sequence[Sequence[float]], threshold: float) -> Vector:
    """From the lowest of the bulk that is not 0, to the far end of the bulk of every distribution."""
    low = float(np.quantile(scores[scores > 0], 1 - _QUANTILE))
    high = max(threshold, *(end[1] for end in ends)) * _ROOM
    edges: Vector = np.geomspace(low, high, _BINS + 1)
    return edges


def _edges(ends: Sequence[Sequence[float]], threshold: float) -> Vector:
    """To the far end of the bulk of every distribution, so that one huge score does not squeeze all others."""
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    high = max(high, threshold + (_ROOM - 1) * abs(threshold - low))
    edges: Vector = np.linspace(low, high if high > low else low + max(abs(low), 1.0) * 1e-3, _BINS + 1)
    return edges


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(int(np.ceil(np.log10(low))), int(np.floor(np.log10(high))) + 1)
    if len(decades) < 3:
        decades_from, steps = int(np.floor(np.log10(low))), (1.0, 2.0, 5.0)
        ticks = [step * 10.0**at for at in range(decades_from, decades_from + 5) for step in steps]
        return [tick for tick in ticks if low <= tick <= high]
    return [10.0**at for at in decades[:: max(1, len(decades) // 7)]]


def _round_step(step: float) -> float:
    scale = 10.0 ** np.floor(np.log10(step))
    return float(scale * next(each for each in (1.0, 2.0, 5.0, 10.0) if each * scale >= step))
