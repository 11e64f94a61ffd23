"""How a worker comes to be ready to test windows: started, given a saved drift detector's files and the shape of a row.

Invariant: what cannot work is refused in words that say what to do, and leaves no process behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from wayside.detectors.alibi.errors import WorkerRefusal
from wayside.detectors.alibi.launch import ask_to_load
from wayside.detectors.alibi.process import WorkerCommand, WorkerProcess
from wayside.eventing.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """What a loaded drift detector says of itself. `input_shape` is that of a row, None where it does not say;
    `permutations` is 0 where it permutes nothing; `run_rows` is an online detector's expected run time in rows, 0 for a
    detector of windows."""

    name: str
    version: str
    input_shape: tuple[int, ...] | None
    permutations: int
    run_rows: float
    takes_context: bool

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the worker's answer. Raises `KeyError`, `TypeError` or `ValueError` where it is none."""
        shape = told["input_shape"]
        return cls(
            name=str(told["name"]),
            version=str(told["version"]),
            input_shape=None if shape is None else tuple(int(size) for size in shape),
            permutations=int(told["permutations"]),
            run_rows=float(told["run_rows"]),
            takes_context=bool(told["takes_context"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DriftLaunch:
    """Starts a worker that is ready to test windows of rows of `shape`."""

    command: WorkerCommand
    files: Mapping[str, bytes]
    shape: tuple[int, ...]
    start_s: float

    def __call__(self) -> WorkerProcess:
        return prepared(start_drift(self.command, self.files, self.start_s)[0], self.shape, self.start_s)


def prepared(loaded: WorkerProcess, shape: tuple[int, ...], start_s: float) -> WorkerProcess:
    """The same process, ready to test. Raises `ConfigurationError`, or `WorkerLost`, and has ended it then."""
    try:
        loaded.ask({"call": "prepare", "shape": list(shape)}, [], start_s)
    except WorkerRefusal as exc:
        loaded.close()
        raise ConfigurationError(f"the saved detector cannot be used: {exc}") from exc
    return loaded


def start_drift(command: WorkerCommand, files: Mapping[str, bytes], start_s: float) -> tuple[WorkerProcess, DriftFacts]:
    """A worker that has loaded these files, and what the detector is. Raises `ConfigurationError`, or `WorkerLost`."""
    process = WorkerProcess.start(command)
    try:
        return process, load_drift(process, files, command, start_s)
    except BaseException:
        process.close()
        raise


def load_drift(
    process: WorkerProcess, files: Mapping[str, bytes], command: WorkerCommand, start_s: float
) -> DriftFacts:
    """Give a worker the files, in its own folder. Raises `ConfigurationError` where they are no detector for it."""
    return DriftFacts.of(ask_to_load(process, files, command, start_s, judges="windows"))
