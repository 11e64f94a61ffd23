"""What is to be tried again: when, and sooner where there is reason to hope.

Invariant: a shipment waits here at most once; what is tried sooner is not all tried in one moment. The more wait, the
longer each does, so that many do not become a storm.
"""

import asyncio
import random
from collections.abc import Callable

from wayside.eventing.backoff import Backoff
from wayside.logger.emit.parcel import Shipment

_BACKOFF = Backoff()
_CROWD, _STRETCH_LIMIT = 256, 8.0  # more than these wait longer, by so much at most
_HURRY_S, _HURRY_LIMIT_S = 0.005, 1.0  # between two that are tried sooner, on average; for all of them


class Retries:
    """Calls `retry` with each shipment in its time. `resting` counts those that wait for themselves alone: they were
    answered, and keep no place in flight from the others."""

    def __init__(self, retry: Callable[[Shipment], None]) -> None:
        self._retry = retry
        self._waiting: dict[Shipment, asyncio.TimerHandle] = {}
        self._resting: set[Shipment] = set()
        self.resting = 0

    def add(self, shipment: Shipment, retry_after_s: float | None, *, rests: bool) -> None:
        """It failed once more; the next stage may have said when to come again."""
        shipment.failures += 1
        if rests:
            self._resting.add(shipment)
            self.resting = len(self._resting)
        stretch = min(max(1.0, len(self._waiting) / _CROWD), _STRETCH_LIMIT)
        self._wait(shipment, stretch * _BACKOFF.delay_s(shipment.failures, retry_after_s))

    def hurry(self) -> None:
        """Try all that waits soon."""
        within_s = min(len(self._waiting) * _HURRY_S, _HURRY_LIMIT_S)
        for shipment, handle in list(self._waiting.items()):
            delay_s = random.uniform(0.0, within_s)
            if asyncio.get_running_loop().time() + delay_s < handle.when():
                handle.cancel()
                self._wait(shipment, delay_s)

    def clear(self) -> None:
        """Try nothing again."""
        for handle in self._waiting.values():
            handle.cancel()
        self._waiting.clear()
        self._resting.clear()
        self.resting = 0

    def _wait(self, shipment: Shipment, delay_s: float) -> None:
        self._waiting[shipment] = asyncio.get_running_loop().call_later(delay_s, self._try, shipment)

    def _try(self, shipment: Shipment) -> None:
        del self._waiting[shipment]
        self._resting.discard(shipment)
        self.resting = len(self._resting)
        self._retry(shipment)
