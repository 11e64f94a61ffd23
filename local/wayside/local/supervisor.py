"""Starts the processes of a composition, keeps them running, and stops them in the other order.

Invariant: a process that was started is either running, being started again, or has been stopped on purpose. One that
cannot start for its configuration (exit status 2) is not tried again: its own line is the error.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wayside.eventing.command import EXIT_CONFIGURATION
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.http.client import HttpClient, Unreachable
from wayside.eventing.http.url import Url
from wayside.eventing.sink import SinkUnavailable
from wayside.local.processes import Process

log = logging.getLogger("wayside.local")
_POLL_S = 0.05
_BACKOFF_S = (0.2, 5.0)
WAYSIDE = (sys.executable, "-m", "wayside.local")
SUPERVISED = (sys.executable, "-m", "wayside.local.supervised")


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """How long a process may take to become ready, and to stop before it is killed; seconds."""

    ready_s: float = 60.0
    stop_s: float = 30.0


class Supervisor:
    """Runs `processes`, each with a log file of its own in `logs`. `on_ready(process)` is called as each is ready."""

    def __init__(
        self,
        processes: Sequence[Process],
        logs: Path,
        on_ready: Callable[[Process], None] = lambda process: None,
        limits: SupervisorLimits | None = None,
    ) -> None:
        self._limits = limits or SupervisorLimits()
        self._on_ready = on_ready
        self._client = HttpClient()
        self._children = {process.name: _Child(process, logs / f"{process.name}.log") for process in processes}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Start every process at once and wait until all are ready, in order.

        They may come up in any order: each retries, or keeps, what its neighbour cannot take yet. Raises
        `ConfigurationError` with a process's own words where one cannot start.
        """
        for child in self._children.values():
            await child.spawn()
        for child in self._children.values():
            await self._wait_ready(child)
            self._on_ready(child.process)
        for child in self._children.values():
            child.check()  # whoever answered that it is ready, it must have been the child
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children.values()]

    async def stop(self) -> None:
        """SIGTERM from the sources to the sinks, each to its end; SIGKILL for one that goes over its time."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for child in reversed(self._children.values()):
            await child.end(self._limits.stop_s)
        await self._client.close()

    def pid(self, name: str) -> int | None:
        """The process id of a child that runs now, or None."""
        return self._children[name].pid

    def restarts(self, name: str) -> int:
        """How often a child was started again."""
        return self._children[name].restarts

    async def wait_ready(self, name: str) -> None:
        """Wait until a child answers that it is ready. Raises `ConfigurationError` where it does not in time."""
        await self._wait_ready(self._children[name])

    async def _wait_ready(self, child: "_Child") -> None:
        url = Url.parse(child.process.ready_url)
        try:
            async with asyncio.timeout(self._limits.ready_s):
                child.check()
                while not await self._is_ready(url):
                    await asyncio.sleep(_POLL_S)
                    child.check()
        except TimeoutError as exc:
            raise ConfigurationError(
                f"{child.process.name} is not ready after {self._limits.ready_s:g} s; see {child.log_file}"
            ) from exc

    async def _is_ready(self, url: Url) -> bool:
        try:
            response = await self._client.send(b"GET", url, [], timeout_s=2.0)
        except (Unreachable, SinkUnavailable):
            return False
        return response.status == 200

    async def _keep(self, child: "_Child") -> None:
        pause_s = _BACKOFF_S[0]
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            status = await child.wait_exit()
            if asyncio.get_running_loop().time() - started > 10 * _BACKOFF_S[1]:
                pause_s = _BACKOFF_S[0]
            log.warning("%s ended with status %s; it is started again in %.1f s", child.process.name, status, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _BACKOFF_S[1])
            child.restarts += 1
            await child.spawn()


class _Child:
    """One process and its log."""

    def __init__(self, process: Process, log_file: Path) -> None:
        self.process = process
        self.log_file = log_file
        self.restarts = 0
        self._running: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        running = self._running
        return running.pid if running is not None and running.returncode is None else None

    async def spawn(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C reaches it through `end` alone."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        program = self.process.program or (*SUPERVISED, *self.process.arguments)
        with self.log_file.open("ab") as output:
            self._running = await asyncio.create_subprocess_exec(
                *program,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **self.process.environment},
            )
        _set_niceness(self._running.pid, self.process.niceness)

    async def wait_exit(self) -> int:
        assert self._running is not None
        return await self._running.wait()

    def check(self) -> None:
        """Raise `ConfigurationError` with the process's last line where it has ended instead of becoming ready."""
        if self._running is None or self._running.returncode is None:
            return
        status, last = self._running.returncode, _last_line(self.log_file)
        if status == EXIT_CONFIGURATION:
            raise ConfigurationError(last)
        raise ConfigurationError(f"{self.process.name} ended with status {status}: {last} (see {self.log_file})")

    async def end(self, stop_s: float) -> None:
        running = self._running
        if running is None or running.returncode is not None:
            return
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGCONT)  # one that hangs by SIGSTOP must hear the first
        try:
            await asyncio.wait_for(running.wait(), stop_s)
        except TimeoutError:
            log.warning("%s did not stop within %g s and is killed", self.process.name, stop_s)
            running.kill()
            await running.wait()


def _set_niceness(pid: int, niceness: int) -> None:
    """Lower a process's claim, and its session's: Linux may share the processors out by session before it looks at
    niceness (sched(7), autogroup), and every child leads a session of its own."""
    with suppress(OSError):  # it may have ended already, which `check` tells; not every system has autogroups
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "(it printed nothing)"
