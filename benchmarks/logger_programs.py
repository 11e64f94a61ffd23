"""The programs under test, Wayside's logger and KServe's agent: how each is started, and what it uses.

Source: kserve/kserve pkg/webhook/admission/pod/agent_injector.go (the arguments), proc(5).
Invariant: a program and every process that it starts run on the cores they are given, and are gone when `running` ends.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from logger_peers import HOST, Ports

_READY_S = 30
_TICKS = os.sysconf("SC_CLK_TCK")
_CA_FOLDER = "/etc/tls/logger"  # where both look for the file that --logger-ca-cert-file names


class Unusable(Exception):
    """A program that did not become ready; says how it was started."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a case wants a program started: capture is off where `log_url` is empty."""

    model_port: int
    log_url: str = ""
    ca_file: Path | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A name for the tables, and the command up to the flags that both programs take."""

    name: str
    command: tuple[str, ...]
    is_agent: bool

    def arguments(self, start: Start) -> tuple[str, ...]:
        """The whole command: the injector's flags in the injector's order."""
        return (*self.command, *start.flags, *self._logging(start), "--component-port", str(start.model_port))

    def _logging(self, start: Start) -> tuple[str, ...]:
        if not start.log_url:
            return ()
        service = ("--inference-service", "bench", "--namespace", "default", "--endpoint", "", "--component")
        ca_file = () if start.ca_file is None else ("--logger-ca-cert-file", self._ca_path(start.ca_file))
        source = ("--log-url", start.log_url, "--source-uri", "bench-predictor-0", "--log-mode", "all")
        return (*source, *service, "predictor", *ca_file, "--logger-tls-skip-verify", "false")

    def _ca_path(self, file: Path) -> str:
        """The agent joins the two names as text; Python's join takes an absolute name as it is."""
        return os.path.relpath(file, _CA_FOLDER) if self.is_agent else str(file)


def pins(cores: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The commands that pin: the program under test to the first core, everybody else to the others."""
    others = f"1-{cores - 1}" if cores > 2 else str(cores - 1)
    return ("taskset", "-c", "0"), ("taskset", "-c", others)


def wayside(ports: Ports) -> Program:
    """Our logger, as this environment has it installed."""
    where = ("--host", HOST, "--port", str(ports.of("logger")), "--admin-port", str(ports.of("admin")))
    return Program("Wayside", (sys.executable, "-m", "wayside.logger", *where), is_agent=False)


def kserve_agent(binary: str, ports: Ports) -> Program:
    """KServe's agent; raises `SystemExit` where the file cannot be run."""
    if not os.access(binary, os.X_OK):
        raise SystemExit(f"KSERVE_AGENT={binary}: no such program; build kserve's ./cmd/agent and name the binary")
    return Program("KServe's agent", (binary, "--port", str(ports.of("logger"))), is_agent=True)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and those below it: processor time so far, and the most memory that each had, together."""

    cpu_s: float
    resident_bytes: int
    peak_bytes: int


def usage(pid: int) -> Usage:
    """What a tree of processes uses now. A process that ends meanwhile counts as far as its parent has reaped it."""
    each = [_usage_of(member) for member in _tree(pid)]
    return Usage(*(sum(figures) for figures in zip(*each, strict=True)))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in file.read_text().split():
                yield from _tree(int(child))


def _usage_of(pid: int) -> tuple[float, int, int]:
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0, 0
    memory = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return sum(map(int, times)) / _TICKS, memory.get("VmRSS:", 0), memory.get("VmHWM:", 0)


@contextmanager
def running(program: Program, start: Start, pinned: Sequence[str], port: int) -> Iterator[int]:
    """The program's pid, once it answers Knative's probe. At the end it is killed, whatever it has left to do.

    Raises `Unusable`.
    """
    probe = {"tcpSocket": {"host": HOST, "port": start.model_port}, "successThreshold": 1}
    environment = {**os.environ, "SERVING_READINESS_PROBE": json.dumps(probe)}
    command = (*pinned, *program.arguments(start))
    quiet = subprocess.DEVNULL  # the agent writes two lines an event
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        _wait_ready(process, port, command)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, command: Sequence[str]) -> None:
    until = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, HTTPException):
            if _probe(port) == 200:
                return
        time.sleep(0.05)
    raise Unusable(f"did not become ready, try it by hand: {' '.join(command)}")


def _probe(port: int) -> int:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/", headers={"K-Network-Probe": "queue"})
        return connection.getresponse().status
    finally:
        connection.close()
