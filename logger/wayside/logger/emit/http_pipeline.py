"""How many posts a connection to a sink may carry at once: as many as keep the wait in line short, one in doubt.

Source: RFC 9112 section 9.3.2, by which only who recovers from partial failure pipelines what is not idempotent: events
are known by source, id and type, and delivered at least once.
Invariant: a sink that cannot pipeline costs one interrupted pipeline a minute at most, and ever fewer.
"""

_LINE_S = 0.05  # the longest wait for one's turn on a connection, as far as the past tells
_STALL_S = 0.1  # an answer that takes this long tells that the past does not count
_OFF_S, _OFF_LIMIT_S = 60.0, 3600.0


class Pipelining:
    """`depth` is how many posts may share a connection: it doubles with each answer up to `limit`, while answers are
    quick. Times are by one clock, in seconds."""

    def __init__(self, limit: int) -> None:
        self.depth = 1
        self._limit = limit
        self._answer_s = 0.0  # smoothed: it rises fast and falls slowly
        self._off_until_s = 0.0
        self._off_s = self._before_s = _OFF_S

    def note_answers(self, count: int, took_s: float, now_s: float) -> None:
        """So many answers came over a connection, `took_s` after its first post was written or the answer before."""
        if self._limit == 1:
            return
        each_s = took_s / count
        self._answer_s += (each_s - self._answer_s) * (0.5 if each_s > self._answer_s else 0.125)
        if now_s < self._off_until_s:
            return
        depth = min(self._limit, 2 * self.depth)
        self.depth = depth if depth * self._answer_s <= _LINE_S else max(1, int(_LINE_S / self._answer_s))

    def depth_after(self, waited_s: float) -> int:
        """The depth where an answer is awaited for so long already."""
        return self.depth if waited_s < _STALL_S else 1

    def note_broken(self, now_s: float) -> None:
        """Posts that shared a connection were not all answered: for a while no others will."""
        self.depth = 1
        if now_s < self._off_until_s:
            return  # others of the same time
        self._before_s = self._off_s
        if self._off_until_s and now_s - self._off_until_s > 10 * self._off_s:
            self._off_s = _OFF_S  # that was another matter
        self._off_until_s = now_s + self._off_s
        self._off_s = min(2 * self._off_s, _OFF_LIMIT_S)

    def absolve(self) -> None:
        """What broke had another reason: the last `note_broken` does not count."""
        self._off_until_s, self._off_s = 0.0, self._before_s
