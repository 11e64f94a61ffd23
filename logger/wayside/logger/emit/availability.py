"""Whether the log url is away, as its last answers and silences tell.

Invariant: an answer, whatever it says, is no outage while the log url accepts others.
"""

import asyncio
from logging import Logger

from wayside.eventing.outage import OutageNotice
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.emit.sender import SinkBusy

_AWAY_S = 1.0  # a sink that was away for longer, and is back, is sent soon what waits for another try
_ACCEPTS_S = 5.0  # so long after it accepted something it counts as accepting


class Availability:
    """For one event loop. `answers`: the last attempt that failed was answered; `retry_after_s` is as that had it."""

    def __init__(self, log: Logger, waits: str) -> None:
        self.is_away = self.answers = False
        self.retry_after_s: float | None = None
        self._away_since_s = 0.0
        self._accepted_s = float("-inf")
        self._outage = OutageNotice(log, waits)

    def note_failed(self, error: SinkUnavailable) -> None:
        """An attempt failed, and will be made again."""
        now_s = asyncio.get_running_loop().time()
        self.answers = isinstance(error, SinkBusy)
        self._outage.note_away(error)
        if self.answers and now_s < self._accepted_s + _ACCEPTS_S:
            return
        if not self.is_away:
            self._away_since_s = now_s
        self.is_away, self.retry_after_s = True, error.retry_after_s

    def note_accepted(self, now_s: float) -> bool:
        """An attempt succeeded; True where that ends a time away."""
        self._accepted_s = now_s
        was_away, self.is_away = self.is_away, False
        return was_away

    def tell_back(self, waiting: int, now_s: float) -> bool:
        """Tell that it is back; True where it was away for long."""
        self._outage.note_back(f"the log url takes events again; {waiting} wait")
        return now_s - self._away_since_s > _AWAY_S
