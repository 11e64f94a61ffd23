"""What a detector is to the rest of the house: it is fitted on rows, kept as arrays and files, and scores or tests.

Invariant: a detector's answer on a row, or on a window, depends on its state and on that row or window alone; it does
not depend on what else is scored in the same call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wayside.eventing.errors import WaysideError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Scores = Vector | NDArray[np.float32]
"""As a graph gives them, they are float32; widened they are the same numbers."""
Array = NDArray[Any]
Arrays = Mapping[str, Array]

Progress = Callable[[str, int, int], None]
"""Told of what is being done, how much of it is done, and how much there is."""


def untold(stage: str, done: int, total: int) -> None:
    """A `Progress` that nobody watches."""


Measured = Callable[[str, int, float], None]
"""Told of a figure by name and epoch, from 1: what a training's loss is after it."""


def unmeasured(figure: str, epoch: int, value: float) -> None:
    """A `Measured` that nobody keeps."""


class OutOfMemory(WaysideError):
    """The device has no memory for even a small block of rows. A server turns it into a 503: it may have some later."""


class NothingScored(WaysideError):
    """What scores is away, and no row of the call was scored, whatever the rows were: ask again later. A server answers
    503, and asks no part of the call again itself."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All that a fitted detector is: arrays of numbers, and files by their relative names (ONNX graphs).

    Nothing in it is run when it is read. The one kind whose files can run code (alibi) says so, and is asked for.
    """

    arrays: Arrays
    files: Mapping[str, bytes] = field(default_factory=dict)


class Device(StrEnum):
    """What scores. A kind without a graph scores on the CPU whatever is asked."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how a restored detector runs. `threads` is those of one scoring call.

    `trust_pickle` allows the kind `alibi` to load files that can run code; `alibi_python` is the interpreter that has
    alibi-detect, this one where it is None.
    """

    device: Device = Device.CPU
    threads: int = 1
    trust_pickle: bool = False
    alibi_python: str | None = None


