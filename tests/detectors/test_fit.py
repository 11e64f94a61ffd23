"""Fitting: which rows fit, calibrate and test, what a fit reports, and that equal data gives equal artifacts."""

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from wayside.detectors.artifacts.artifact import Artifact
from wayside.detectors.fitting.fit import FitSettings, fit_artifact
from wayside.detectors.fitting.split import Shares, split
from wayside.detectors.scoring.judge import RowJudge
from wayside.detectors.scoring.score import code_rows, score_table
from wayside.detectors.tabular.preprocessing import Scaling
from wayside.detectors.tabular.table import Table
from wayside.eventing.errors import ConfigurationError

from .conftest import normal_rows

OUTLIERS = 40


def labelled(rows: int = 2600) -> Table:
    """The last rows are outliers."""
    values = np.concatenate([normal_rows(rows - OUTLIERS, 25), normal_rows(OUTLIERS, 26) + 8])
    return Table(values, labels=np.arange(rows) >= rows - OUTLIERS)


def test_no_row_is_both_fitted_and_calibrated() -> None:
    report = fit_artifact("knn", Table.of(normal_rows(2000, 23)), FitSettings(holdout=0.6, options={"k": 1}))
    assert (report.fitted_rows, report.calibration_rows) == (800, 1200)
    assert report.artifact.calibration is not None
    assert (report.artifact.calibration.scores > 0).all()  # a fitted row would be its own neighbour


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    table = Table.of(normal_rows(4000, 24))
    fit_artifact("mahalanobis", table, FitSettings(), lambda *step: told.append(step))
    assert told == [("fitting", 0, 1), ("calibrating", 1024, 2000), ("calibrating", 2000, 2000)]


