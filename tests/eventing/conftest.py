"""What the tests of eventing share: the event loops that the HTTP tests run on, and waiting for a condition.

Invariant: no test sleeps for a fixed time; it waits for a condition, with a deadline.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))  # for what tests share that is no fixture
settings.register_profile("wayside", max_examples=60, deadline=None)  # a busy machine is no failure
settings.load_profile("wayside")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    """HTTP is tested on both loops, whose transports differ; everything else on the one of the standard library."""
    if item.path.name.startswith("test_http_") and item.path.name != "test_http_binding.py":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
def eventually() -> Eventually:
    """Wait until a condition holds; fail after five seconds."""

    async def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < deadline, "the condition did not come to hold"
            await asyncio.sleep(0.001)

    return wait