@dataclass(frozen=True, slots=True)
class FitContext:
    """What every fit is given besides rows and its kind's own options: the seed, and who is told of progress and of a
    training's figures.

    Equal rows, options and seed give equal state on one machine.
    """

    seed: int = 0
    progress: Progress = untold
    measured: Measured = unmeasured


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The options of a kind that has none."""


@dataclass(frozen=True, slots=True)
class WindowFitContext(FitContext):
    """What a fit of a window detector is told besides.

    `window_rows` are the rows of a window, None where windows are spans of time and so of any size. `categories` has an
    entry a column: how many categories were fitted (one more is every other), 0 for numbers; so have `names`, where
    columns have any. `level` is the share of
    windows that may be flagged where nothing drifts, as far as it is known: a test that can never resolve it is
    refused.
    """

    window_rows: int | None = None
    categories: tuple[int, ...] = ()
    level: float = 0.01
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of shape (n, d) and the event time of each, shape (n,), in seconds since the epoch; NaN where unknown.

    Values are those of the transform that the detector is fitted behind: columns as they are coded (categories as
    indices, NaN missing), or features.
    """

    rows: Matrix
    time_s: Vector

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def untimed(cls, rows: Matrix) -> "Sample":
        """Rows of which no time is known."""
        return cls(rows, np.full(len(rows), np.nan))

    def take(self, chosen: "NDArray[np.intp] | NDArray[np.bool_] | slice") -> "Sample":
        """Some of the rows, with their times."""
        return Sample(self.rows[chosen], self.time_s[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class WindowTest:
    """The outcome of one test of a window.

    `p_value` holds for the window as a whole: where nothing drifts, P(p_value ≤ a) ≤ a for every a that is at least
    `least_p_value`, which is the smallest that the test can tell from a smaller one. Columns have one entry each in
    `feature_distance` and `feature_p_value` (not corrected for how many there are); both are empty for a test that has
    no view of single columns. `parts` are the outcomes of several tests of the window by their names, where its p-value
    is made of theirs.
    """

    statistic: float
    p_value: float
    feature_distance: Vector
    feature_p_value: Vector
    least_p_value: float = 0.0
    parts: "Mapping[str, WindowTest]" = field(default_factory=dict)


class Kind(Protocol):
    """What row and window detectors share. `state` and `restore` are inverse to each other.

    `options` is a frozen dataclass of int, float, bool or str fields, each with a default: `wayside fit --set
    NAME=VALUE` sets them by name. Its `__post_init__` raises `ConfigurationError` for a value out of range.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[type[Any]] = NoOptions

    @property
    def features(self) -> int:
        """The number of columns it was fitted on."""

    def state(self) -> State:
        """All of it."""

    @classmethod
    def restore(cls, state: State, execution: Execution) -> Self:
        """The detector that gave this state. Raises `KeyError` or `ValueError` where it is not of this kind.

        Serving imports no library that only fitting needs (scikit-learn, scipy, Keras).
        """


class RowDetector(Kind, Protocol):
    """Scores rows one by one.

    `scaling` names the `Scaling` of the rows that it is fitted on, unless another is asked for: distances between rows
    do best on columns of one range, where most columns of heavy tails are not blown up by their small deviation.
    """

    gives_feature_scores: ClassVar[bool] = False
    scaling: ClassVar[str] = "standard"

    @classmethod
    def fit(cls, rows: Matrix, options: Any, context: FitContext) -> Self:
        """Fit on preprocessed rows of shape (n, d), all finite. Raises `ConfigurationError` where they are too few."""

    def score(self, rows: Matrix) -> Scores:
        """A score a row, shape (n,), for finite rows of shape (n, d). Higher is more anomalous.

        A score may come out as NaN or infinite (overflow, a broken graph); that is judged by the caller, never hidden.
        """

    def feature_scores(self, rows: Matrix) -> Matrix:
        """What each feature adds, shape (n, d): higher is more anomalous. Only where `gives_feature_scores`."""


class StatefulRowDetector(RowDetector, Protocol):
    """Scores rows by a memory that the rows move on. `score` judges by the memory it was fitted with, and moves none.

    A memory is float64 arrays whose names and shapes are those of `memory()`, always.
    """

    def memory(self) -> Arrays:
        """What every stream of events starts from."""

    def advance(self, memory: Arrays, rows: Matrix) -> tuple[Vector, Arrays]:
        """The scores of one event's rows in their order, shape (n,), and the memory after them. A pure function.

        Raises `KeyError` or `ValueError` where the memory is not of this detector.
        """


class WindowDetector(Kind, Protocol):
    """Tests a window of rows against the reference that it was fitted on, which it holds as compactly as it can.

    `transform` names what rows are put through before, unless another is asked for: `columns` leaves them as they are
    coded, `scaled` makes finite features of them. `takes_missing` says that NaN may be in `columns`, `takes_categories`
    that columns may be categories. Tests are pure: equal windows give equal bits, on whatever thread.
    """

    takes_missing: ClassVar[bool] = False
    takes_categories: ClassVar[bool] = False
    transform: ClassVar[str] = "scaled"

    @classmethod
    def fit(cls, reference: Sample, options: Any, context: WindowFitContext) -> Self:
        """Fit on the rows of ordinary traffic. Raises `ConfigurationError` where they are too few, or of a type that
        the test does not take, or where it could never resolve `context.level`: it says what would be enough."""

    @property
    def least_rows(self) -> int:
        """Windows of fewer rows are not tested."""

    def test(self, window: Sample) -> WindowTest:
        """Whether the rows may come from where the reference came from."""


@runtime_checkable
class ComparesSamples(Protocol):
    """A window detector that can also compare two samples with each other: a canary's with the stable revision's."""

    def compare(self, reference: Sample, window: Sample) -> WindowTest:
        """Whether both may come from one population. Pure; random permutations follow from the samples' own bytes."""


@runtime_checkable
class SequentialDetector(Protocol):
    """A window detector that judges rows one after another by a memory that they move on (CUSUM, online MMD, ADWIN).
    They are to be given once each: windows of its streams do not overlap.

    Windows are how often it is asked; `p_value` is the chance that, where nothing drifts, its statistic reaches within
    one such window what it reached in this one, so that it spends the same budget as the others. A memory is float64
    arrays whose names and shapes are those of `memory()`, always. `test` judges a window from the first memory on.
    """

    def memory(self) -> Arrays:
        """What every key starts from, and starts from again after a window that drifted."""

    def settling_rows(self, level: float, window_rows: int) -> int:
        """How many rows from the first memory on, without drift at this level a window of so many rows, say that the
        stream is like the reference: fewer may only say that drift which lasts has not been found again yet."""

    def advance(self, memory: Arrays, window: Sample) -> tuple[WindowTest, Arrays]:
        """The outcome on these rows in their order, and the memory after them. A pure function.

        Raises `KeyError` or `ValueError` where the memory is not of this detector.
        """


@runtime_checkable
class Described(Protocol):
    """A window detector that tells how its level was calibrated, and how far that holds for its reference."""

    def described(self) -> str | tuple[str, ...]:
        """In lines for people."""


@runtime_checkable
class TellsRunLength(Protocol):
    """A window detector that tells what a level means to it in rows until a false alarm."""

    def run_length(self, level: float, window_rows: int) -> str:
        """In a line for people."""
