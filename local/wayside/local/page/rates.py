"""The false-alarm rate asked for, and the one measured: how much a share of so many rows can say.

Invariant: an interval always contains the share that it is for, and lies within [0, 1].
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wayside.sinks.embedded.reader import DetectorRate

_NORMAL_90 = 1.6448536269514722  # the 95 % quantile of the normal distribution: 5 % on either side


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends, as shares from 0 to 1."""

    low: float
    high: float

    def __contains__(self, share: float) -> bool:
        return self.low <= share <= self.high


def wilson(hits: int, n: int, z: float = _NORMAL_90) -> Interval:
    """The score interval of a share, 90 % by default; [0, 1] where n is 0.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share = hits / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


@dataclass(frozen=True, slots=True)
class Measured:
    """What share of `scored` rows was flagged, and the interval that so many rows allow."""

    scored: int
    flagged: int

    @property
    def share(self) -> float | None:
        return self.flagged / self.scored if self.scored else None

    @property
    def interval(self) -> Interval:
        return wilson(self.flagged, self.scored)


def measured(rates: Iterable[DetectorRate], detector: str) -> Measured:
    """One detector's rates added up."""
    own = [rate for rate in rates if rate.detector == detector]
    return Measured(sum(rate.scored for rate in own), sum(rate.flagged for rate in own))


def judge(alpha: float, found: Measured) -> str:
    """'as asked', 'higher' or 'lower' than asked, or 'unknown' while there are no rows."""
    if not found.scored:
        return "unknown"
    if alpha in found.interval:
        return "as asked"
    return "higher" if found.interval.low > alpha else "lower"


def detectors(rates: Sequence[DetectorRate]) -> dict[str, DetectorRate]:
    """The detectors by name, in order."""
    return {rate.detector: rate for rate in rates}
