"""A service as a process that a test kills as often as it likes: one that forks a child for each line that it reads."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from wayside.eventing.http.url import Url


class Killable:
    """The service as a process; `start` as often as it is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pid = 0
        self.url: Url | None = None

    @classmethod
    async def launch(cls, server: Path, *arguments: str) -> "Killable":
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, str(server), *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    async def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        word, port, pid = (await self._line()).split()
        assert word == "ready"
        self._pid, self.url = int(pid), Url.parse(f"http://127.0.0.1:{port}/")

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.url = None
        os.kill(self._pid, number)
        assert await self._line() == "ended"

    async def close(self) -> None:
        """Whatever became of it: no process is left."""
        if self.url is not None:
            await self.end()
        await self._process.communicate(b"")  # which ends what it reads

    async def _line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            return (await self._process.stdout.readline()).decode().strip()
