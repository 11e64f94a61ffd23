"""`alibi`: any outlier or adversarial detector that alibi-detect saved, scored by alibi-detect in a process of its own.

Source: alibi-detect's `save_detector`; licence and differences in docs/alibi.md.
Invariant: nothing of the saved files is read by this process but their bytes, and none are loaded anywhere unless
`Execution.trust_pickle` says so: they can run code.
"""

import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from wayside.detectors.alibi.launch import Launch, SavedFacts, fixed_noise, start_loaded
from wayside.detectors.alibi.process import WorkerCommand
from wayside.detectors.alibi.saved import check_saved, read_saved
from wayside.detectors.alibi.supervisor import Supervisor, WorkerLimits
from wayside.detectors.kinds.protocol import Array, Device, Execution, FitContext, Matrix, RowDetector, State, Vector
from wayside.eventing.errors import ConfigurationError

log = logging.getLogger(__name__)

_SHAPE = re.compile(r"[1-9][0-9]{0,6}(?:-[1-9][0-9]{0,6}){0,3}", re.ASCII)
_SCORES_AT_ONCE_BYTES = 64 << 20  # of rows in one call: more are sent in turn
_ALONE_AT_ONCE_ROWS = 64  # where each row is scored alone, so that a call is answered within its deadline


@dataclass(frozen=True, slots=True)
class AlibiOptions:
    """`shape` is that of a row as the saved detector takes it ("32-32-3"), empty where the detector tells it; `seed`
    fixes the noise of a variational detector."""

    shape: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shape and _SHAPE.fullmatch(self.shape) is None:
            raise ConfigurationError(f"shape is {self.shape[:64]!r}: give sizes with '-' between, like 32-32-3")
        if self.seed < 0:
            raise ConfigurationError(f"seed is {self.seed}: give 0 or more")

    def sizes(self) -> tuple[int, ...]:
        """() where none are given."""
        return tuple(int(size) for size in self.shape.split("-")) if self.shape else ()


class Runtime(Protocol):
    """Where a prepared detector answers: a `Supervisor`."""

    def ask(self, head: dict[str, Any], arrays: list[Array]) -> tuple[dict[str, Any], list[Array]]: ...

    def warm(self) -> None: ...

    def close(self) -> None: ...


