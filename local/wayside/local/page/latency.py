"""Latency and rates over time: from the demo's answers one by one, or from the logger's histograms by difference.

Invariant: memory is bounded by the stretch of time that is shown, whatever the traffic; what is older is forgotten.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from wayside.local.demo.ledger import quantile

HISTORY_S = 900
_LATENCIES_A_SECOND = 5_000


@dataclass(frozen=True, slots=True)
class Point:
    """One stretch of time that begins at `t` (seconds since the epoch).

    `requests` is how many were sent and `rows` how many rows were answered 200; the quantiles, in seconds, are over
    what was answered 200 and None where nothing was.
    """

    t: float
    requests: int
    rows: int
    p50_s: float | None
    p99_s: float | None


@dataclass(slots=True)
class _Second:
    requests: int = 0
    rows: int = 0
    latencies_s: list[float] = field(default_factory=list)


class AnswerSeries:
    """Answers of one route by the second in which they were sent, for the last `HISTORY_S` seconds of them."""

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self.last_s: float | None = None

    def add(self, t: float, rows: int, status: int, latency_s: float) -> None:
        """Count one answer; answers may come in any order."""
        second = self._seconds.setdefault(math.floor(t), _Second())
        second.requests += 1
        if status == 200:
            second.rows += rows
            if len(second.latencies_s) < _LATENCIES_A_SECOND:
                second.latencies_s.append(latency_s)
        self.last_s = max(t, self.last_s or t)

    def forget(self) -> None:
        """Drop what is older than `HISTORY_S` before the newest answer."""
        oldest = (self.last_s or 0.0) - HISTORY_S
        for second in [second for second in self._seconds if second < oldest]:
            del self._seconds[second]

    @property
    def first_s(self) -> float | None:
        return min(self._seconds, default=None)

    def points(self, width_s: int) -> list[Point]:
        """One point for each `width_s` seconds that hold an answer, in order."""
        groups: dict[int, list[_Second]] = {}
        for t in sorted(self._seconds):
            groups.setdefault(t - t % width_s, []).append(self._seconds[t])
        return [_point(t, seconds) for t, seconds in groups.items()]

    def since(self, t: float) -> Point:
        """Everything sent at `t` or later as one point."""
        return _point(math.floor(t), [second for at, second in self._seconds.items() if at >= math.floor(t)])


def _point(t: int, seconds: Sequence[_Second]) -> Point:
    latencies = sorted(latency for second in seconds for latency in second.latencies_s)
    requests, rows = sum(second.requests for second in seconds), sum(second.rows for second in seconds)
    return Point(t, requests, rows, quantile(latencies, 0.5), quantile(latencies, 0.99))


@dataclass(frozen=True, slots=True)
class Histogram:
    """A Prometheus histogram: (upper bound in seconds, cumulative count), bounds ascending, the last one infinite."""

    buckets: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> float:
        return self.buckets[-1][1] if self.buckets else 0.0

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was observed after `earlier`; all of it where the process has restarted in between."""
        bounds = [bound for bound, _ in self.buckets]
        if bounds != [bound for bound, _ in earlier.buckets] or self.count < earlier.count:
            return self
        counts = (now - before for (_, now), (_, before) in zip(self.buckets, earlier.buckets, strict=True))
        return Histogram(tuple(zip(bounds, counts, strict=True)))

    def quantile(self, share: float) -> float | None:
        """Linear within a bucket, as Prometheus' `histogram_quantile`; None where nothing was observed."""
        rank, low, before = share * self.count, 0.0, 0.0
        if not rank:
            return None
        for bound, count in self.buckets:
            if count >= rank:
                return low if math.isinf(bound) else low + (bound - low) * (rank - before) / (count - before)
            low, before = bound, count
        return low


@dataclass(frozen=True, slots=True)
class Sample:
    """The logger's counters at the moment `t`, and how many rows the record store held; None where it was not read."""

    t: float
    requests: float
    rows: int | None
    request: Histogram
    upstream: Histogram


class Samples:
    """Samples of the last `HISTORY_S` seconds, one every `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._samples: deque[Sample] = deque(maxlen=math.ceil(HISTORY_S / interval_s) + 1)

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)

    @property
    def first_s(self) -> float | None:
        return self._samples[0].t if self._samples else None

    @property
    def last_s(self) -> float | None:
        """When a request was last seen to be answered."""
        for earlier, later in self._backwards():
            if later.requests != earlier.requests:
                return later.t
        return None

    def points(self, histogram: str, width_s: float) -> list[Point]:
        """One point for each `width_s` seconds or more; `histogram` is 'request' or 'upstream'."""
        thinned = list(_thinned(self._samples, width_s))
        return [_difference(*pair, histogram) for pair in pairwise(thinned)]

    def since(self, t: float, histogram: str) -> Point | None:
        """All that happened from the first sample at `t` or later until the newest; None without two of them."""
        recent = [sample for sample in self._samples if sample.t >= t]
        return _difference(recent[0], recent[-1], histogram) if len(recent) > 1 else None

    def _backwards(self) -> Iterator[tuple[Sample, Sample]]:
        newest_first = list(reversed(self._samples))
        return zip(newest_first[1:], newest_first, strict=False)


def _thinned(samples: Iterable[Sample], width_s: float) -> Iterator[Sample]:
    due = -math.inf
    for sample in samples:
        if sample.t >= due:
            yield sample
            due = sample.t + width_s * 0.99  # a timer that fires a little early still counts


def _difference(earlier: Sample, later: Sample, histogram: str) -> Point:
    seen: Histogram = getattr(later, histogram).since(getattr(earlier, histogram))
    rows = later.rows - earlier.rows if later.rows is not None and earlier.rows is not None else 0
    requests = later.requests - earlier.requests
    requests = later.requests if requests < 0 else requests
    return Point(earlier.t, round(requests), max(0, rows), seen.quantile(0.5), seen.quantile(0.99))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the chart; `recent` sums up the last minute of it, None where that is not known."""

    name: str
    points: Sequence[Point]
    recent: Point | None


def span_of(first_s: float | None, last_s: float | None, now_s: float) -> tuple[float, float]:
    """The stretch of time to show. It ends now, or soon after the last traffic where that is over for a minute.

    At least one minute, at most `HISTORY_S`.
    """
    end = now_s if last_s is None or now_s - last_s < 60 else last_s + 5
    first = end - 60 if first_s is None else min(first_s, end - 60)
    return max(first, end - HISTORY_S), end


def width_of(span: tuple[float, float], points: int = 300) -> int:
    """Whole seconds a point, so that a line has about `points` points at most."""
    return max(1, math.ceil((span[1] - span[0]) / points))


def rates(points: Iterable[Point], width_s: float) -> list[Mapping[str, float]]:
    """Requests and rows a second for each point."""
    return [{"t": p.t, "requests": p.requests / width_s, "rows": p.rows / width_s} for p in points]
