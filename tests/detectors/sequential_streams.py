"""What the tests of sequential kinds share: fitting, streams, and counting alarms as the judge does."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wayside.detectors.kinds.protocol import Sample, WindowFitContext
from wayside.detectors.kinds.registry import window_detector


def fit(kind: str, rows: np.ndarray, categories: Sequence[int] = (), seed: int = 0, **options: Any) -> Any:
    found = window_detector(kind)
    context = WindowFitContext(seed=seed, window_rows=100, categories=tuple(categories))
    return found.fit(Sample.untimed(rows), found.options(**options), context)


def advance(detector: Any, rows: np.ndarray, size: int = 100) -> list[Any]:
    """The outcomes of a stream's windows, without starting again."""
    memory, found = detector.memory(), []
    for first in range(0, len(rows), size):
        outcome, memory = detector.advance(memory, Sample.untimed(rows[first : first + size]))
        found.append(outcome)
    return found


def alarms(detector: Any, rows: np.ndarray, level: float, size: int = 100) -> list[int]:
    """The windows that drifted, each followed by a start from the first memory."""
    memory, found = detector.memory(), []
    for window, first in enumerate(range(0, len(rows), size)):
        outcome, memory = detector.advance(memory, Sample.untimed(rows[first : first + size]))
        if outcome.p_value <= level:
            found.append(window)
            memory = detector.memory()
    return found
