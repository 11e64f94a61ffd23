"""Starting processes that outlive the launcher, finding them again, and stopping them.

Invariant: a signal goes only to a process that this launcher started: its pid *and* its time of birth must match what
was written down, so that a pid which the system gave to somebody else is left alone.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from service_launcher.workspace import Launch, Workspace, say

_POLL_S = 0.02
_KILL_S = 10.0
_ENGINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started, as its record in the folder tells it."""

    launch: Launch
    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether the process that was started still runs, and not another of the same pid."""
        return birth_of(self.pid) == self.born


def birth_of(pid: int) -> str | None:
    """When a process was born, in the system's own unit; None where none of this pid runs. A zombie has ended."""
    if not Path("/proc/self/stat").exists():
        return _birth_by_ps(pid)
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, born = after_name[0], after_name[19]  # fields 3 and 22 of proc_pid_stat(5)
    return None if state in "ZX" else born


def spawn(launch: Launch, work: Workspace) -> Running:
    """Start a service in a session of its own, its output appended to its log, and write its record."""
    log_file = work.log_file(launch.name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        launch.command[0],
        launch.command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_file), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    running = Running(launch, pid, birth_of(pid) or "it ended at once")
    _write(_record_file(work.folder, launch.name), json.dumps(asdict(running)))
    return running


def find(folder: Path, name: str) -> Running | None:
    """What was started by this name, whether it still runs or not; None where nothing was."""
    try:
        record = json.loads(_record_file(folder, name).read_text())
    except FileNotFoundError:
        return None
    launch = record.pop("launch")
    for part in ("command", "kill", "remove"):
        launch[part] = tuple(launch[part])
    return Running(Launch(**launch), **record)


def find_all(folder: Path) -> list[Running]:
    """Everything that was started in this folder and not taken down."""
    names = sorted(path.stem for path in (folder / "running").glob("*.json"))
    return [running for name in names if (running := find(folder, name)) is not None]


def kill(running: Running) -> None:
    """End a process as a crash would, and return when it has ended."""
    if running.launch.kill and running.alive:
        _quietly(running.launch.kill)
    _signal(running, signal.SIGKILL)
    _wait_ended(running, _KILL_S)


def stop(services: Iterable[Running], folder: Path, grace_s: float = 20.0) -> None:
    """Stop processes side by side: SIGTERM, then SIGKILL for one that is not gone within `grace_s` seconds.

    Forgets them. Those that ended already, or were stopped before, cost nothing.
    """
    services = list(services)
    for running in services:
        _signal(running, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for running in services:
        if not _wait_ended(running, deadline - time.monotonic()):
            say(f"{running.launch.name}: did not stop within {grace_s:g} s and is killed")
            kill(running)
        if running.launch.remove:
            _quietly(running.launch.remove)
        _record_file(folder, running.launch.name).unlink(missing_ok=True)


def _signal(running: Running, number: int) -> None:
    if running.alive:
        with suppress(ProcessLookupError):
            os.kill(running.pid, number)


def _wait_ended(running: Running, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while running.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    with suppress(ChildProcessError):  # ours to reap only where this very process started it
        os.waitpid(running.pid, os.WNOHANG)
    return True


def _birth_by_ps(pid: int) -> str | None:
    """For systems without /proc; to the second, which is as well as they tell."""
    told = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, born = told.stdout.strip().partition(" ")
    return None if not born or state.startswith("Z") else born.strip()


def _record_file(folder: Path, name: str) -> Path:
    return folder / "running" / f"{name}.json"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def _quietly(command: tuple[str, ...]) -> None:
    """Run an engine's command for its effect; one that fails or hangs leaves the rest of the clean-up to be done."""
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ENGINE_S, check=False)
