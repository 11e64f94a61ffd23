"""A fit's report as JSON: what was fitted on what, what it promises, how good it is, what its columns hold.

Invariant: no row of the data is in it: counts, extremes and the names of categories alone.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from wayside.detectors.fitting.fit import FitReport
from wayside.detectors.fitting.report.histogram import Histogram
from wayside.detectors.fitting.window_promise import window_promise
from wayside.detectors.kinds.protocol import Vector
from wayside.detectors.tabular.table import Table

CALIBRATION, ORDINARY, OUTLIERS = "calibration rows", "tested ordinary rows", "outliers"
_CATEGORIES_SHOWN = 20
_COLUMNS_SHOWN = 500


def report_document(report: FitReport, table: Table) -> dict[str, Any]:
    """All that a report says, as JSON values."""
    artifact, interval = report.artifact, report.interval
    histogram = histogram_of(report)
    return {
        "kind": artifact.kind,
        "name": artifact.name,
        "digest": artifact.digest,
        "false_alarm_rate": artifact.alpha,
        "promised_90": None if interval is None else [interval.low, interval.high],
        "threshold": report.threshold,
        "windows": None if artifact.windows is None else artifact.windows.to_json(),
        "fitted_rows": report.fitted_rows,
        "calibration_rows": report.calibration_rows,
        "repeated_rows": None if report.interval is None else report.repeated_rows,
        "promise": promise_of(report),
        "notes": notes_of(report, table),
        "quality": None if report.tested is None else report.tested.quality.document(),
        "scores": None if histogram is None else _scores(histogram),
        "training_loss": [loss if isfinite(loss) else None for loss in report.curve],
        "columns": [_column(table, at) for at in range(min(table.values.shape[1], _COLUMNS_SHOWN))],
        "more_columns": max(0, table.values.shape[1] - _COLUMNS_SHOWN),
        "provenance": dict(artifact.provenance),
    }


def histogram_of(report: FitReport) -> Histogram | None:
    """The distributions of scores; None for a window detector, which has none."""
    if report.artifact.calibration is None or report.threshold is None:
        return None
    scores = {CALIBRATION: report.artifact.calibration.scores}
    if report.tested is not None:
        scores[ORDINARY] = report.tested.scores[~report.tested.labels]
        scores[OUTLIERS] = report.tested.scores[report.tested.labels]
    return Histogram.of({name: each for name, each in scores.items() if len(each)}, report.threshold)


def notes_of(report: FitReport, table: Table) -> list[str]:
    """What a reader has to know about the figures."""
    if report.interval is None:
        return []
    repeats = repeats_of(report)
    return [*_notes_of_labels(report, table), *([] if repeats is None else [f"{repeats}."])]


def promise_of(report: FitReport) -> list[str]:
    """What a window detector promises; nothing for a row detector, whose figures say it."""
    windowed = report.artifact.windowed
    return [] if windowed is None or report.windows is None else window_promise(windowed, report.windows)


def repeats_of(report: FitReport) -> str | None:
    """What calibration rows that came before do to the promise; None where there are none."""
    if not report.repeated_rows:
        return None
    of = "that the detector was fitted on" if report.fitted_rows else "before them"
    return (
        f"{report.repeated_rows} of {report.calibration_rows} calibration rows equal a row {of}: the promise holds for"
        " traffic that repeats as often, and of rows that are new more may be flagged"
    )


def _notes_of_labels(report: FitReport, table: Table) -> list[str]:
    if table.labels is None:
        return [
            "The rows have no labels, so some of them may be outliers. That makes the detector careful: outliers among"
            " the calibration rows raise the threshold, so that fewer ordinary rows than asked for are flagged, and"
            " some outliers are missed."
        ]
    outliers = int(table.labels.sum())
    return [
        f"Of {len(table)} rows {outliers} are labelled outliers, which took no part in fitting or calibrating. Of the"
        f" others {report.fitted_rows} fitted the detector, {report.calibration_rows} calibrated it, and the rest"
        f" tested it, together with the outliers."
    ]


def _scores(histogram: Histogram) -> Mapping[str, Any]:
    counts = {name: found.astype(int).tolist() for name, found in histogram.counts.items()}
    return {"edges": histogram.edges.tolist(), "logarithmic": histogram.is_log, "counts": counts}


def _column(table: Table, at: int) -> Mapping[str, Any]:
    values = table.values[:, at]
    present = values[~np.isnan(values)]
    texts = table.categories.get(at)
    told = {"name": table.known_as[at], "type": "number" if texts is None else "category",
            "missing": 1 - len(present) / len(values)}  # fmt: skip
    return {**told, **(_range(present) if texts is None else _most(present, texts))}


def _range(present: Vector) -> Mapping[str, Any]:
    if not len(present):
        return {}
    return {"least": float(present.min()), "median": float(np.median(present)), "greatest": float(present.max())}


def _most(codes: Vector, texts: tuple[str, ...]) -> Mapping[str, Any]:
    counts = np.bincount(codes.astype(np.intp), minlength=len(texts))
    shown = np.argsort(-counts, kind="stable")[:_CATEGORIES_SHOWN]
    return {"categories": len(texts), "most_frequent": {texts[code]: int(counts[code]) for code in shown}}
