"""`alibi-drift`: any drift detector that alibi-detect saved, tested by alibi-detect in a process of its own.

Source: alibi-detect's `save_detector` (config.toml); licence and differences in docs/alibi.md.
Invariant: nothing of the saved files is read by this process but their bytes, and none are loaded anywhere unless
`Execution.trust_pickle` says so: they can run code. A test depends on the saved detector and the window alone.
"""

import re
import sys
from dataclasses import dataclass
from math import ceil, log1p, prod
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from wayside.detectors.alibi.drift_launch import DriftFacts, DriftLaunch, prepared, start_drift
from wayside.detectors.alibi.errors import WorkerRefusal
from wayside.detectors.alibi.process import WorkerCommand
from wayside.detectors.alibi.saved import check_saved, read_saved
from wayside.detectors.alibi.supervisor import Supervisor, WorkerLimits
from wayside.detectors.kinds.alibi import AlibiOptions, Runtime, check_trust, row_shape
from wayside.detectors.kinds.protocol import (
    Device,
    Execution,
    Matrix,
    Sample,
    State,
    WindowDetector,
    WindowFitContext,
    WindowTest,
)
from wayside.eventing.errors import ConfigurationError

HOUR = "hour"
_CONTEXT = re.compile(r"[0-9]{1,6}(?:-[0-9]{1,6}){0,15}", re.ASCII)
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class AlibiDriftOptions:
    """`shape` is that of a row as the saved detector takes it ("32-32-3"), empty where the detector tells it. `context`
    is for ContextMMDDrift: `hour` (of the day, UTC), or the positions of columns, "4-5", which are no features then."""

    shape: str = ""
    context: str = ""

    def __post_init__(self) -> None:
        AlibiOptions(self.shape)
        if self.context not in ("", HOUR) and _CONTEXT.fullmatch(self.context) is None:
            raise ConfigurationError(f"context is {self.context[:64]!r}: give hour, or positions of columns like 4-5")

    def places(self) -> tuple[int, ...]:
        """The columns that are contexts; (-1,) for the hour, () for none."""
        if self.context in ("", HOUR):
            return (-1,) if self.context else ()
        return tuple(int(place) for place in self.context.split("-"))


