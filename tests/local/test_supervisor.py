"""The supervisor starts in order, brings back what dies, stops what hangs, and quotes what cannot start."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.local.processes import Process
from wayside.local.supervisor import Supervisor, SupervisorLimits

SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def child(name: str, code: str = SERVER) -> Process:
    port = free_port()
    program = (sys.executable, "-c", code, str(port))
    return Process(name, (), f"http://127.0.0.1:{port}/readyz", name, program=program)


@asynccontextmanager
async def supervising(*children: Process, logs: Path, ready_s: float = 20.0) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(children, logs, limits=SupervisorLimits(ready_s=ready_s, stop_s=5.0))
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_readiness_is_told_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    supervisor = Supervisor([child("a"), child("b")], tmp_path, lambda process: told.append(process.name))
    try:
        await supervisor.start()
        assert told == ["a", "b"]
    finally:
        await supervisor.stop()
    assert supervisor.pid("a") is None


async def test_a_killed_process_comes_back(tmp_path: Path) -> None:
    async with supervising(child("a"), logs=tmp_path) as supervisor:
        first = supervisor.pid("a")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pid("a") not in (None, first))
        await supervisor.wait_ready("a")
        assert supervisor.restarts("a") == 1


async def test_a_hanging_process_is_stopped_too(tmp_path: Path) -> None:
    async with supervising(child("a"), logs=tmp_path) as supervisor:
        pid = supervisor.pid("a")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await supervisor.stop()
        assert supervisor.pid("a") is None


async def test_a_configuration_error_is_quoted(tmp_path: Path) -> None:
    code = "import sys; print('a: --port is wrong', file=sys.stderr); sys.exit(2)"
    supervisor = Supervisor([child("a", code)], tmp_path)
    with pytest.raises(ConfigurationError, match=r"^a: --port is wrong$"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_crash_at_start_names_the_log(tmp_path: Path) -> None:
    supervisor = Supervisor([child("a", "raise SystemExit(3)")], tmp_path)
    with pytest.raises(ConfigurationError, match=r"a ended with status 3: .*a\.log"):
        await supervisor.start()
    await supervisor.stop()


async def test_what_never_gets_ready_is_an_error(tmp_path: Path) -> None:
    code = "import time; time.sleep(60)"
    supervisor = Supervisor([child("a", code)], tmp_path, limits=SupervisorLimits(ready_s=0.5, stop_s=5.0))
    with pytest.raises(ConfigurationError, match=r"a is not ready after 0\.5 s"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_process_runs_at_its_niceness(tmp_path: Path) -> None:
    async with supervising(replace(child("a"), niceness=7), logs=tmp_path) as supervisor:
        pid = supervisor.pid("a")
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) == 7


async def test_an_answer_from_someone_else_is_not_readiness(tmp_path: Path) -> None:
    other = child("other")
    async with supervising(other, logs=tmp_path):
        taken = replace(child("a", "import sys; sys.exit('a: the port is taken')"), ready_url=other.ready_url)
        supervisor = Supervisor([taken, child("b")], tmp_path)
        with pytest.raises(ConfigurationError, match="the port is taken"):
            await supervisor.start()
        await supervisor.stop()
