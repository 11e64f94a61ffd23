"""Events that are given up: counted by reason, and told in the log, of many alike only some.

Invariant: each is counted once, under one reason.
"""

import logging

from wayside.eventing.errors import WaysideError
from wayside.eventing.event import CloudEvent
from wayside.eventing.outage import is_told
from wayside.eventing.sink import SinkUnavailable
from wayside.logger.counts import LoggerCounts
from wayside.logger.emit.failing import FAILING
from wayside.logger.emit.parcel import kind_of

log = logging.getLogger("wayside.logger")


class Drops:
    """`unsent` are those that the end of the logger came too early for."""

    def __init__(self, counts: LoggerCounts) -> None:
        self._counts = counts
        self._refused = self.unsent = 0

    def note(self, event: CloudEvent, reason: str, *, is_end: bool = False) -> None:
        """It is dropped for a reason; `is_end`: since the logger ends."""
        self._counts.drop(kind_of(event), reason)
        self.unsent += is_end

    def note_error(self, event: CloudEvent, error: Exception) -> None:
        """The log url refused it, failed on it again and again, or it could not be sent at all."""
        is_failing = isinstance(error, SinkUnavailable)
        self.note(event, FAILING if is_failing else "refused")
        if not isinstance(error, WaysideError):
            log.error("an event could not be sent and is dropped", exc_info=error)
            return
        self._counts.attempts["refused"] += not is_failing
        self._refused += 1
        if is_told(self._refused):
            log.warning("%d events were refused and dropped, the last because %s", self._refused, error)

    def tell_end(self, spooled: int) -> None:
        """The last line of a logger that leaves so many events in its spool. The next end counts anew."""
        unsent, self.unsent = self.unsent, 0
        if spooled:
            words = "stopped with %d events in the spool, for the next logger to send, and %d unsent; they are dropped"
            log.warning(words, spooled, unsent)
        elif unsent:
            log.warning("stopped with %d events unsent; they are dropped", unsent)
