"""What one logger counts: plain numbers, which cost the serving path next to nothing.

Invariant: captured + found in the spool = sent + dropped + in memory + waiting in the spool, at every moment, over both
kinds of event together; and for each kind, where nothing was dropped whose kind is not known any more.
"""

from bisect import bisect_left
from collections import Counter

KINDS = ("request", "response")
_BOUNDS_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Durations:
    """A histogram of seconds. `counts[n]` are those up to `bounds_s[n]` and over the one before; the last, the rest."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...] = _BOUNDS_S) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds_s, seconds)] += times
        self.sum_s += seconds * times


class LoggerCounts:
    """Counts since the logger was made.

    `exchanges` are requests that were no probes; of them `sampled_out` were left out on purpose. `captured` events were
    made, or should have been; `dropped` has them by (kind, reason). `added` is what a request spent inside the logger.
    """

    def __init__(self) -> None:
        self.responses: Counter[int] = Counter()
        self.exchanges = self.sampled_out = self.truncated = 0
        self.captured = dict.fromkeys(KINDS, 0)
        self.sent = dict.fromkeys(KINDS, 0)
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.attempts = dict.fromkeys(("accepted", "unavailable", "refused"), 0)
        self.request, self.upstream, self.added = Durations(), Durations(), Durations()
        self.send = Durations()

    def drop(self, kind: str, reason: str, count: int = 1) -> None:
        """Count events given up; `kind` is one of `KINDS`, or `unknown`."""
        self.dropped[kind, reason] += count
