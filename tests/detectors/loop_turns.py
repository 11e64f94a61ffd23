"""How long the event loop was kept from its other clients: processor seconds of its thread, whatever else runs here."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

_TICK_S = 0.001


class Turns:
    """`longest_s` is the most that the loop's thread worked between two ticks of a clock that ticks by the loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._last_s = time.thread_time()
        self._next = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.thread_time()
        self.longest_s = max(self.longest_s, now - self._last_s)
        self._last_s = now
        self._next = self._loop.call_later(_TICK_S, self._tick)

    def stop(self) -> None:
        self._next.cancel()
        self._tick()
        self._next.cancel()


@contextmanager
def loop_turns() -> Iterator[Turns]:
    """Watch the running loop."""
    turns = Turns()
    try:
        yield turns
    finally:
        turns.stop()
