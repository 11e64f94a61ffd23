"""The servers side by side, Wayside's and Seldon's alibi-detect-server: how each is started, and what it uses.

Source: SeldonIO/seldon-core components/alibi-detect-server (README, adserver/__main__.py, adserver/base/storage.py).
Invariant: a server has answered an event when `serving` yields it, and is gone with all that it started when it ends.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from logger_programs import usage

from wayside.eventing.vocabulary import REQUEST

ADSERVER_PYTHON = Path(__file__).parents[1] / ".venvs" / "adserver" / "bin" / "python"
_READY_S = 240.0
_LOOK_S = 0.02
_MIB = 1 << 20
_HOST = "127.0.0.1"
_EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "first",
    "ce-source": "/bench",
    "ce-type": REQUEST,
    "ce-time": "2026-11-21T10:00:00Z",
    "content-type": "application/json",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A command that serves on a port. `ready_path` is what tells that it is ready; without one, that it listens."""

    command: tuple[str, ...]
    port: int
    ready_port: int
    ready_path: str = ""
    folder: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server in its process. `ready_s` is from its start until it was ready, `answered_s` until its first verdict."""

    port: int
    pid: int
    ready_s: float
    answered_s: float

    @property
    def resident_mib(self) -> float:
        """Of the process and those below it, now."""
        return usage(self.pid).resident_bytes / _MIB


def wayside(artifact: Path, ports: tuple[int, int]) -> Server:
    """`wayside detect`, as this environment has it installed."""
    where = ("--port", str(ports[0]), "--admin-port", str(ports[1]))
    command = (sys.executable, "-m", "wayside.detectors", "--artifact", str(artifact), *where)
    return Server(command, ports[0], ports[1], "/readyz", environ={"WAYSIDE_LOG_LEVEL": "WARNING"})


def adserver(checkout: Path, saved: Path, folder: Path, port: int) -> Server:
    """adserver on a detector that alibi-detect saved. What it copies it puts into `folder`."""
    command = (str(ADSERVER_PYTHON), "-m", "adserver", "--http_port", str(port), "--protocol", "tensorflow.http")
    event = ("--event_source", "bench", "--event_type", "io.seldon.serving.inference.outlier")
    environ = {
        "PATH": f"{_write_rclone(folder)}{os.pathsep}{os.environ['PATH']}",
        "DRIFT_ARTIFACTS_DIR": str(folder),
        "TF_USE_LEGACY_KERAS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    where = ("--storage_uri", str(saved), "OutlierDetector")
    return Server((*command, *event, *where), port, port, folder=checkout, environ=environ)


def _write_rclone(folder: Path) -> Path:
    """adserver has even a local folder copied by rclone; a script that copies does for that."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    script = bin_folder / "rclone"
    script.write_text('#!/bin/sh\n# rclone copy SOURCE DESTINATION …\nexec cp -r "$2/." "$3"\n')
    script.chmod(0o755)
    return bin_folder


@contextmanager
def serving(server: Server, body: bytes) -> Iterator[Serving]:
    """The server, once it has answered an event with this body."""
    start_s = time.monotonic()
    quiet = subprocess.DEVNULL  # adserver writes three lines an event
    process = subprocess.Popen(
        server.command,
        cwd=server.folder,
        env={**os.environ, **server.environ},
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,
    )
    try:
        _wait_ready(process, server)
        ready_s = time.monotonic() - start_s
        _ask(server.port, body)
        yield Serving(server.port, process.pid, ready_s, time.monotonic() - start_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_ready(process: "subprocess.Popen[bytes]", server: Server) -> None:
    until_s = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < until_s:
        with suppress(OSError, HTTPException):
            if _is_ready(server):
                return
        time.sleep(_LOOK_S)
    raise SystemExit(f"bench: it did not become ready, try it by hand: {' '.join(server.command)}")


def _is_ready(server: Server) -> bool:
    connection = HTTPConnection(_HOST, server.ready_port, timeout=5)
    try:
        connection.connect()
        if not server.ready_path:
            return True
        connection.request("GET", server.ready_path)
        return connection.getresponse().status == 200
    finally:
        connection.close()


def _ask(port: int, body: bytes) -> None:
    connection = HTTPConnection(_HOST, port, timeout=_READY_S)
    try:
        connection.request("POST", "/", body, _EVENT)
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise SystemExit(f"bench: the first event was answered {answer.status}: {answer.read()[:200]!r}")
    finally:
        connection.close()
