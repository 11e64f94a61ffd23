"""Judges rows: a restored row detector and its calibration together.

Invariant: a row with a value that is not finite has no score, the smallest p-value 1 / (n + 1), and is flagged.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from wayside.detectors.artifact import REFIT, Artifact
from wayside.detectors.calibration import Calibration, quantise
from wayside.detectors.runtimes.protocol import Matrix, RowDetector, Vector, WindowDetector
from wayside.detectors.runtimes.registry import ROW_DETECTORS, WINDOW_DETECTORS
from wayside.eventing.errors import ConfigurationError
from wayside.eventing.verdict import RowVerdict, finite_or_none
from wayside.eventing.vocabulary import OUTLIER

CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class RowJudge:
    """`score` is the costly part, for rows of many events at once; `verdict` turns one event's share into words."""

    detector: RowDetector
    calibration: Calibration
    threshold: float

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """Restore from an artifact. Raises `ConfigurationError` where the arrays are not of its kind."""
        try:
            detector = ROW_DETECTORS[artifact.kind].restore(artifact.arrays)
            calibration = Calibration(artifact.arrays[CALIBRATION], artifact.alpha)
        except (KeyError, ValueError) as exc:
            raise ConfigurationError(
                f"artifact {artifact.name!r} is no {artifact.kind} detector ({exc}): {REFIT}"
            ) from exc
        return cls(detector, calibration, calibration.threshold)

    def score(self, rows: Matrix) -> Vector:
        """Scores of rows of shape (n, d), +inf where a row or its score is not finite."""
        return quantise(score_finite(self.detector, rows))

    def verdict(self, scores: Vector) -> RowVerdict:
        """What these scores, one event's rows in order, mean."""
        p_values = self.calibration.p_values(scores)
        return RowVerdict(
            type=OUTLIER,
            scores=[finite_or_none(score) for score in scores.tolist()],
            p_values=p_values.tolist(),
            decisions=self.calibration.decisions(p_values).tolist(),
            threshold=self.threshold,
        )


def score_finite(detector: RowDetector, rows: Matrix) -> Vector:
    """Scores of the rows whose values are all finite; +inf for the others."""
    finite = np.isfinite(rows).all(axis=1)
    if finite.all():
        return detector.score(rows)
    scores = np.full(len(rows), np.inf)
    scores[finite] = detector.score(rows[finite])
    return scores


def restore_window_detector(artifact: Artifact) -> tuple[WindowDetector, int]:
    """The window detector of an artifact and its window's size in rows. Raises `ConfigurationError`."""
    try:
        detector = WINDOW_DETECTORS[artifact.kind].restore(artifact.arrays)
    except (KeyError, ValueError) as exc:
        raise ConfigurationError(f"artifact {artifact.name!r} is no {artifact.kind} detector ({exc}): {REFIT}") from exc
    if artifact.window is None or artifact.window < 1:
        raise ConfigurationError(f"artifact {artifact.name!r} names no window: {REFIT}")
    return detector, artifact.window
