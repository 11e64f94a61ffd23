"""A store that fails for a while, as one lane sees it: how long to wait before it is asked again, and who is told.

Invariant: however many deliveries fail at once, pauses grow with how long the outage lasts, and few lines are logged.
"""

import logging
import time
from collections.abc import Callable

from wayside.eventing.outage import OutageNotice
from wayside.eventing.sink import SinkUnavailable

log = logging.getLogger("wayside.broker")
LONGEST_PAUSE_S = 30.0
_FIRST_PAUSE_S = 1.0


class StoreOutage:
    """`lane` begins what is logged. It is over with `note_success`, or a minute after the last failure."""

    def __init__(self, lane: object, clock: Callable[[], float] = time.monotonic) -> None:
        self._lane = lane
        self._clock = clock
        self._notice = OutageNotice(log, f"{lane}: deliveries wait for the store", clock)
        self._since_s: float | None = None
        self._failed_s = 0.0

    def note_failure(self, exc: SinkUnavailable) -> float:
        """Seconds to wait: what the store asks for, then as long as it has failed by now, 30 s at most."""
        self._notice.note_away(exc)
        now_s = self._clock()
        if self._since_s is None or now_s - self._failed_s > 2 * LONGEST_PAUSE_S:
            self._since_s = now_s
        self._failed_s = now_s
        return min(max(exc.retry_after_s or _FIRST_PAUSE_S, now_s - self._since_s), LONGEST_PAUSE_S)

    def note_success(self) -> None:
        """It has kept what it was given."""
        if self._since_s is not None:
            self._since_s = None
            self._notice.note_back(f"{self._lane}: the store takes what is delivered again")
