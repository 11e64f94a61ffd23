"""One window put to its test: which of its rows, by which memory, against what, and what came of it.

Invariant: a test that fails, or whose outcome is no number, is an error of that window and of nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.drift.judging.missing import RowChoice
from wayside.detectors.drift.transforms.transform import Transform
from wayside.detectors.drift.windowing.values import Window
from wayside.detectors.kinds.protocol import Arrays, Sample, SequentialDetector, Vector, WindowDetector, WindowTest
from wayside.eventing.window_findings import Comparison, MissingRows

T = TypeVar("T")
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """`test` is None where there was none, and then `error` says why. `kept` are the rows of the window that it saw;
    `against`, where rows were compared with each other, those that they were held against."""

    test: WindowTest | None
    error: str | None
    memory: Arrays | None
    kept: NDArray[np.bool_]
    missing: MissingRows | None = None
    comparison: Comparison | None = None
    against: NDArray[np.bool_] | None = None


class WindowTrial(Protocol):
    """How windows are put to a test."""

    def memory(self) -> Arrays | None:
        """What a series starts from, and starts from again after drift; None where a test has no memory."""

    def settling_rows(self, level: float, window_rows: int) -> int:
        """How many rows without drift, after a window that drifted, say that it is over; 0 where each window does."""
        return 0

    def run(self, window: Window, memory: Arrays | None, level: float) -> Trial:
        """The outcome, and the memory after it. Pure. `level` says which parts of it are told as drifted."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceTrial(WindowTrial):
    """Holds windows against the reference that the detector was fitted on, each by itself."""

    detector: WindowDetector
    transform: Transform
    choice: RowChoice

    def memory(self) -> Arrays | None:
        return None

    def run(self, window: Window, memory: Arrays | None, level: float) -> Trial:
        chosen = self.choice.choose(window.rows, Sample(self.transform.apply(window.rows), window.time_s))
        if chosen.error is not None:
            return Trial(None, chosen.error, None, chosen.kept, chosen.missing)
        test, error = attempt(lambda: in_numbers(self.detector.test(chosen.sample)))
        return Trial(test, error, None, chosen.kept, chosen.missing)


@dataclass(frozen=True, slots=True, eq=False)
class SequentialTrial(WindowTrial):
    """Moves the memory of a series on by each window's rows, in their order; where they are not tested it stays."""

    detector: SequentialDetector
    transform: Transform
    choice: RowChoice

    def memory(self) -> Arrays | None:
        return self.detector.memory()

    def settling_rows(self, level: float, window_rows: int) -> int:
        return self.detector.settling_rows(level, window_rows)

    def run(self, window: Window, memory: Arrays | None, level: float) -> Trial:
        assert memory is not None, "a series of a sequential detector has a memory from its beginning"
        chosen = self.choice.choose(window.rows, Sample(self.transform.apply(window.rows), window.time_s))
        if chosen.error is not None:
            return Trial(None, chosen.error, memory, chosen.kept, chosen.missing)
        found, error = attempt(lambda: _advanced(self.detector, memory, chosen.sample))
        test, after = (None, memory) if found is None else found
        return Trial(test, error, after, chosen.kept, chosen.missing)


def _advanced(detector: SequentialDetector, memory: Arrays, sample: Sample) -> tuple[WindowTest, Arrays]:
    test, after = detector.advance(memory, sample)
    return in_numbers(test), after


def attempt(work: Callable[[], T]) -> tuple[T | None, str | None]:
    """What `work` gives, or None and why: numbers can break any test, and no other window may suffer."""
    try:
        return work(), None
    except (ValueError, ArithmeticError) as exc:  # LinAlgError is a ValueError
        return None, f"the test failed: {str(exc)[:200]}"


def in_numbers(test: WindowTest) -> WindowTest:
    """The outcome as JSON can carry it. Raises `ValueError` where its p-value is no number."""
    if not isfinite(test.p_value):
        raise ValueError("its p-value is no number")
    return replace(
        test,
        statistic=float(_finite(np.array([test.statistic])).item()),
        p_value=min(max(float(test.p_value), 0.0), 1.0),
        feature_distance=_finite(test.feature_distance),
        feature_p_value=np.clip(_finite(test.feature_p_value, otherwise=1.0), 0.0, 1.0),
    )


def _finite(values: Vector, otherwise: float = 0.0) -> Vector:
    """The values, `otherwise` for NaN, the largest numbers for what is infinite, and no sign on a zero."""
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=otherwise, posinf=_LARGEST, neginf=-_LARGEST)
    return values + 0.0
