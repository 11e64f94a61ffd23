"""Tells people that a sink is away and that it is back, and of many events alike only some.

Invariant: at most two lines in half a minute, however often the sink comes and goes; and while it stays away, a line
every half minute says why by now.
"""

import logging
import time
from collections.abc import Callable

_EVERY_S = 30.0


class OutageNotice:
    """Writes to `log` what becomes of a sink. `waits` begins the line of an outage: who waits where."""

    def __init__(self, log: logging.Logger, waits: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._waits = waits
        self._clock = clock
        self._told = False
        self._tell_at_s = clock()

    def note_away(self, reason: object) -> None:
        """An attempt failed, and will be made again."""
        now_s = self._clock()
        if now_s >= self._tell_at_s:
            self._tell_at_s = now_s + _EVERY_S
            self._told = True
            self._log.warning("%s and are tried again, because %s", self._waits, reason)

    def note_back(self, words: str) -> None:
        """An attempt succeeded; `words` are for whoever was told of the outage."""
        if self._told:
            self._told = False
            self._log.info("%s", words)


def is_told(count: int) -> bool:
    """Whether the `count`-th of many alike has a line of its own: the 1st, 2nd, 4th, 8th, …, never a flood."""
    return count & (count - 1) == 0
