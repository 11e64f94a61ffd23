"""A thread that does one piece of work at a time for an event loop.

Invariant: work is done in the order of the calls. The thread never holds up the end of its process: what a library
blocks on for longer than anybody waits is left behind.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class WorkThread:
    """Starts with the first call. A loop's executor will not do: the interpreter waits for its threads to end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. A caller that is cancelled leaves the work to go on."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._serve, args=(loop,), name=self._name, daemon=True)
            self._thread.start()
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((work, result))
        return await result

    def end(self) -> None:
        """Do what was called for, then end."""
        self._work.put(None)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (item := self._work.get()) is not None:
            work, result = item
            try:
                settle = partial(_settle, result, work(), None)
            except Exception as exc:  # the edge of the work: handed to whoever called for it
                settle = partial(_settle, result, None, exc)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle)


def _settle(result: asyncio.Future[Any], value: Any, exc: Exception | None) -> None:
    if result.done():
        return
    if exc is None:
        result.set_result(value)
    else:
        result.set_exception(exc)
