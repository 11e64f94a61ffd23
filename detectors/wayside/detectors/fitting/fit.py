"""Fits a detector on rows and calibrates it on rows held out.

Invariant: no row serves both to fit and to calibrate, and none that is labelled an outlier serves either; the split
follows from the seed alone. A row detector that cannot expect ten false alarms among its calibration rows is not made.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from wayside.detectors.artifacts.artifact import Artifact, CalibrationRows, check_name
from wayside.detectors.fitting.kind_options import options_of
from wayside.detectors.fitting.repeats import count_repeats, words_of
from wayside.detectors.fitting.split import Shares, Split, split
from wayside.detectors.fitting.window_plan import WindowPlan
from wayside.detectors.fitting.windows import WindowOutcome, Wrapped, fit_windows
from wayside.detectors.kinds.protocol import (
    Execution,
    FitContext,
    Matrix,
    Progress,
    RowDetector,
    Vector,
    untold,
)
from wayside.detectors.kinds.registry import CODE_KINDS, STATEFUL_KINDS, WINDOW_KINDS, row_detector, window_detector
from wayside.detectors.scoring.calibration import (
    Calibration,
    Interval,
    false_alarm_interval,
    feature_thresholds,
    quantise,
)
from wayside.detectors.scoring.parts import PART_ROWS, score_parts
from wayside.detectors.scoring.quality import Quality, Truths, check_metrics
from wayside.detectors.tabular.preprocessing import Preprocessing, Scaling
from wayside.detectors.tabular.schema import Schema
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

WRAPPED_KIND = "alibi"  # which is not fitted here: all rows calibrate what was saved elsewhere


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to fit. `alpha` is the budget of false alarms a row; that of a window detector is in its `windows`.

    `holdout` is the share of rows that calibrate a row detector; of labelled rows `test_share` of the ordinary ones are
    set aside before. `windows` is for window detectors alone, `scaling` the kind's own where it is None.
    `options` are the kind's own, by name. `saved` is what the kind `alibi` wraps, `execution` how that runs.
    """

    name: str = "outlier"
    alpha: float = 0.01
    holdout: float = 0.5
    seed: int = 0
    windows: WindowPlan = field(default_factory=WindowPlan)
    scaling: Scaling | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    test_share: float = 0.2
    saved: Path | None = None
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 < self.alpha < 1:
            raise ConfigurationError(f"alpha is {self.alpha:g}: give a number between 0 and 1")
        if self.seed < 0:
            raise ConfigurationError(f"seed is {self.seed}: give 0 or more")
        self.shares  # noqa: B018  # they check themselves

    @property
    def shares(self) -> Shares:
        return Shares(self.holdout, self.test_share)


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """What the detector says of rows that took no part in fitting: a score and a label a row, and how good that is."""

    scores: Vector
    labels: Truths
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class FitReport:
    """What came of a fit. `interval` is the 90 % interval of the false-alarm rate, and `threshold` the score above
    which a row is flagged; both are None for window detectors, which need no calibration rows. `tested` is there where
    rows are labelled; `curve` has a figure an epoch where the kind was trained. `repeated_rows` of the calibration rows
    equal one that the detector was fitted on, or where none was fitted on, one before them. `windows` is what is known
    of a window detector besides."""

    artifact: Artifact
    fitted_rows: int
    calibration_rows: int
    interval: Interval | None
    threshold: float | None
    tested: Tested | None = None
    curve: tuple[float, ...] = ()
    repeated_rows: int = 0
    windows: WindowOutcome | None = None


def fit_artifact(kind: str, table: Table, settings: FitSettings, progress: Progress = untold) -> FitReport:
    """Fit `kind` on a table's rows, those labelled as outliers left out; they test what was fitted.

    Raises `ConfigurationError` for rows that are infinite or too few, and for options that the kind does not have.
    """
    check_rows(table)
    losses: list[float] = []
    context = FitContext(settings.seed, progress, lambda figure, epoch, value: losses.append(value))
    if kind in WINDOW_KINDS:
        ordinary = table if table.labels is None else table.rows(~table.labels)
        return _fit_window_detector(kind, ordinary, settings, context)
    return replace(_fit_row_detector(kind, table, settings, context), curve=tuple(losses))


def check_rows(table: Table) -> None:
    """Raises `ConfigurationError` where a value is infinite. One that is missing is a matter of the schema."""
    bad = np.isinf(table.values)
    if bad.any():
        row, at = np.argwhere(bad)[0].tolist()
        raise ConfigurationError(
            f"{bad.any(axis=1).sum()} rows hold a value that is not finite, the first is row {row}, column"
            f" {table.known_as[at][:64]!r}: leave them out"
        )


