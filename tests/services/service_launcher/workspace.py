"""Where a launch happens, and what every service is: the vocabulary of the launcher.

Invariant: everything that a launch writes lies in its folder or in the cache of jars.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

DEFINITIONS = Path(__file__).resolve().parents[1]
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


class ServiceError(Exception):
    """A service cannot be had; the message says what to do, or shows what the service said."""


class NotAnswering(Exception):
    """A service does not answer yet; the message is the reason."""


class Cancelled(Exception):
    """The launch was given up because another service failed or somebody interrupted it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one service, and where it will be found.

    `addresses` are the lines to print, the first being the one that is probed. `kill` and `remove` are commands that a
    container needs besides the signals to its client; both are empty for a plain process.
    """

    name: str
    command: tuple[str, ...]
    addresses: Mapping[str, str]
    kill: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A program by the names it may go by, and the Debian package that holds it."""

    names: tuple[str, ...]
    package: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """One launch: its folder, the cache of jars, how long a service may take, and the flag that ends all waiting."""

    folder: Path
    cache: Path
    limit_s: float = 120.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def log_file(self, name: str) -> Path:
        """Where the output of a service, or of a step before it, goes; its folder exists."""
        path = self.folder / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def call(self, name: str, command: Sequence[str], limit_s: float = 600.0) -> None:
        """Run a step to its end. Raises `ServiceError` with the log's tail where it fails, `Cancelled` at the flag."""
        path, deadline = self.log_file(name), time.monotonic() + limit_s
        with path.open("wb") as output:
            step = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while step.poll() is None:
                if self.cancelled.wait(0.05):
                    raise Cancelled(name)
                if time.monotonic() > deadline:
                    raise ServiceError(f"{name}: not done after {limit_s:g} s; {tail(path)}")
        finally:
            step.kill()
            step.wait()
        if step.returncode:
            raise ServiceError(f"{name}: {command[0]} ended with status {step.returncode}; {tail(path)}")


class Service(Protocol):
    """One program that tests talk to."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """What must be installed from Debian's packages before `prepare`."""

    def prepare(self, work: Workspace) -> Launch:
        """Write what it reads, fetch what it runs from, choose its ports. Raises `ServiceError`."""

    def probe(self, address: str) -> None:
        """Ask it something that only a service that works can answer. Raises `NotAnswering`, `ServiceError`."""


def variable(name: str) -> str:
    """The environment variable of a service's address."""
    return f"WAYSIDE_TEST_{name.upper()}"


def say(line: str) -> None:
    """A line of progress; one write, because services start side by side."""
    sys.stderr.write(f"services: {line}\n")
    sys.stderr.flush()


def tail(path: Path) -> str:
    """The end of a log, with the log's name before it."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").rstrip().splitlines()[-_TAIL_LINES:]
    return "\n  ".join([f"the end of {path}:", *(lines or ["(it is empty)"])])
