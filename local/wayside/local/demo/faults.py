"""Breaks processes on purpose: hangs one as a stuck disk would, kills one as the kernel does when memory is short.

Invariant: a process that was hung is always let go again, also when the demo is interrupted; every fault stands in the
ledger from the moment it began.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from wayside.eventing.errors import WaysideError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.local.demo.ledger import Ledger
from wayside.local.demo.phases import Action, Step

_POLL_S = 0.05
_PROBE_TIMEOUT_S = 2.0


class Processes(Protocol):
    """Who runs the processes, and starts one again that has died."""

    def pid(self, name: str) -> int | None:
        """The process id of a child that runs now, or None."""


class NotRecovered(WaysideError):
    """A process that was broken did not become ready again in time."""


class Saboteur:
    """Injects faults into `processes`; `ready_urls` says where each process answers 200 once it is ready."""

    def __init__(
        self, processes: Processes, ready_urls: dict[str, str], ledger: Ledger, http: HttpClient, limit_s: float = 30.0
    ) -> None:
        self._processes = processes
        self._ready = {name: Url.parse(url) for name, url in ready_urls.items()}
        self._ledger = ledger
        self._http = http
        self._limit_s = limit_s

    async def run(self, steps: Sequence[Step]) -> None:
        """Do the steps in order, waiting after each until its process is ready again. Raises `NotRecovered`."""
        for step in steps:
            await asyncio.sleep(step.pause_s)
            if step.action is Action.HANG:
                await self.hang(step.name, step.lasts_s)
            else:
                await self.kill(step.name)

    async def hang(self, name: str, lasts_s: float) -> None:
        """Stop a process for `lasts_s` seconds (SIGSTOP, SIGCONT) and wait until it is ready."""
        pid = await self._wait_pid(name, other_than=None)
        await self._ledger.note_fault(f"hang {name} for {lasts_s:g} s")
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await self._wait_ready(name)

    async def kill(self, name: str) -> None:
        """Kill a process (SIGKILL) and wait until another one stands in its place and is ready."""
        pid = await self._wait_pid(name, other_than=None)
        await self._ledger.note_fault(f"kill -9 {name}")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await self._wait_pid(name, other_than=pid)
        await self._wait_ready(name)

    async def _wait_pid(self, name: str, other_than: int | None) -> int:
        deadline = asyncio.get_running_loop().time() + self._limit_s
        while (pid := self._processes.pid(name)) is None or pid == other_than:
            if asyncio.get_running_loop().time() > deadline:
                raise NotRecovered(f"{name} does not run {self._limit_s:g} s after it was broken")
            await asyncio.sleep(_POLL_S)
        return pid

    async def _wait_ready(self, name: str) -> None:
        deadline = asyncio.get_running_loop().time() + self._limit_s
        while not await self._is_ready(self._ready[name]):
            if asyncio.get_running_loop().time() > deadline:
                raise NotRecovered(
                    f"{name} is not ready {self._limit_s:g} s after it was broken: {self._ready[name].text}"
                )
            await asyncio.sleep(_POLL_S)

    async def _is_ready(self, url: Url) -> bool:
        try:
            response = await self._http.send(b"GET", url, [], timeout_s=_PROBE_TIMEOUT_S)
        except (Unreachable, SinkUnavailable):
            return False
        return response.status == 200
