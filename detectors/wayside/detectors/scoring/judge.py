"""Judges rows: schema, preprocessing, a restored row detector and its calibration together.

Invariant: a row whose score is not finite is an error, never "no outlier": it has no score, the smallest p-value
1 / (n + 1), is flagged, and says why. So is a row that does not fit the schema, whatever its kind would make of it.
Such a row harms no other.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Self

import numpy as np

from wayside.detectors.artifacts.artifact import REFIT, Artifact, Windowed
from wayside.detectors.kinds.protocol import Array, Execution, Matrix, RowDetector, Scores, Vector, WindowDetector
from wayside.detectors.kinds.registry import row_detector, window_detector
from wayside.detectors.scoring.calibration import Calibration, above, cut
from wayside.detectors.tabular.preprocessing import Preprocessing
from wayside.detectors.tabular.schema import Schema
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.verdict import RowVerdict
from wayside.eventing.vocabulary import OUTLIER

# what restoring a kind raises for arrays of other shapes, types or values than it has ever saved
_DAMAGE = (KeyError, ValueError, TypeError, IndexError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class RowJudge:
    """`score` is the costly part, for rows of many events at once; `verdict` turns one event's share into words.

    `feature_thresholds` has one entry a column, where the kind gives feature scores.
    """

    schema: Schema
    preprocessing: Preprocessing
    detector: RowDetector
    calibration: Calibration
    threshold: float
    feature_thresholds: Vector | None = None

    @classmethod
    def of(cls, artifact: Artifact, execution: Execution | None = None) -> Self:
        """Restore from an artifact. Raises `ConfigurationError` where it is not whole, or not calibrated."""
        if artifact.preprocessing is None or artifact.calibration is None or not len(artifact.calibration.scores):
            raise ConfigurationError(f"artifact {artifact.name!r} is not calibrated: {REFIT}")
        try:
            detector = row_detector(artifact.kind).restore(artifact.state, execution or Execution())
        except _DAMAGE as exc:
            raise ConfigurationError(
                f"artifact {artifact.name!r} is no {artifact.kind} detector ({exc}): {REFIT}"
            ) from exc
        if detector.features != artifact.preprocessing.features:
            raise ConfigurationError(
                f"artifact {artifact.name!r} makes {artifact.preprocessing.features} features of its input and was"
                f" fitted on {detector.features}: {REFIT}"
            )
        calibration = Calibration(artifact.calibration.scores, artifact.alpha)
        return cls(
            *(artifact.schema, artifact.preprocessing, detector, calibration, calibration.threshold),
            _thresholds_of(artifact, detector),
        )

    @property
    def gives_feature_scores(self) -> bool:
        return self.feature_thresholds is not None

    def score(self, coded: Matrix) -> Vector:
        """Scores of coded rows of shape (n, columns), +inf where a row's score is not finite."""
        return cut(score_rows(self.detector, self.preprocessing, coded))

    def feature_scores(self, coded: Matrix) -> Matrix:
        """What each column adds, shape (n, columns), +inf where a row's features are not finite.

        Only where `gives_feature_scores`.
        """
        rows = self.preprocessing.apply(coded)
        if _all_finite(rows):
            return self.preprocessing.fold(self.detector.feature_scores(rows))
        scores, whole = np.full(coded.shape, np.inf), np.isfinite(rows).all(axis=1)
        if whole.any():
            scores[whole] = self.preprocessing.fold(self.detector.feature_scores(rows[whole]))
        return scores

    def columns(self, coded: Matrix) -> Matrix:
        """Score and p-value of coded rows, shape (n, 2): all that a verdict needs, for rows of many events at once."""
        return self._columns_of(self.score(coded))

    def _columns_of(self, scores: Vector) -> Matrix:
        columns = np.empty((len(scores), 2))
        columns[:, 0], columns[:, 1] = scores, self.calibration.p_values(scores)
        return columns

    def verdict(self, scores: Vector) -> RowVerdict:
        """What these scores, one event's rows in order, mean."""
        return self.verdict_of(self._columns_of(scores))

    def verdict_of(self, columns: Matrix) -> RowVerdict:
        """What one event's share of `columns` means."""
        scores, p_values = columns.T.tolist()
        alpha = self.calibration.alpha
        return RowVerdict(
            type=OUTLIER,
            scores=[score if isfinite(score) else None for score in scores],
            p_values=p_values,
            decisions=[p <= alpha for p in p_values],
            threshold=self.threshold,
        )

    def with_faults(self, verdict: RowVerdict, coded: Matrix) -> RowVerdict:
        """The verdict on these coded rows, which says of each row that does not fit the schema why it has no score."""
        return replace(verdict, errors=self.schema.faults(coded)) if None in verdict.scores else verdict

    def feature_decisions(self, scores: Matrix) -> list[list[bool]]:
        """Which columns are above their own threshold, shape (n, columns). One without a finite score is.

        Each column has the budget alpha to itself; whether the row is flagged is another matter, and by its p-value.
        """
        assert self.feature_thresholds is not None, "asked only where the kind gives feature scores"
        decisions: list[list[bool]] = above(scores, self.feature_thresholds).tolist()
        return decisions


def _thresholds_of(artifact: Artifact, detector: RowDetector) -> Vector | None:
    thresholds = None if artifact.calibration is None else artifact.calibration.feature_thresholds
    if thresholds is None:
        return None
    fits = detector.gives_feature_scores and thresholds.shape == (len(artifact.schema.columns),)
    if not fits or not np.isfinite(thresholds).all():
        raise ConfigurationError(
            f"artifact {artifact.name!r} has thresholds of feature scores that are not its detector's: {REFIT}"
        )
    return thresholds


def score_rows(detector: RowDetector, preprocessing: Preprocessing, coded: Matrix) -> Scores:
    """A score a row; +inf where the features, or the score itself, are not finite."""
    rows = preprocessing.apply(coded)
    if _all_finite(rows):
        scores = detector.score(rows)
    else:
        scores, whole = np.full(len(rows), np.inf), np.isfinite(rows).all(axis=1)
        if whole.any():
            scores[whole] = detector.score(rows[whole])
    return scores if _all_finite(scores) else np.where(np.isfinite(scores), scores, np.inf)


def _all_finite(values: Array) -> bool:
    """For one row in less than half of the time that numpy's own reduction takes."""
    return b"\0" not in np.isfinite(values).tobytes()


def restore_window_detector(artifact: Artifact, execution: Execution | None = None) -> tuple[WindowDetector, Windowed]:
    """The window detector of an artifact, and what only such artifacts have. Raises `ConfigurationError`."""
    try:
        detector = window_detector(artifact.kind).restore(artifact.state, execution or Execution())
    except _DAMAGE as exc:
        raise ConfigurationError(f"artifact {artifact.name!r} is no {artifact.kind} detector ({exc}): {REFIT}") from exc
    windowed = artifact.windowed
    if windowed is None:
        raise ConfigurationError(f"artifact {artifact.name!r} names no windows: {REFIT}")
    made = len(windowed.transform.names)
    if detector.features != made:
        raise ConfigurationError(
            f"artifact {artifact.name!r} makes {made} features of its input and was fitted on {detector.features}:"
            f" {REFIT}"
        )
    return detector, windowed
