"""How well scores and decisions tell outliers from ordinary rows, where labels say which are which.

Source: scikit-learn's metrics for ROC-AUC and average precision (extra `fit`).
Invariant: a score that is infinite ranks above all others; nothing here depends on how scores are scaled.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.scoring.calibration import Interval, measured_interval
from wayside.eventing.errors import MissingExtra

Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Alarms among ordinary rows: how many were flagged, of how many, beside the rate that was asked for.

    `interval` is where the measured rate lies with 90 % probability, for so many calibration rows and so many of these.
    """

    flagged: int
    rows: int
    asked: float
    interval: Interval

    @property
    def rate(self) -> float:
        return self.flagged / self.rows

    @property
    def is_within(self) -> bool:
        """Whether the measured rate lies where it was promised."""
        return self.interval.low <= self.rate <= self.interval.high


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures on labelled rows. Ranks need rows of both sorts, precision a flagged row, recall and F1 an outlier, false
    alarms an ordinary row: without them a figure is None."""

    rows: int
    outliers: int
    flagged: int
    roc_auc: float | None
    average_precision: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    false_alarms: FalseAlarms | None

    @classmethod
    def of(cls, scores: Vector, decisions: Truths, labels: Truths, calibration_rows: int, alpha: float) -> Self:
        """From one score, decision and label a row, each of shape (n,). Raises `MissingExtra` without scikit-learn."""
        caught, flagged, outliers = int((decisions & labels).sum()), int(decisions.sum()), int(labels.sum())
        ranks = _ranks(scores, labels) if 0 < outliers < len(labels) else (None, None)
        return cls(
            rows=len(labels),
            outliers=outliers,
            flagged=flagged,
            roc_auc=ranks[0],
            average_precision=ranks[1],
            precision=caught / flagged if flagged else None,
            recall=caught / outliers if outliers else None,
            f1=2 * caught / (flagged + outliers) if outliers else None,
            false_alarms=_false_alarms(flagged - caught, len(labels) - outliers, calibration_rows, alpha),
        )

    def lines(self) -> list[str]:
        """The figures for people."""
        named = (("ROC-AUC", self.roc_auc), ("average precision", self.average_precision), ("F1", self.f1),
                 ("precision", self.precision), ("recall", self.recall))  # fmt: skip
        told = ", ".join(f"{name} {value:.4f}" for name, value in named if value is not None)
        lines = [f"{self.rows} labelled rows, {self.outliers} of them outliers, {self.flagged} flagged", told]
        return [*(line for line in lines if line), *([] if self.false_alarms is None else [_words(self.false_alarms)])]

    def document(self) -> dict[str, Any]:
        """The figures as JSON."""
        alarms = self.false_alarms
        names = ("rows", "outliers", "flagged", "roc_auc", "average_precision", "precision", "recall", "f1")
        return {
            **{name: getattr(self, name) for name in names},
            "false_alarms": None if alarms is None else {
                "flagged": alarms.flagged, "rows": alarms.rows, "rate": alarms.rate, "asked": alarms.asked,
                "interval_90": [alarms.interval.low, alarms.interval.high], "within": alarms.is_within,
            },
        }  # fmt: skip


def check_metrics(labels: Truths) -> None:
    """Raises `MissingExtra` where figures of rows so labelled need scikit-learn, and it is not installed."""
    if labels.any() and not labels.all():
        _metrics()


def _metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as exc:
        raise MissingExtra("scikit-learn", "fit") from exc
    return metrics


def _words(alarms: FalseAlarms) -> str:
    place = "inside" if alarms.is_within else "outside"
    return (
        f"false alarms: {alarms.flagged} of {alarms.rows} ordinary rows, {alarms.rate:.3%}; asked for"
        f" {alarms.asked:.3%}; {place} the {alarms.interval.low:.3%} to {alarms.interval.high:.3%} that so many rows"
        " promise (90 % interval)"
    )


def _ranks(scores: Vector, labels: Truths) -> tuple[float, float]:
    metrics = _metrics()
    ranks = np.unique(scores, return_inverse=True)[1]  # scikit-learn refuses what is infinite
    return float(metrics.roc_auc_score(labels, ranks)), float(metrics.average_precision_score(labels, ranks))


def _false_alarms(flagged: int, rows: int, calibration_rows: int, alpha: float) -> FalseAlarms | None:
    return FalseAlarms(flagged, rows, alpha, measured_interval(calibration_rows, alpha, rows)) if rows else None