def test_calibration_and_offline_scores_are_made_as_a_service_makes_them_on_one_thread() -> None:
    """With more threads a matrix product's last digits are others."""
    told: dict[str, set[int]] = {stage: set() for stage in ("fitting", "calibrating", "scoring")}

    def tell(stage: str) -> None:
        told[stage] |= {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    table = Table.of(normal_rows(2000, 23))
    with threadpool_limits(2, "blas"):
        report = fit_artifact("mahalanobis", table, FitSettings(), lambda stage, *_: tell(stage))
        judge = RowJudge.of(report.artifact)
        coded, fits = code_rows(judge.schema, table, skip_bad=False)
        score_table(judge, coded, fits, lambda _: tell("scoring"))
    assert (told["calibrating"], told["scoring"]) == ({1}, {1})


@pytest.mark.parametrize("in_order", [False, True], ids=["by seed", "in order"])
@pytest.mark.parametrize("test", [0.0, 0.2])
def test_parts_of_labelled_rows_are_apart(in_order: bool, test: float) -> None:
    table = labelled()
    parts = split(table, Shares(0.5, test), 0.01, 3, in_order=in_order, all_calibrate=False)
    outliers = np.arange(len(table) - OUTLIERS, len(table))
    used = np.concatenate([parts.fitting, parts.calibrating])
    assert not np.isin(outliers, used).any()
    assert np.intersect1d(parts.fitting, parts.calibrating).size == 0
    assert np.intersect1d(used, parts.testing).size == 0
    assert len(used) + (len(parts.testing) or OUTLIERS) == len(table)
    assert len(parts.testing) == (512 + OUTLIERS if test else 0)
    if in_order:
        assert parts.fitting.max() < parts.calibrating.min()
        assert (np.diff(used) > 0).all()


def test_a_wrapped_detector_is_calibrated_by_all_rows() -> None:
    parts = split(Table.of(normal_rows(999, 1)), Shares(), 0.01, 0, in_order=False, all_calibrate=True)
    assert (len(parts.fitting), len(parts.calibrating)) == (0, 999)


def test_labels_tell_the_quality() -> None:
    report = fit_artifact("mahalanobis", labelled(), FitSettings())
    assert report.tested is not None
    quality = report.tested.quality
    assert (quality.rows, quality.outliers) == (512 + OUTLIERS, OUTLIERS)
    assert quality.roc_auc == quality.recall == 1.0
    assert quality.false_alarms is not None
    assert quality.false_alarms.rows == 512
    assert quality.false_alarms.is_within
    assert fit_artifact("mahalanobis", Table.of(normal_rows(2000, 1)), FitSettings()).tested is None


@pytest.mark.parametrize("kind", ["knn", "iforest", "mahalanobis-online"])
def test_equal_rows_and_seed_are_equal_digests(kind: str) -> None:
    def fit(seed: int) -> Artifact:
        return fit_artifact(kind, labelled(), FitSettings(seed=seed, options={})).artifact

    first = fit(5)
    assert fit(5).digest == first.digest
    if kind != "mahalanobis-online":  # which takes rows in their order
        assert fit(6).digest != first.digest


def test_a_stateful_kind_is_calibrated_on_a_stream_in_order() -> None:
    """Rows that drift slowly: a memory that follows them calibrates lower than one that stands still."""
    rows = normal_rows(2400, 8) + np.linspace(0, 6, 2400)[:, None]
    report = fit_artifact("mahalanobis-online", Table.of(rows), FitSettings(alpha=0.02))
    assert report.artifact.calibration is not None
    judge = RowJudge.of(report.artifact)
    standing = judge.score(rows[1200:])
    assert np.median(report.artifact.calibration.scores) < 0.8 * np.median(standing)


def test_missing_values_and_categories_are_part_of_the_schema() -> None:
    values = normal_rows(2000, 9)
    values[:, 1] = np.arange(2000) % 3
    values[::7, 2] = np.nan
    table = Table(values, ("a", "b", "c", "d"), {1: ("u", "v", "w")})
    report = fit_artifact("knn", table, FitSettings(alpha=0.02, scaling=Scaling.ROBUST))
    schema = report.artifact.schema
    assert (schema.names, schema.columns[1].categories) == (("a", "b", "c", "d"), ("u", "v", "w"))
    assert [column.missing for column in schema.columns] == [False, False, True, False]


@pytest.mark.parametrize(
    ("kind", "table", "settings", "reason"),
    [
        ("knn", Table.of(normal_rows(1996, 1)), {}, "998 calibration rows .* 0.01: 999 .* 1998 ordinary rows"),
        ("knn", labelled(2000), {}, "784 calibration rows are too few .* about 2498 ordinary rows"),
        ("knn", Table.of(np.full((9, 2), np.inf)), {}, "9 rows hold a value that is not finite, the first is row 0"),
        ("knn", Table.of(normal_rows(3000, 1)), {"options": {"k": "x"}}, "option k is 'x': give a value like int"),
        ("knn", Table.of(normal_rows(3000, 1)), {"options": {"j": 1}}, "knn has no option 'j': it has k"),
        ("ks", Table.of(normal_rows(100, 1)), {}, "100 rows are too few for windows of 200"),
        ("ks", Table.of(np.full((100, 2), np.nan)), {}, "too few for windows"),
        ("ks", Table(np.zeros((300, 1)), ("a",), {0: ("u",)}), {}, "column 'a' holds categories"),
        ("alibi", Table.of(normal_rows(3000, 1)), {}, "name what alibi-detect saved with --saved"),
        ("nothing", Table.of(normal_rows(3000, 1)), {}, "no detector kind 'nothing'"),
    ],
    ids=["few", "few labelled", "infinite", "option", "no option", "window", "missing", "category", "wrapped", "kind"],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(kind: str, table: Table, settings: dict, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        fit_artifact(kind, table, FitSettings(**settings))


@pytest.mark.parametrize(
    ("setting", "value"), [("alpha", 0), ("alpha", 1), ("holdout", 1), ("test_share", 1), ("name", "A b"), ("seed", -1)]
)
def test_settings_are_checked(setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError):
        FitSettings(**{setting: value})
