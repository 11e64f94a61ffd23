"""Fits a detector on rows and calibrates it on rows held out.

Invariant: no row serves both to fit and to calibrate; the split follows from the seed alone. A row detector that
cannot expect ten false alarms among its calibration rows is not made.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wayside.detectors.artifact import Artifact, check_name
from wayside.detectors.calibration import (
    LEAST_EXPECTED_ALARMS,
    Calibration,
    Interval,
    alarm_rank,
    false_alarm_interval,
    rows_needed,
)
from wayside.detectors.judge import CALIBRATION
from wayside.detectors.runtimes.protocol import FitOptions, Matrix, RowDetector, Vector
from wayside.detectors.runtimes.registry import KINDS, ROW_DETECTORS, WINDOW_DETECTORS
from wayside.eventing.errors import ConfigurationError

Progress = Callable[[int, int], None]
_CALIBRATION_STEP_ROWS = 1024


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit. `alpha` is the budget of false alarms a row (row detectors) or a window (window detectors).

    `holdout` is the share of rows that calibrate a row detector; `window` is the rows of a window detector's window.
    """

    name: str = "outlier"
    alpha: float = 0.01
    holdout: float = 0.5
    seed: int = 0
    window: int = 200
    k: int = 10

    def __post_init__(self) -> None:
        check_name(self.name)
        for setting, value in (("alpha", self.alpha), ("holdout", self.holdout)):
            if not 0 < value < 1:
                raise ConfigurationError(f"{setting} is {value:g}: give a number between 0 and 1")
        for setting, count, least in (("window", self.window, 2), ("k", self.k, 1), ("seed", self.seed, 0)):
            if count < least:
                raise ConfigurationError(f"{setting} is {count}: give {least} or more")


@dataclass(frozen=True, slots=True)
class FitReport:
    """What came of a fit. `interval` is the 90 % interval of the false-alarm rate, and `threshold` the score above
    which a row is flagged; both are None for window detectors, which need no calibration rows."""

    artifact: Artifact
    fitted_rows: int
    calibration_rows: int
    interval: Interval | None
    threshold: float | None


def fit_artifact(kind: str, rows: Matrix, settings: FitSettings, progress: Progress | None = None) -> FitReport:
    """Fit `kind` on rows of shape (n, d). `progress(done, total)` is told of calibration rows scored.

    Raises `ConfigurationError` for rows that are not finite or too few.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"no detector kind {kind!r}: known are {', '.join(KINDS)}")
    check_rows(rows)
    if kind in WINDOW_DETECTORS:
        return _fit_window_detector(kind, rows, settings)
    return _fit_row_detector(kind, rows, settings, progress or _silent)


def check_rows(rows: Matrix) -> None:
    """Raises `ConfigurationError` unless the rows are a matrix of finite values with a column."""
    if rows.ndim != 2 or not rows.shape[1]:
        raise ConfigurationError(f"the data has shape {rows.shape}: rows need at least one column")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ConfigurationError(
            f"{len(bad)} rows hold a value that is not finite, the first is row {bad[0] + 1}: leave them out"
        )


def _fit_row_detector(kind: str, rows: Matrix, settings: FitSettings, progress: Progress) -> FitReport:
    fitting, calibrating = _split(rows, settings)
    detector = ROW_DETECTORS[kind].fit(fitting, FitOptions(k=settings.k))
    calibration = Calibration.of(_score(detector, calibrating, progress), settings.alpha)
    artifact = Artifact(
        kind=kind,
        name=settings.name,
        alpha=settings.alpha,
        features=detector.features,
        window=None,
        arrays={**detector.arrays(), CALIBRATION: calibration.scores},
    )
    interval = false_alarm_interval(len(calibrating), settings.alpha)
    return FitReport(artifact, len(fitting), len(calibrating), interval, calibration.threshold)


def _split(rows: Matrix, settings: FitSettings) -> tuple[Matrix, Matrix]:
    """Rows to fit and rows to calibrate."""
    held_out = round(len(rows) * settings.holdout)
    needed = rows_needed(settings.alpha)
    if alarm_rank(held_out, settings.alpha) < LEAST_EXPECTED_ALARMS:
        raise ConfigurationError(
            f"{held_out} calibration rows are too few for alpha = {settings.alpha:g}: {needed} are needed, which is"
            f" {_total_rows(needed, settings.holdout)} rows in all with holdout {settings.holdout:g};"
            " give more rows or a larger --alpha"
        )
    order = np.random.default_rng(settings.seed).permutation(len(rows))
    return rows[order[held_out:]], rows[order[:held_out]]


def _total_rows(needed: int, holdout: float) -> int:
    total = int(needed / holdout)
    while round(total * holdout) < needed:
        total += 1
    return total


def _score(detector: RowDetector, rows: Matrix, progress: Progress) -> Vector:
    scores = np.empty(len(rows))
    for start in range(0, len(rows), _CALIBRATION_STEP_ROWS):
        end = min(start + _CALIBRATION_STEP_ROWS, len(rows))
        scores[start:end] = detector.score(rows[start:end])
        progress(end, len(rows))
    return scores


def _silent(done: int, total: int) -> None:
    """Nobody watches."""


def _fit_window_detector(kind: str, rows: Matrix, settings: FitSettings) -> FitReport:
    if len(rows) < settings.window:
        raise ConfigurationError(
            f"{len(rows)} rows are too few for windows of {settings.window}: the reference needs at least a window,"
            " better ten; give more rows or a smaller --window"
        )
    detector = WINDOW_DETECTORS[kind].fit(rows, FitOptions(k=settings.k))
    artifact = Artifact(
        kind=kind,
        name=settings.name,
        alpha=settings.alpha,
        features=detector.features,
        window=settings.window,
        arrays=detector.arrays(),
    )
    return FitReport(artifact, len(rows), 0, None, None)