class AlibiDetector(RowDetector):
    """A saved detector and the worker that scores with it, started at `warm` or by the first call, whichever is first.

    Every call may raise `WorkerLost`: no row of it was scored, and asking again may succeed. Who made it closes it.
    """

    kind: ClassVar[str] = "alibi"
    summary: ClassVar[str] = "a detector that alibi-detect saved, in a process of its own"
    options: ClassVar[type[AlibiOptions]] = AlibiOptions
    scaling: ClassVar[str] = "none"  # the saved detector was fitted on rows as they were given to it

    def __init__(self, state: State, runtime: Runtime) -> None:
        self._state = state
        self._runtime = runtime
        self._features = prod(row_shape(state))
        self._rows_at_once = _ALONE_AT_ONCE_ROWS  # until an answer tells that rows are scored together
        self._last_error: str | None = None  # told once, however many rows it meets
        by_feature = bool(state.arrays["by_feature"].item())
        self.gives_feature_scores = by_feature  # type: ignore[misc]  # it is the saved detector's, not the kind's

    @property
    def features(self) -> int:
        return self._features

    @classmethod
    def fit(cls, rows: Matrix, options: AlibiOptions, context: FitContext) -> Self:
        raise ConfigurationError("kind alibi is not fitted here: name what alibi-detect saved with --saved DIR")

    @classmethod
    def wrap(cls, saved: Path, options: AlibiOptions, execution: Execution) -> Self:
        """From the folder of `save_detector`; its worker runs. Raises `ConfigurationError`, or `WorkerLost`."""
        check_trust(execution)
        files = read_saved(saved)
        loaded, facts = start_loaded(_command(execution), files, WorkerLimits().start_s)
        try:
            state = state_of(files, facts, options)
            launch = _launch(state, execution)
            return cls(state, Supervisor(launch, ready=launch.prepared(loaded)))
        except BaseException:
            loaded.close()
            raise

    def score(self, rows: Matrix) -> Vector:
        """Rows that the saved detector raises an error for score NaN."""
        return np.concatenate([self._ask(part, by_feature=False)[0] for part in self._parts(rows)])

    def feature_scores(self, rows: Matrix) -> Matrix:
        return np.concatenate([self._ask(part, by_feature=True)[1] for part in self._parts(rows)])

    def warm(self) -> None:
        """Return once the worker has loaded the detector. Raises `ConfigurationError`, or `WorkerLost`."""
        self._runtime.warm()

    def close(self) -> None:
        """End the worker; may be called twice."""
        self._runtime.close()

    def state(self) -> State:
        return self._state

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        check_trust(execution)
        check_saved(state.files, "the artifact")
        return cls(state, Supervisor(_launch(state, execution)))

    def _parts(self, rows: Matrix) -> Iterator[Matrix]:
        """At least one, each of as many rows as an answer said before it."""
        done = 0
        while done < max(len(rows), 1):
            step = self._rows_at_once
            yield rows[done : done + step]
            done += step

    def _ask(self, rows: Matrix, by_feature: bool) -> list[Array]:
        reply, told = self._runtime.ask({"call": "score", "by_feature": by_feature}, [rows])
        self._rows_at_once = self._step(is_alone=bool(reply["alone"]))
        if reply.get("error") not in (None, self._last_error):
            self._last_error = reply["error"]
            log.warning("the saved detector cannot score some rows: %s", self._last_error)
        wanted = [(len(rows),), rows.shape][: 1 + by_feature]
        if [array.shape for array in told] != wanted:
            raise ValueError(f"the saved detector gives scores of other shapes than {wanted}")
        return told

    def _step(self, is_alone: bool) -> int:
        fits = max(1, _SCORES_AT_ONCE_BYTES // (np.dtype(np.float64).itemsize * self._features))
        return min(fits, _ALONE_AT_ONCE_ROWS) if is_alone else fits


def check_trust(execution: Execution) -> None:
    """Raises `ConfigurationError` unless files that can run code are trusted."""
    if not execution.trust_pickle:
        raise ConfigurationError(
            "a detector that alibi-detect saved is pickled (dill), and loading it can run any code: give"
            " --trust-pickle if you trust who made it"
        )


def state_of(files: dict[str, bytes], facts: SavedFacts, options: AlibiOptions) -> State:
    """What is kept of a saved detector. Raises `ConfigurationError` where the shape of a row is not known."""
    shape = options.sizes() or facts.input_shape
    if shape is None:
        raise ConfigurationError(
            f"{facts.name} does not tell what a row looks like: say it with --set shape=D, or like shape=32-32-3"
        )
    if facts.input_shape is not None and shape != facts.input_shape:
        theirs = "-".join(map(str, facts.input_shape))
        raise ConfigurationError(f"shape is {options.shape}, and the saved {facts.name} takes rows of {theirs}")
    arrays = {
        "shape": np.array(shape, np.int64),
        "noise": fixed_noise(facts, options.seed),
        "by_feature": np.array([facts.by_feature]),
    }
    return State(arrays, files)


def row_shape(state: State) -> tuple[int, ...]:
    """The shape of a row as the saved detector takes it. Raises `KeyError` or `ValueError`."""
    shape = state.arrays["shape"]
    if shape.ndim != 1 or not 1 <= len(shape) <= 4 or (shape < 1).any():
        raise ValueError(f"'shape' is {shape.tolist()}")
    return tuple(shape.tolist())


def noise_of(state: State) -> Matrix:
    """The fixed draws, (0, 0) where there are none. Raises `KeyError` or `ValueError`."""
    noise = state.arrays["noise"]
    if noise.ndim != 2 or not np.isfinite(noise).all():
        raise ValueError(f"'noise' has shape {noise.shape}")
    return noise


def _launch(state: State, execution: Execution) -> Launch:
    return Launch(_command(execution), state.files, row_shape(state), noise_of(state), WorkerLimits().start_s)


def _command(execution: Execution) -> WorkerCommand:
    python = execution.alibi_python or sys.executable
    return WorkerCommand(python, execution.threads, gpu=execution.device is Device.GPU)
