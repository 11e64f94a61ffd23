"""How a worker comes to be ready: started, given a saved detector's files, told the shape of a row and the noise.

Invariant: what cannot work is refused in words that say what to do, and leaves no process behind.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from wayside.detectors.alibi.errors import WorkerRefusal
from wayside.detectors.alibi.process import WorkerCommand, WorkerProcess
from wayside.detectors.alibi.saved import write_saved
from wayside.detectors.kinds.protocol import Matrix
from wayside.eventing.errors import ConfigurationError

LICENCE = (
    "alibi-detect is under the Business Source License since 0.11.5: no production use without a licence from Seldon"
)
_SAVED = "saved"


@dataclass(frozen=True, slots=True)
class SavedFacts:
    """What a loaded detector says of itself. `input_shape` is that of a row, None where it does not say; `noise_shape`
    is (draws a row, latent dimensions) where it draws noise."""

    name: str
    version: str
    input_shape: tuple[int, ...] | None
    noise_shape: tuple[int, int] | None
    by_feature: bool

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the worker's answer. Raises `KeyError`, `TypeError` or `ValueError` where it is none."""
        shape, noise = told["input_shape"], told["noise_shape"]
        return cls(
            name=str(told["name"]),
            version=str(told["version"]),
            input_shape=None if shape is None else tuple(int(size) for size in shape),
            noise_shape=None if noise is None else (int(noise[0]), int(noise[1])),
            by_feature=bool(told["by_feature"]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """Starts a worker that is ready to score rows of `shape`; `noise` has shape (draws, latent), (0, 0) for none."""

    command: WorkerCommand
    files: Mapping[str, bytes]
    shape: tuple[int, ...]
    noise: Matrix
    start_s: float

    def __call__(self) -> WorkerProcess:
        return self.prepared(start_loaded(self.command, self.files, self.start_s)[0])

    def prepared(self, loaded: WorkerProcess) -> WorkerProcess:
        """The same process, ready to score. Raises `ConfigurationError`, or `WorkerLost`, and has ended it then."""
        try:
            loaded.ask({"call": "prepare", "shape": list(self.shape)}, [self.noise], self.start_s)
        except WorkerRefusal as exc:
            loaded.close()
            raise ConfigurationError(f"the saved detector cannot be used: {exc}") from exc
        return loaded


def start_loaded(
    command: WorkerCommand, files: Mapping[str, bytes], start_s: float
) -> tuple[WorkerProcess, SavedFacts]:
    """A worker that has loaded these files, and what the detector is. Raises `ConfigurationError`, or `WorkerLost`."""
    process = WorkerProcess.start(command)
    try:
        return process, load(process, files, command, start_s)
    except BaseException:
        process.close()
        raise


def load(process: WorkerProcess, files: Mapping[str, bytes], command: WorkerCommand, start_s: float) -> SavedFacts:
    """Give a worker the files, in its own folder. Raises `ConfigurationError` where they are no detector for it."""
    return SavedFacts.of(ask_to_load(process, files, command, start_s, judges="rows"))


def ask_to_load(
    process: WorkerProcess, files: Mapping[str, bytes], command: WorkerCommand, start_s: float, *, judges: str
) -> Mapping[str, Any]:
    """What a worker answers that has loaded these files, of a detector that judges `rows` or `windows`.

    Raises `ConfigurationError`, or `WorkerLost`.
    """
    shutil.rmtree(process.folder / _SAVED, ignore_errors=True)
    write_saved(files, process.folder / _SAVED)
    try:
        head = {"call": "load", "folder": _SAVED, "device": _device(command), "judges": judges}
        told, _ = process.ask(head, [], start_s)
    except WorkerRefusal as exc:
        raise ConfigurationError(_refusal(exc, command.python)) from exc
    return told


def fixed_noise(facts: SavedFacts, seed: int) -> Matrix:
    """What takes the place of the detector's own draws: standard normal, shape (draws, latent); (0, 0) for none."""
    return np.random.default_rng(seed).standard_normal(facts.noise_shape or (0, 0))


def _device(command: WorkerCommand) -> str:
    return "gpu" if command.gpu else "cpu"


def _refusal(refusal: WorkerRefusal, python: str) -> str:
    if refusal.reason == "missing":
        return (
            f"{python} has no alibi-detect ({refusal}): install the extra 'alibi' in an environment of its own and name"
            f" its Python with --alibi-python. {LICENCE}"
        )
    return f"alibi-detect cannot load the saved detector ({refusal})"
