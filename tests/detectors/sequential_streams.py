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


def errors(count: int, share: float = 0.1, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, 1)) < share) * 1.0


def three_columns(count: int = 2000, seed: int = 1) -> np.ndarray:
    """Normal, heavily tied, heavy-tailed."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.normal(size=count), rng.poisson(0.3, count), rng.standard_cauchy(count).clip(-50, 50)], axis=1)


def p_values(count: int, seed: int = 1, share: float = 0.01) -> np.ndarray:
    """Uniform, but for the share of them that is at most 0.01."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(0.01, 1, size=(count, 1)) + 1e-9
    return np.where(rng.random((count, 1)) < share, 0.005, np.minimum(found, 1.0))


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