def _fit_row_detector(kind: str, table: Table, settings: FitSettings, context: FitContext) -> FitReport:
    is_wrapped = kind == WRAPPED_KIND
    parts = split(
        table,
        settings.shares,
        settings.alpha,
        settings.seed,
        in_order=kind in STATEFUL_KINDS,
        all_calibrate=is_wrapped,
    )
    if table.labels is not None and len(parts.testing):
        check_metrics(table.labels[parts.testing])
    schema = Schema.of(table)
    scaling = Scaling.NONE if is_wrapped else settings.scaling or Scaling(row_detector(kind).scaling)
    measured = table.values[parts.calibrating if is_wrapped else parts.fitting]
    preprocessing = Preprocessing.fit(schema, measured, scaling)
    context.progress("fitting", 0, 1)
    with (
        _detector(kind, preprocessing.apply(measured), settings, context) as detector,
        threadpool_limits(1, "blas"),  # as a service scores: with more threads, a product's last digits are others
    ):
        report = _calibrated(detector, preprocessing, table, parts, settings, context)
    return replace(report, repeated_rows=_repeated(table, parts))


def _repeated(table: Table, parts: Split) -> int:
    words = words_of(table.values)
    return count_repeats(words[parts.calibrating], words[parts.fitting])


@contextmanager
def _detector(kind: str, rows: Matrix, settings: FitSettings, context: FitContext) -> Iterator[RowDetector]:
    """The detector, fitted or wrapped; where it runs in a process of its own, that is ended afterwards."""
    options = options_of(kind, settings.options)
    if kind != WRAPPED_KIND:
        yield row_detector(kind).fit(rows, options, context)
        return
    from wayside.detectors.kinds.alibi import AlibiDetector  # its process is no other kind's business

    if settings.saved is None:
        raise ConfigurationError("kind alibi is not fitted here: name what alibi-detect saved with --saved DIR")
    wrapped = AlibiDetector.wrap(settings.saved, options, settings.execution)
    try:
        if wrapped.features != rows.shape[1]:
            raise ConfigurationError(
                f"the saved detector takes {wrapped.features} features, the data has {rows.shape[1]}"
            )
        yield wrapped
    finally:
        wrapped.close()


def _calibrated(
    detector: RowDetector,
    preprocessing: Preprocessing,
    table: Table,
    parts: Split,
    settings: FitSettings,
    context: FitContext,
) -> FitReport:
    calibrating, alpha = table.values[parts.calibrating], settings.alpha
    scores = _scores(detector, preprocessing, calibrating, context.progress)
    calibration = Calibration.of(scores, alpha)
    artifact = Artifact(
        kind=detector.kind,
        name=settings.name,
        alpha=alpha,
        schema=preprocessing.schema,
        preprocessing=preprocessing,
        state=detector.state(),
        calibration=CalibrationRows(
            calibration.scores, _feature_thresholds(detector, preprocessing, calibrating, alpha)
        ),
    )
    return FitReport(
        artifact,
        0 if detector.kind == WRAPPED_KIND else len(parts.fitting),
        len(calibrating),
        false_alarm_interval(len(calibrating), alpha),
        calibration.threshold,
        _test(detector, preprocessing, table.rows(parts.testing), calibration) if len(parts.testing) else None,
    )


def _scores(detector: RowDetector, preprocessing: Preprocessing, coded: Matrix, progress: Progress) -> Vector:
    scores, done = np.empty(len(coded)), 0
    for part in score_parts(detector, preprocessing, coded):
        scores[done : done + len(part)] = part
        done += len(part)
        progress("calibrating", done, len(coded))
    return scores


def _feature_thresholds(
    detector: RowDetector, preprocessing: Preprocessing, coded: Matrix, alpha: float
) -> Vector | None:
    if not detector.gives_feature_scores:
        return None
    by_column = [
        preprocessing.fold(detector.feature_scores(preprocessing.apply(coded[first : first + PART_ROWS])))
        for first in range(0, len(coded), PART_ROWS)
    ]
    return feature_thresholds(np.concatenate(by_column), alpha)


def _test(detector: RowDetector, preprocessing: Preprocessing, rows: Table, calibration: Calibration) -> Tested:
    scores = quantise(np.concatenate(list(score_parts(detector, preprocessing, rows.values))))
    decisions = calibration.decisions(calibration.p_values(scores))
    labels = rows.labels
    assert labels is not None, "only labelled rows test"
    quality = Quality.of(scores, decisions, labels, len(calibration.scores), calibration.alpha)
    return Tested(scores, labels, quality)


def _fit_window_detector(kind: str, table: Table, settings: FitSettings, context: FitContext) -> FitReport:
    options = options_of(kind, settings.options)
    with _wrapped_drift(kind, settings, options) as wrapped:
        artifact, outcome = fit_windows(
            *(window_detector(kind), table, settings.windows, options, context),
            name=settings.name,
            scaling=settings.scaling,
            wrapped=wrapped,
        )
    return FitReport(artifact, len(table) - outcome.dropped_rows, 0, None, None, windows=outcome)


@contextmanager
def _wrapped_drift(kind: str, settings: FitSettings, options: Any) -> Iterator[Wrapped | None]:
    """What alibi-detect saved, where that is what the kind wraps; its process is ended afterwards."""
    if kind not in CODE_KINDS:
        yield None
        return
    from wayside.detectors.kinds.alibi_drift import AlibiDriftDetector  # its process is no other kind's business

    if settings.saved is None:
        raise ConfigurationError(f"kind {kind} is not fitted here: name what alibi-detect saved with --saved DIR")
    detector = AlibiDriftDetector.wrap(settings.saved, options, settings.execution)
    try:
        yield detector.checked
    finally:
        detector.close()
