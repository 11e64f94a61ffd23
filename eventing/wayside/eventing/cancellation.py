"""Tells a task's own cancellation from one that comes out of what it called.

Invariant: a task that asks is never kept from ending: its own cancellation is always known as such.
"""

import asyncio


def ends_this_task(exc: BaseException) -> bool:
    """Whether an exception is the cancellation of the running task.

    A sink may raise `CancelledError` of its own accord, as where a future that it awaits is cancelled: a fault of it.
    """
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0
