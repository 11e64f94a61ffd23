"""`wayside events` and its neighbours as processes of their own."""

import asyncio
import json
import os
import sys
from typing import Any, NamedTuple

COMMAND = (sys.executable, "-c", "from wayside.local.cli import entry; entry()")


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


async def run(*arguments: str, command: str = "events", **environment: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, command, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


def admin(broker: Any) -> list[str]:
    return ["--admin", f"http://127.0.0.1:{broker.service.admin_port}"]
