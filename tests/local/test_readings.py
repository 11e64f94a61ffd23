"""When a composition counts as settled: nothing is on its way, and for as long as anything happens it is waited for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from wayside.eventing.http.admin import AdminServer
from wayside.local.composition import Composition, compose
from wayside.local.readings import Readings

ROWS = {"in_windows": 400, "open": 0, "late": 0, "overflow": 0, "evicted": 0}


class Loop:
    """The admin ports of a composition; each look at the broker takes the next of `waiting`, the last one for ever."""

    def __init__(self) -> None:
        self.waiting = [0]
        self.judging = [0]
        views = {"/triggers": self._triggers, "/windows": self._windows}
        self.admin = AdminServer(CollectorRegistry(), "127.0.0.1", 0, views=views)

    def _triggers(self) -> dict[str, Any]:
        waiting = self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]
        counts = {"matched": 9, "delivered": 9 - waiting, "dead_lettered": 0, "waiting": waiting, "attempts": 9}
        return {"triggers": [{"name": "drift", **counts}], "duplicates": 0, "conflicts": 0}

    def _windows(self) -> dict[str, Any]:
        judging = self.judging.pop(0) if len(self.judging) > 1 else self.judging[0]
        return {"keys": [ROWS], "outbox": 0, "judging": judging}

    @property
    def composition(self) -> Composition:
        port = self.admin.port
        detector = {"name": "drift", "artifact": "a", "port": 1, "admin_port": port}
        made = compose({"detectors": [detector]}, Path(), "a test")
        ours = {name: getattr(made, name).model_copy(update={"admin_port": port}) for name in ("logger", "broker")}
        return made.model_copy(update=ours)


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    made = Loop()
    await made.admin.start()
    yield made
    await made.admin.stop()


async def settled(loop: Loop, timeout_s: float) -> bool:
    readings = Readings(loop.composition, "drift")
    try:
        return await readings.wait_settled(timeout_s)
    finally:
        await readings.close()


async def test_a_backlog_that_shrinks_is_waited_for(loop: Loop) -> None:
    """On a busy machine, longer than the timeout in sum."""
    loop.waiting = [3, 2, 1, 0]
    assert await settled(loop, 0.8)


async def test_a_backlog_that_stands_is_given_up(loop: Loop) -> None:
    loop.waiting = [2]
    assert not await settled(loop, 0.4)


async def test_windows_that_are_being_judged_are_waited_for(loop: Loop) -> None:
    loop.judging = [1]
    assert not await settled(loop, 0.4)
