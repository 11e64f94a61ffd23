"""One run: a program is started, warmed up, loaded, and given time to deliver what it captured.

Invariant: every figure of a run is a difference between its load's beginning and end, or the end of delivery; only peak
memory and connections are the process's, from its start.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from logger_load import Load, closed_loop, parse_wrk
from logger_peers import HOST, Ports, Sink
from logger_programs import Program, Start, running, usage

PREDICT = "/v1/models/m:predict"
_PACE = str(Path(__file__).with_name("logger_pace.py"))
_WARM_S = 1.0
_LOOK_S = 0.1
_DELIVERY_S = 90.0
_BUSY = 0.9  # of its core's time: a program that used less was not what limited the load
_STALLED_S = 3.0  # a queue from which nothing has arrived for so long is not being delivered


Loads = Callable[[int, float], Sequence[Load]]  # of a program by its pid, for so many seconds


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a load: the length of both bodies, and the connections."""

    body_bytes: int
    connections: int

    def __str__(self) -> str:
        size = f"{self.body_bytes // 1000} kB" if self.body_bytes >= 1000 else f"{self.body_bytes} B"
        return f"{size}, {self.connections} connections"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    `captured` events should arrive: two a request that was answered. `load_cpu_s` was spent while the load lasted,
    `cpu_s` until delivery ended too; `out` events had arrived when the load ended, `delivered` when delivery did.
    `connections` to the sink are the process's, from its start.
    """

    load: Load
    captured: int
    load_cpu_s: float
    cpu_s: float
    peak_mib: float
    connections: int
    out: int
    delivered: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything runs, and for how long. The two commands pin what follows them to its cores."""

    ports: Ports
    folder: Path
    pin_program: tuple[str, ...]
    pin_load: tuple[str, ...]
    seconds: float
    memory_limit_bytes: int


class Runs:
    """Runs programs; `tell` gets a line about each thing as it begins, `notes` what a table cannot say."""

    def __init__(self, settings: Settings, bodies: Sequence[int], tell: Callable[[str], None]) -> None:
        self.settings = settings
        self.notes: list[str] = []
        self._bodies = tuple(bodies)
        self._tell = tell

    def start(
        self, body_bytes: int, log_url: str = "", ca_file: Path | None = None, flags: tuple[str, ...] = ()
    ) -> Start:
        """How to start a program before the model that answers with bodies of that length."""
        return Start(self.settings.ports.model(self._bodies.index(body_bytes)), log_url, ca_file, flags)

    def url(self, sink: str, scheme: str = "http") -> str:
        """A log url at one of the sinks."""
        return f"{scheme}://{HOST}:{self.settings.ports.of(sink)}/default/broker"

    def run(self, case: str, program: Program, start: Start, shape: Shape, wait_delivered: bool = True) -> Outcome:
        """A closed loop on a fresh process. Raises `Unusable`."""
        patient = bool(start.log_url) and wait_delivered

        def loads(pid: int, seconds: float) -> list[Load]:
            return [self._load(pid, shape, seconds)]

        outcome = self._measured(case, program, start, loads, self.settings.seconds, patient)
        self._note_limits(f"{case}: {program.name}", outcome)
        return outcome

    def run_paced(
        self, case: str, program: Program, start: Start, mix: Mapping[str, float], wait_delivered: bool = True
    ) -> Outcome:
        """Loads side by side, each the name of a body's file and how many a second; the outcome's is the first's.

        Lasts half as long as a closed loop. Raises `Unusable`.
        """

        def loads(_: int, seconds: float) -> list[Load]:
            return self._paced(mix, seconds)

        return self._measured(case, program, start, loads, self.settings.seconds / 2, wait_delivered)

    def _measured(
        self, case: str, program: Program, start: Start, loads: Loads, seconds: float, patient: bool
    ) -> Outcome:
        self._tell(f"{case}: {program.name}, {seconds:g} s")
        with running(program, start, self.settings.pin_program, self.settings.ports.of("logger")) as pid:
            sink = Sink(self.settings.ports.of("status"))
            warm = loads(pid, _WARM_S)
            if patient:
                _wait_delivered(sink, _captured(warm))
            before, arrived = usage(pid), sink.counts()[1]
            seen = loads(pid, seconds)
            at_end, out = usage(pid), sink.counts()[1] - arrived
            if patient:
                _wait_delivered(sink, arrived + _captured(seen))
            after, (connections, delivered) = usage(pid), sink.counts()
        spent = (at_end.cpu_s - before.cpu_s, after.cpu_s - before.cpu_s)
        peak_mib = after.peak_bytes / (1 << 20)
        return Outcome(seen[0], _captured(seen), *spent, peak_mib, connections, out, delivered - arrived)

    def _load(self, pid: int, shape: Shape, seconds: float) -> Load:
        url = f"http://{HOST}:{self.settings.ports.of('logger')}{PREDICT}"
        body = self.settings.folder / f"body-{shape.body_bytes}"

        def too_much_memory() -> bool:
            return usage(pid).resident_bytes > self.settings.memory_limit_bytes

        return closed_loop(self.settings.pin_load, url, body, shape.connections, seconds, too_much_memory)

    def _paced(self, mix: Mapping[str, float], seconds: float) -> list[Load]:
        url = f"http://{HOST}:{self.settings.ports.of('logger')}{PREDICT}"
        commands = [
            (
                *self.settings.pin_load,
                sys.executable,
                _PACE,
                url,
                str(self.settings.folder / body),
                str(rate),
                str(seconds),
            )
            for body, rate in mix.items()
        ]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        return [parse_wrk(client.communicate()[0]) for client in clients]

    def _note_limits(self, what: str, outcome: Outcome) -> None:
        lasted_s = outcome.load.elapsed_s
        if lasted_s < 0.8 * self.settings.seconds:
            limit = self.settings.memory_limit_bytes / (1 << 30)
            self.notes.append(f"{what}: the load was cut after {lasted_s:.1f} s, at {limit:g} GiB of memory")
        if outcome.load_cpu_s < _BUSY * lasted_s:
            share = outcome.load_cpu_s / lasted_s
            self.notes.append(f"{what}: had {share:.0%} of its core: the load, or others on the machine, set the limit")


def _wait_delivered(sink: Sink, expected: int) -> None:
    """Until so many requests reached the sink, or none has for a while."""
    until = time.monotonic() + _DELIVERY_S
    last, since = -1, time.monotonic()
    while (now := time.monotonic()) < until and now - since < _STALLED_S:
        if (arrived := sink.counts()[1]) >= expected:
            return
        if arrived != last:
            last, since = arrived, now
        time.sleep(_LOOK_S)


def _captured(loads: Sequence[Load]) -> int:
    return 2 * sum(load.requests for load in loads)