class AlibiDriftDetector(WindowDetector):
    """A saved detector and the worker that tests with it, started at `warm` or by the first test, whichever is first.

    Every test may raise `WorkerLost`: asking again may succeed. An online detector begins each window anew: what it has
    seen before is not carried, neither to the next window nor over a restart. Who made it closes it.
    """

    kind: ClassVar[str] = "alibi-drift"
    summary: ClassVar[str] = "a drift detector that alibi-detect saved, in a process of its own"
    options: ClassVar[type[AlibiDriftOptions]] = AlibiDriftOptions
    transform: ClassVar[str] = "columns"  # the saved detector was fitted on rows as they were given to it

    def __init__(self, state: State, runtime: Runtime) -> None:
        self._state = state
        self._runtime = runtime
        self._shape = row_shape(state)
        self._places = tuple(state.arrays["context"].tolist())
        permutations, run_rows = state.arrays["numbers"].tolist()
        self._permutations, self._run_rows = int(permutations), float(run_rows)
        self._columns = _feature_columns(self._shape, self._places)

    @property
    def features(self) -> int:
        return len(self._columns) + len([place for place in self._places if place >= 0])

    @property
    def least_rows(self) -> int:
        return 2

    @classmethod
    def fit(cls, reference: Sample, options: AlibiDriftOptions, context: WindowFitContext) -> Self:
        raise ConfigurationError("kind alibi-drift is not fitted here: name what alibi-detect saved with --saved DIR")

    @classmethod
    def wrap(cls, saved: Path, options: AlibiDriftOptions, execution: Execution) -> Self:
        """From the folder of `save_detector`; its worker runs. Raises `ConfigurationError`, or `WorkerLost`."""
        check_trust(execution)
        files = read_saved(saved, is_drift=True)
        loaded, facts = start_drift(_command(execution), files, WorkerLimits().start_s)
        try:
            state = state_of(files, facts, options)
            launch = _launch(state, execution)
            return cls(state, Supervisor(launch, ready=prepared(loaded, launch.shape, launch.start_s)))
        except BaseException:
            loaded.close()
            raise

    def checked(self, reference: Sample, context: WindowFitContext) -> Self:
        """This detector. Raises `ConfigurationError` where the reference has other columns, or where it can never
        resolve the level of a window."""
        if self.features != reference.rows.shape[1]:
            raise ConfigurationError(
                f"the saved detector takes {self.features} columns, the data has {reference.rows.shape[1]}"
            )
        rows = context.window_rows or self.least_rows
        if self._least_p_value(rows) > context.level:
            raise ConfigurationError(self._too_coarse(rows, context.level))
        return self

    def test(self, window: Sample) -> WindowTest:
        try:
            _, told = self._runtime.ask({"call": "test"}, [window.rows[:, self._columns], self._contexts(window)])
        except WorkerRefusal as exc:
            raise ValueError(f"the saved detector cannot test this window: {exc}") from exc
        (statistic, p_value), distances, p_values = told
        if len(distances) != self.features:  # of what its own preprocessing makes, which has no name here
            distances = p_values = np.empty(0)
        return WindowTest(float(statistic), float(p_value), distances, p_values, self._least_p_value(len(window)))

    def described(self) -> str:
        """Whose p-values they are, and what they can tell, for people."""
        told = "p-values are alibi-detect's: its level holds on average over references, not for this one"
        if self._run_rows:
            return f"{told}; it alarms once in {self._run_rows:g} rows, and begins each window anew"
        least = f"; {self._permutations} permutations tell p-values down to {self._least_p_value(2):.2g}"
        return told + (least if self._permutations else "")

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
        check_saved(state.files, "the artifact", is_drift=True)
        return cls(state, Supervisor(_launch(state, execution)))

    def _least_p_value(self, rows: int) -> float:
        if self._run_rows:
            return 1.0 - (1.0 - 1.0 / self._run_rows) ** rows
        return 1.0 / (self._permutations + 1) if self._permutations else 0.0

    def _too_coarse(self, rows: int, level: float) -> str:
        if self._run_rows:
            wanted = ceil(-rows / log1p(-level))
            return (
                f"it alarms once in {self._run_rows:g} rows, too often for a level of {level:.2g} a window of {rows}"
                f" rows: save it with ert={wanted} or more"
            )
        return (
            f"{self._permutations} permutations cannot resolve a level of {level:.2g}: save it with n_permutations="
            f"{ceil(1 / level)} or more"
        )

    def _contexts(self, window: Sample) -> Matrix:
        """Shape (n, contexts)."""
        if self._places != (-1,):
            return np.ascontiguousarray(window.rows[:, list(self._places)])
        if np.isnan(window.time_s).any():
            raise ValueError("its context is the hour of the day, and rows have no times")
        return (window.time_s / _HOUR_S % 24.0)[:, None]


def state_of(files: dict[str, bytes], facts: DriftFacts, options: AlibiDriftOptions) -> State:
    """What is kept of a saved detector. Raises `ConfigurationError` where rows or contexts are not known."""
    shape = AlibiOptions(options.shape).sizes() or facts.input_shape
    if shape is None:
        raise ConfigurationError(
            f"{facts.name} does not tell what a row looks like: say it with --set shape=D, or like shape=32-32-3"
        )
    if facts.takes_context != bool(options.context):
        told = "is told a context" if facts.takes_context else "is told no context"
        raise ConfigurationError(f"{facts.name} {told}: say --set context=hour, or like context=4-5, for one that is")
    arrays = {
        "shape": np.array(shape, np.int64),
        "context": np.array(options.places(), np.int64),
        "numbers": np.array([facts.permutations, facts.run_rows]),
    }
    return State(arrays, files)


def _feature_columns(shape: tuple[int, ...], places: tuple[int, ...]) -> list[int]:
    """The columns that are features: all but those that are contexts."""
    taken = {place for place in places if place >= 0}
    columns = [at for at in range(prod(shape) + len(taken)) if at not in taken]
    if len(columns) != prod(shape):
        raise ValueError(f"'context' is {places}, of {prod(shape) + len(taken)} columns")
    return columns


def _launch(state: State, execution: Execution) -> DriftLaunch:
    return DriftLaunch(_command(execution), state.files, row_shape(state), WorkerLimits().start_s)


def _command(execution: Execution) -> WorkerCommand:
    python = execution.alibi_python or sys.executable
    return WorkerCommand(python, execution.threads, gpu=execution.device is Device.GPU)
