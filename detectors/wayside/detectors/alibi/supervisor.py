"""Keeps one worker process ready: the next is started when one is lost, or has grown.

Invariant: at most one call runs at a time, and no call waits for a start that has just failed: after a failed start,
and after a worker that was lost in a call, there is a pause, longer each time until a call is answered; whoever calls
in it is told at once. A worker that has grown serves until its successor is ready.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wayside.detectors.alibi.errors import WorkerLost, WorkerRefusal
from wayside.detectors.alibi.process import WorkerProcess
from wayside.detectors.kinds.protocol import Array
from wayside.eventing.backoff import Backoff
from wayside.eventing.errors import ConfigurationError, WaysideError

log = logging.getLogger(__name__)

Launch = Callable[[], WorkerProcess]
"""Starts a worker that is ready to score. Raises `ConfigurationError`, or `WorkerLost` where it dies on the way."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """`start_s` covers the import of TensorFlow and the load, `call_s` one call. A worker that holds more than
    `growth_bytes` beyond what it held after its first call is replaced (alibi-detect's libraries leak)."""

    start_s: float = 300.0
    call_s: float = 60.0
    growth_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        for name, value in (("start_s", self.start_s), ("call_s", self.call_s), ("growth_bytes", self.growth_bytes)):
            if not value > 0:
                raise ConfigurationError(f"{name} is {value:g}: give a positive number")


class Supervisor:
    """Asks its worker from any thread; `ready` is one that is started already. The worker ends with `close`, with this
    object, or with this process."""

    def __init__(
        self,
        launch: Launch,
        limits: WorkerLimits | None = None,
        backoff: Backoff | None = None,
        ready: WorkerProcess | None = None,
    ) -> None:
        self._launch = launch
        self._limits = limits or WorkerLimits()
        self._backoff = backoff or Backoff(first_s=1.0, limit_s=30.0)
        self._lock = threading.Lock()
        self._held = _Held(ready)
        self._failures, self._not_before_s, self._last_failure = 0, 0.0, ""
        self._end = weakref.finalize(self, _Held.close, self._held)

    def warm(self) -> None:
        """Return once a worker is ready. Raises as `ask` does."""
        with self._lock:
            self._ready()

    def ask(self, head: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]:
        """Raises `WorkerLost` (ask again later), `WorkerRefusal`, or `ConfigurationError` where none can start."""
        with self._lock:
            current = self._ready()
            try:
                answer = current.ask(head, arrays, self._limits.call_s)
            except WorkerLost as exc:
                self._held.current = None
                self._pause(exc)
                raise
            except WorkerRefusal:
                self._failures = 0
                raise
            self._failures = 0
            self._replace_if_grown(current)
            return answer

    def close(self) -> None:
        """End the worker; may be called twice. Nothing can be asked after it."""
        self._end()

    def _ready(self) -> WorkerProcess:
        self._take_successor()
        if self._held.current is None:
            self._held.use(self._started())
        assert self._held.current is not None
        return self._held.current

    def _started(self) -> WorkerProcess:
        wait_s = self._not_before_s - time.monotonic()
        if wait_s > 0:
            raise WorkerLost(f"the alibi-detect worker starts again in {wait_s:.0f} s: {self._last_failure}")
        try:
            return self._launch()
        except WaysideError as exc:
            self._pause(exc)
            raise

    def _pause(self, failure: WaysideError) -> None:
        self._failures += 1
        self._last_failure = str(failure)
        self._not_before_s = time.monotonic() + self._backoff.delay_s(self._failures)

    def _replace_if_grown(self, current: WorkerProcess) -> None:
        held = self._held
        held.first_bytes = held.first_bytes or current.resident_bytes
        grown = current.resident_bytes - held.first_bytes
        if grown <= self._limits.growth_bytes or held.starter is not None:
            return
        log.info("the alibi-detect worker %d has grown by %d MiB: the next one starts", current.pid, grown >> 20)
        held.first_bytes = (
            current.resident_bytes
        )  # should the start fail, the next one comes after as much growth again
        held.starter = threading.Thread(target=_start_successor, args=(self._launch, held), daemon=True)
        held.starter.start()

    def _take_successor(self) -> None:
        held = self._held
        if held.starter is None or held.starter.is_alive():
            return
        held.starter, successor = None, held.successor
        if successor is not None:
            held.successor, retired = None, held.current
            held.use(successor)
            if retired is not None:
                retired.close()


class _Held:
    """The processes that must not outlive us: the one that answers, and the one that will."""

    def __init__(self, current: WorkerProcess | None) -> None:
        self.current = current
        self.successor: WorkerProcess | None = None
        self.starter: threading.Thread | None = None
        self.first_bytes = 0
        self.is_closed = False

    def use(self, process: WorkerProcess) -> None:
        if self.is_closed:
            process.close()
            raise WorkerLost("the alibi-detect worker has been closed")
        self.current, self.first_bytes = process, 0

    def close(self) -> None:
        self.is_closed = True
        for process in (self.current, self.successor):
            if process is not None:
                process.close()
        self.current = self.successor = None


def _start_successor(launch: Launch, held: _Held) -> None:
    try:
        successor = launch()
    except (WaysideError, OSError) as exc:
        log.warning("the next alibi-detect worker did not start, the old one goes on: %s", exc)
        return
    held.successor = successor
    if held.is_closed:
        held.close()
